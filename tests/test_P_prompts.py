"""Rows of group P about words: what people type as classes, and what it must never do."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from rsov import predict
from rsov.errors import ExitCode, UsageError
from rsov.term import format_error, plain, safe
from rsov.text.background import choose_background
from rsov.text.cache import Embedder
from rsov.text.legend import MAX_CLASSES, make_legend, parse_prompts, read_legend
from rsov.text.legend_file import MAX_BYTES
from rsov.text.legend_grammar import Place
from rsov.types import Legend, Notices

if TYPE_CHECKING:
    from pathlib import Path


def names(legend: Legend) -> list[str]:
    return [entry.name for entry in legend]


@pytest.mark.parametrize("name", ["none of them", "No  Data", "NONE OF THEM"])
def test_P02_no_class_is_shown_by_the_name_of_a_row_that_every_map_has(tmp_path: Path, name: str) -> None:
    """Two rows of one name in a legend: nobody can tell which one is the class."""
    (tmp_path / "classes.txt").write_text(f"forest\n{name}\n")
    for text in (f"forest,{name}", f"forest,{name}=cloud|haze", "@classes.txt"):
        error = refusal(text, tmp_path)
        assert error.id == "E-prompt-duplicate"
        assert "in every map already" in error.what
        assert "2" in error.where
    with pytest.raises(UsageError):
        make_legend(["forest", name])
    advice = refusal(name).fix.rpartition(": ")[2]
    assert names(parse_prompts(advice)) == ["other"]
    assert names(parse_prompts("no data tower,none of those")) == ["no data tower", "none of those"]


def refusal(text: str, base: Path | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_prompts(text, base)
    assert caught.value.code is ExitCode.USAGE
    return caught.value


def at(path: Path) -> str:
    return f"@{path}"


def file(folder: Path, content: bytes | str, name: str = "classes.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("text", ["", "  ", ",", " , ,, ", "\t"])
def test_P01_empty_prompts_show_an_example(text: str) -> None:
    error = refusal(text)
    assert error.what == "no class names given"
    assert "forest,road" in error.fix


@pytest.mark.parametrize(
    "text", ["forest,classes.txt", "forest|@classes.txt", "road=words.TOML,forest", "a,@b"]
)
def test_P01_a_legend_file_among_classes_is_no_class(text: str) -> None:
    error = refusal(text)
    assert error.id == "E-prompt-file"
    assert "--prompts classes.txt" in error.fix


@pytest.mark.parametrize(
    ("text", "column"), [("forest;road", 6), ("water=lake; river,road", 10), (";road", 0)]
)
def test_P01_a_semicolon_parts_no_classes(text: str, column: int) -> None:
    error = refusal(text)
    assert error.id == "E-prompt-grammar"
    assert error.where == Place("--prompts", text, column).caret()
    assert "commas" in error.fix


def test_P05_quotes_protect_a_semicolon(tmp_path: Path) -> None:
    assert names(parse_prompts('"road; paved",forest')) == ["road; paved", "forest"]
    assert names(read_legend(file(tmp_path, "road; paved\n"))) == ["road; paved"]


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", " , \n"])
def test_P01_file_without_names(tmp_path: Path, content: str) -> None:
    assert refusal(at(file(tmp_path, content))).id == "E-prompt-empty"


@pytest.mark.parametrize(
    "again",
    ["forest", "Forest", "FOREST ", " forest", "for\u00a0est", unicodedata.normalize("NFD", "forést")],
)
def test_P02_duplicates_in_two_classes_name_both_positions(again: str) -> None:
    first = {"for\u00a0est": "for est"}.get(
        again, "forést" if "é" in unicodedata.normalize("NFC", again) else "forest"
    )
    error = refusal(f"{first},road,{again}")
    assert error.id == "E-prompt-duplicate"
    assert "class 1" in error.where
    assert "class 3" in error.where


def test_P02_duplicates_in_a_file_name_both_lines(tmp_path: Path) -> None:
    error = refusal(at(file(tmp_path, "wood\nroad\n# note\nforest | Wood\n")))
    assert "line 1" in error.where
    assert "line 4" in error.where


def test_P02_a_text_twice_in_one_class_is_dropped() -> None:
    legend = parse_prompts("forest|Wood|wood |forest, road")
    assert legend.classes[0].texts == ("forest", "Wood")


def test_P03_one_class_competes_with_the_background() -> None:
    legend = parse_prompts("forest")
    background = choose_background(legend, None, no_encoder)
    assert {"water", "building"} <= {term.name for term in background.terms}
    assert "forest" in dict(background.dropped)


def test_P04_300_classes_make_a_16_bit_legend(tmp_path: Path) -> None:
    legend = read_legend(file(tmp_path, "\n".join(f"class {n}" for n in range(300))))
    assert (len(legend), legend.dtype, legend.none_id) == (300, "uint16", 65535)
    assert [entry.id for entry in legend] == list(range(1, 301))
    assert parse_prompts(",".join(f"c{n}" for n in range(254))).dtype == "uint8"


def test_P04_too_many_classes_are_refused(tmp_path: Path) -> None:
    error = refusal(at(file(tmp_path, "\n".join(f"c{n}" for n in range(70_000)))))
    assert error.id == "E-prompt-count"
    assert str(MAX_CLASSES) in error.what


def test_P04_thousands_of_classes_have_colours_that_differ(tmp_path: Path) -> None:
    legend = read_legend(file(tmp_path, "\n".join(f"c{n}" for n in range(5000))))
    assert len({entry.colour for entry in legend}) == 5000


def test_P05_quotes_protect_a_comma(tmp_path: Path) -> None:
    assert names(parse_prompts('"road, paved",forest')) == ["road, paved", "forest"]
    legend = read_legend(file(tmp_path, '"road, paved", street\nforest\n'))
    assert legend.classes[0].texts == ("road, paved", "street")
    assert names(legend) == ["road, paved", "forest"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("forest,,road", 7),
        ("forest|", 7),
        ("|forest", 0),
        ("forest=", 7),
        ("=wood", 0),
        ("a=b=c", 3),
        ("a|b=c", 2),
        ('fo"o', 2),
        ('road,"forest', 5),
        ('"a" b', 4),
        ('"a" # b', 4),
        ("forest,road\x07", 11),
    ],
)
def test_P06_grammar_errors_show_a_caret_under_the_fault(text: str, column: int) -> None:
    error = refusal(text)
    line, caret = str(error).split("where: ")[1].splitlines()[:2]
    assert caret.strip() == "^"
    shown = " " * len("  where: ") + line
    before = plain(text[:column])
    assert caret.index("^") == shown.index("--prompts: ") + len("--prompts: ") + len(before)


def test_P06_the_caret_survives_the_terminal_and_counts_wide_characters() -> None:
    error = refusal("森林,,x")
    lines = format_error(error).plain.splitlines()
    assert lines[2].endswith("^")
    assert Text(lines[1].split("森林,")[0]).cell_len + 5 == lines[2].index("^")


def test_P06_synonyms_and_shown_names() -> None:
    legend = parse_prompts("forest|wood|trees, water = lake|river|sea")
    assert [(e.id, e.name, e.texts) for e in legend] == [
        (1, "forest", ("forest", "wood", "trees")),
        (2, "water", ("lake", "river", "sea")),
    ]


@pytest.mark.parametrize(
    "name", ["غابة", "जंगल", "森林", "🌳", "👩\u200d🌾", "می\u200cخواهم", "Wälder", "été"]
)
def test_P07_scripts_and_emoji_are_kept(tmp_path: Path, name: str) -> None:
    assert names(read_legend(file(tmp_path, name))) == [unicodedata.normalize("NFC", name)]


@pytest.mark.parametrize(
    "char",
    ["\u202e", "\u202a", "\u2066", "\u2069", "\u200b", "\ufeff", "\u00ad", "\u2060", "\u2028", "\ufffe"],
)
def test_P07_invisible_characters_are_refused_with_their_code_point(tmp_path: Path, char: str) -> None:
    error = refusal(at(file(tmp_path, f"road\nfor{char}est\n")))
    assert f"U+{ord(char):04X}" in error.what
    assert "line 2" in error.where
    assert char not in format_error(error).plain


def test_P07_joiners_are_refused_at_the_ends_of_a_word() -> None:
    assert "U+200D" in refusal("forest\u200d,road").what
    assert "U+200C" in refusal("\u200cforest").what


@pytest.mark.parametrize("char", ["\x1b[31m", "\x00", "\x07", "\x7f", "\x85", "\r\n", "\udc80"])
def test_P08_control_characters_are_refused_and_shown_escaped(char: str) -> None:
    error = refusal(f"a{char}b,road")
    assert f"U+{ord(char[0]):04X}" in error.what
    shown = format_error(error).plain
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_P08_foreign_text_is_displayed_escaped() -> None:
    assert plain("band\x1b[31m\x00\u202e\n") == r"band\x1b[31m\x00\u202e\x0a"
    assert safe("\x9b2J").plain == r"\x9b2J"


def test_P09_longer_than_512_characters_is_refused(tmp_path: Path) -> None:
    assert "513" in refusal("x" * 513).what
    assert names(parse_prompts("x" * 512)) == ["x" * 512]
    assert refusal(at(file(tmp_path, "word " * 2000))).id == "E-prompt-long"


def test_P09_a_text_beyond_the_encoder_is_warned_about_with_the_kept_part() -> None:
    notices = Notices()
    embedder = Embedder(fake_encode, "model", None, 4, notices=notices, kept=lambda text: text[:90])
    embedder(["short", "y" * 90, "z" * 400])
    assert [notice.id for notice in notices.items] == ["W-prompt-cut"]
    assert "z" * 90 in notices.items[0].message
    assert "z" * 91 not in notices.items[0].message


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfforest\nroad\n",
        "forest\nroad\n".encode("utf-16"),
        "\ufeffforest\r\nroad".encode("utf-16-be"),
        b"forest\r\nroad\r\n",
        b"forest\rroad\r",
        b"forest\nroad",
        b"# classes\n\n  forest # dense\n\t\nroad\t\n\n",
    ],
)
def test_P10_encodings_and_line_ends(tmp_path: Path, content: bytes) -> None:
    assert names(read_legend(file(tmp_path, content))) == ["forest", "road"]


def test_P10_toml_takes_the_same_encodings(tmp_path: Path) -> None:
    text = '[[class]]\r\nname = "forêt"\r\n'
    assert names(read_legend(file(tmp_path, text.encode("utf-16"), "a.toml"))) == ["forêt"]
    assert names(read_legend(file(tmp_path, b"\xef\xbb\xbf" + text.encode(), "b.toml"))) == ["forêt"]


def test_P10_latin1_is_refused_with_line_and_byte(tmp_path: Path) -> None:
    error = refusal(at(file(tmp_path, "road\nforêt\n".encode("latin-1"))))
    assert error.id == "E-prompt-encoding"
    assert "line 2, byte 8 (0xea)" in error.where


def test_P11_missing_file_names_the_nearest(tmp_path: Path) -> None:
    file(tmp_path, "forest")
    assert "classes.txt" in refusal("@clases.txt", tmp_path).fix
    assert "classes.txt" in refusal("clases.txt", tmp_path).fix


def test_P11_folder_fifo_huge_and_binary_are_refused(tmp_path: Path) -> None:
    assert "folder" in refusal(f"@{tmp_path}").what
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal("@pipe", tmp_path).what
    with (tmp_path / "huge.txt").open("wb") as huge:
        huge.truncate(MAX_BYTES * 1024)
    assert "too large" in refusal("@huge.txt", tmp_path).what
    assert refusal(at(file(tmp_path, bytes(range(128)) * 8))).id == "E-prompt-character"
    assert refusal(at(file(tmp_path, bytes(range(256)) * 8))).id == "E-prompt-encoding"


def test_P12_an_existing_file_is_read_and_a_word_is_a_word(tmp_path: Path) -> None:
    file(tmp_path, "forest\nroad\n")
    assert names(parse_prompts("classes.txt", tmp_path)) == ["forest", "road"]
    assert names(parse_prompts("@classes.txt", tmp_path)) == ["forest", "road"]
    assert names(parse_prompts("classes", tmp_path)) == ["classes"]
    (tmp_path / "water").mkdir()
    assert names(parse_prompts("water", tmp_path)) == ["water"]


@pytest.mark.parametrize("dash", ["-", "@-"])
def test_P13_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch, dash: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"forest | wood\nroad\n")))
    legend = parse_prompts(dash)
    assert names(legend) == ["forest", "road"]
    with pytest.raises(UsageError, match="once"):
        choose_background(legend, dash, no_encoder)


def test_P13_a_terminal_is_told_what_is_awaited(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal(b"forest\n")))
    parse_prompts("@-")
    captured = capsys.readouterr()
    assert "one a line" in captured.err
    assert captured.out == ""


def test_P14_an_id_is_an_unknown_key(tmp_path: Path) -> None:
    error = refusal(at(file(tmp_path, '[[class]]\nname = "forest"\nid = 7\n', "a.toml")))
    assert error.id == "E-legend-key"
    assert "a.toml:3" in error.where
    assert "order" in error.why


@pytest.mark.parametrize("colour", ['"#zzz"', '"#12345"', '"red"', "[1, 2, 3]", "7", '"#１２３456"'])
def test_P15_wrong_colours_are_refused(tmp_path: Path, colour: str) -> None:
    error = refusal(at(file(tmp_path, f'[[class]]\nname = "forest"\ncolour = {colour}\n', "a.toml")))
    assert error.id == "E-legend-colour"
    assert "a.toml:3" in error.where


def test_P15_two_classes_of_one_colour_are_refused(tmp_path: Path) -> None:
    text = '[[class]]\nname = "forest"\ncolour = "#00ff00"\n[[class]]\nname = "grass"\ncolour = "#00FF00"\n'
    error = refusal(at(file(tmp_path, text, "a.toml")))
    assert "forest" in error.what
    assert "grass" in error.what


def test_P15_given_colours_are_kept_and_automatic_ones_differ(tmp_path: Path) -> None:
    (automatic,) = parse_prompts("forest")
    taken = "#" + bytes(automatic.colour).hex()
    text = f'[[class]]\nname = "mine"\ncolour = "{taken}"\n[[class]]\nname = "forest"\n'
    mine, forest = read_legend(file(tmp_path, text, "a.toml"))
    assert mine.colour == automatic.colour
    assert forest.colour != mine.colour


def test_P15_palette_of_300_classes_has_no_colour_twice() -> None:
    legend = parse_prompts(",".join(f"class {n}" for n in range(300)))
    assert len({entry.colour for entry in legend}) == 300
    alone, among = parse_prompts("forest"), parse_prompts("forest,qqq,zzz")
    assert alone.classes[0].colour == among.classes[0].colour


@pytest.mark.parametrize("name", ["[link=file:///etc/passwd]x[/link]", "[/nope]", "[red]", "a[", ":smile:"])
def test_P17_names_are_no_markup(name: str) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="truecolor", width=200)
    console.print(safe(name))
    assert screen.getvalue().strip() == name
    (entry,) = parse_prompts(f'"{name}"')
    assert entry.name == name


@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8", "de_DE.UTF-8"])
def test_P28_words_do_not_depend_on_the_locale(tmp_path: Path, locale: str) -> None:
    path = file(tmp_path, '[[class]]\nname = "İSTANBUL straße"\nthreshold = 0.5\n', "a.toml")
    code = (
        "import sys; from rsov.text.legend import parse_prompts; from rsov.term import emit\n"
        "from rsov.text.normalise import comparison_key\n"
        "entry, = parse_prompts(sys.argv[1]); emit(f'{comparison_key(entry.name)} {entry.threshold}')"
    )
    env = {**os.environ, "LC_ALL": locale, "LANG": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=env, capture_output=True, check=True)
    assert done.stdout.decode() == "i̇stanbul strasse 0.5\n"


@pytest.mark.parametrize("vector", [np.zeros(4), np.full(4, np.nan), np.array([1, np.inf, 0, 0])])
def test_P29_a_text_without_a_direction_is_refused(vector: np.ndarray) -> None:
    def encode(texts: list[str]) -> np.ndarray:
        return np.stack([vector.astype(np.float32)] * len(texts))

    with pytest.raises(UsageError, match="knows nothing about 'qqq'"):
        Embedder(encode, "model", None, 4)(["qqq"])


def fake_encode(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), 1, 2, 3] for text in texts], np.float32)


def no_encoder(texts: list[str]) -> np.ndarray:
    raise AssertionError(f"names of the concept table need no encoder: {texts}")


def test_P20_names_of_classes_never_become_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.models import ColourSegmenter
    from tests.support.rasters import texture, write

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "scene.tif", texture())
    hostile = ["../../x", "CON", "a/b", "~root", "x" * 300, "dot.", "scene.tif"]
    prompts = {
        name: [text]
        for name, text in zip(
            hostile, ["forest", "road", "roof", "lake", "sand", "snow", "grass"], strict=True
        )
    }
    result = predict(
        tmp_path / "scene.tif", prompts, out=f"{tmp_path}/out/", model=ColourSegmenter(), quicklook=True
    )
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"scene.tif"} | {
        f"out/scene_{rest}"
        for rest in ("classes.tif", "classes.qml", "classes.gpkg", "report.json", "quicklook.png")
    }
    assert {path.parent for path in result.paths} == {tmp_path / "out"}
