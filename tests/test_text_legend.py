"""Legends: the grammar as a whole, TOML files, lists from Python."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsov.errors import UsageError
from rsov.text.legend import format_prompts, make_legend, parse_prompts, read_legend
from rsov.text.normalise import clean, comparison_key, forbidden_character, has_word

if TYPE_CHECKING:
    from rsov.types import Legend

TOML = """
[[class]]
name = "forest"
synonyms = ["wood", "trees"]
colour = "#1b7837"
threshold = 0.4

[[class]]
name = "water"
"""


def shape(legend: Legend) -> list[tuple[str, tuple[str, ...]]]:
    return [(entry.name, entry.texts) for entry in legend]


def toml(folder: Path, text: str) -> Path:
    path = folder / "classes.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_toml_gives_name_synonyms_colour_and_threshold(tmp_path: Path) -> None:
    forest, water = read_legend(toml(tmp_path, TOML))
    assert (forest.id, forest.name, forest.texts) == (1, "forest", ("forest", "wood", "trees"))
    assert (forest.colour, forest.threshold) == ((0x1B, 0x78, 0x37), 0.4)
    assert (water.id, water.texts, water.threshold) == (2, ("water",), None)


def test_inline_toml_blocks_are_the_same(tmp_path: Path) -> None:
    text = 'class = [{name = "forest", synonyms = ["wood"]}, {name = "water"}]'
    assert shape(read_legend(toml(tmp_path, text))) == [("forest", ("forest", "wood")), ("water", ("water",))]


@pytest.mark.parametrize(
    ("line", "where", "fix"),
    [
        ('color = "#ffffff"', ":11", '"colour"'),
        ("treshold = 0.3", ":11", '"threshold"'),
        ("id = 4", ":11", "remove"),
        ('synonym = ["a"]', ":11", '"synonyms"'),
        ('qqq = "a"', ":11", "name, synonyms, colour, threshold"),
    ],
)
def test_unknown_keys_name_line_and_nearest_key(tmp_path: Path, line: str, where: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_legend(toml(tmp_path, TOML + "\n" + line + "\n"))
    assert caught.value.id == "E-legend-key"
    assert where in caught.value.where
    assert fix in caught.value.fix


def test_an_unknown_table_names_the_known_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_legend(toml(tmp_path, '[[classes]]\nname = "forest"\n'))
    assert (caught.value.id, caught.value.where) == ("E-legend-key", "classes.toml:1")
    assert '"class"' in caught.value.fix


@pytest.mark.parametrize(
    "value", ["0", "1", "-0.1", "1.5", "nan", "inf", "-inf", '"0.5"', "true", "[0.5]", "1" + "0" * 400]
)
def test_P30_thresholds_lie_between_0_and_1(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_legend(toml(tmp_path, f'[[class]]\nname = "forest"\nthreshold = {value}\n'))
    assert caught.value.id == "E-legend-threshold"
    assert ":3" in caught.value.where


@pytest.mark.parametrize(
    "text",
    [
        "[[class]]\nname = 3\n",
        '[[class]]\nsynonyms = ["a"]\n',
        '[[class]]\nname = "a"\nsynonyms = "b"\n',
        '[[class]]\nname = "a"\nsynonyms = [1]\n',
        '[[class]]\nname = ""\n',
        '[[class]]\nname = "a"\nname = "b"\n',
        '[class]\nname = "a"\n',
        "class = 3\n",
        "class = []\n",
        "class = " + "[" * 5000 + "]" * 5000,
        "[[class]]\nname = " + "9" * 5000,
        "not toml",
        "",
    ],
)
def test_broken_toml_is_a_usage_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read_legend(toml(tmp_path, text))


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_legend(toml(tmp_path, '[[class]]\nname = "a"\ncolour =\n'))
    assert caught.value.where == "classes.toml:3"


def test_text_files_take_commas_and_bars_as_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(
        'forest, wood | trees\nwater = lake, river | sea\n"a # b" # note\n"x = ""y"""\n', encoding="utf-8"
    )
    assert shape(read_legend(path)) == [
        ("forest", ("forest", "wood", "trees")),
        ("water", ("lake", "river", "sea")),
        ("a # b", ("a # b",)),
        ('x = "y"', ('x = "y"',)),
    ]


def test_shown_names_may_not_repeat() -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_prompts("water=lake,Water=sea")


def test_a_shown_name_may_be_a_text_of_its_own_class() -> None:
    assert shape(parse_prompts("water=water|sea")) == [("water", ("water", "sea"))]


def test_python_callers_give_text_lists_mappings_paths_and_legends(tmp_path: Path) -> None:
    legend = parse_prompts("forest,water=lake|sea")
    (tmp_path / "a.txt").write_text("forest\nwater = lake | sea\n", encoding="utf-8")
    assert make_legend("forest,water=lake|sea") == legend
    assert make_legend({"forest": ["forest"], "water": ["lake", "sea"]}) == legend
    assert make_legend(tmp_path / "a.txt") == legend
    assert make_legend(legend) is legend
    assert shape(make_legend(["a, b", "@c"])) == [("a, b", ("a, b",)), ("@c", ("@c",))]


@pytest.mark.parametrize("prompts", [[], {}, [""], {"a": []}, ["a", "A"], ["a\x1b"], {"\x00": ["a"]}])
def test_python_callers_get_the_same_refusals(prompts: object) -> None:
    with pytest.raises(UsageError):
        make_legend(prompts)  # type: ignore[arg-type]  # the fault under test


def test_spelling_variants_share_one_key() -> None:
    assert comparison_key("  STRASSE ") == comparison_key("straße")
    assert comparison_key("a\u00a0 \tb") == "a b"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=60) | st.text(alphabet='ab,|="# \t@\\\u202e\n', max_size=20))
def test_any_text_is_a_legend_or_a_usage_error(text: str) -> None:
    try:
        legend = parse_prompts(text)
    except UsageError:
        return
    assert [entry.id for entry in legend] == list(range(1, len(legend) + 1))
    for entry in legend:
        for name in (entry.name, *entry.texts):
            assert name == clean(name)
            assert has_word(name)
            assert forbidden_character(name) is None


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    content=st.binary(max_size=200) | st.text(alphabet='a[]=",\n#|\\ \u00e9', max_size=60).map(str.encode),
    suffix=st.sampled_from(["txt", "toml"]),
)
def test_any_file_is_a_legend_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("legend") / f"classes.{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(UsageError):
        assert len(read_legend(path)) > 0


NAMES = st.text(
    alphabet=st.characters(categories=["L", "N", "P", "Zs"], include_characters='",|=#@'),
    min_size=1,
    max_size=12,
).filter(has_word)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=1, max_size=8, unique_by=comparison_key), st.data())
def test_written_prompts_read_back_the_same(texts: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(texts)), max_size=3)) | {len(texts)})
    bags = [texts[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    legend = make_legend({bag[-1]: bag for bag in bags})
    assert parse_prompts(format_prompts(legend), Path("/nonexistent")) == legend


def test_half_a_character_is_refused_and_no_file():
    with pytest.raises(UsageError) as caught:
        parse_prompts("\ud83d")
    assert caught.value.id == "E-prompt-character"
