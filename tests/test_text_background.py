"""The competing names: which stay, which go, and because of which prompt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rsov.errors import UsageError
from rsov.text.background import choose_background, meanings, shipped_words
from rsov.text.cache import sentence_embedder
from rsov.text.concepts import background_concepts, concepts
from rsov.text.legend import parse_prompts

if TYPE_CHECKING:
    import numpy as np

    from rsov.types import Background


def no_encoder(texts: list[str]) -> np.ndarray:
    raise AssertionError(f"both tables know the prompts, yet the encoder is asked for {len(texts)} texts")


def background(prompts: str, option: str | None = None) -> Background:
    return choose_background(parse_prompts(prompts), option, sentence_embedder(None))


def kept(prompts: str) -> set[str]:
    return {term.name for term in background(prompts).terms}


def test_what_excludes_every_prompt_competes_the_rest_goes_with_its_cause() -> None:
    result = choose_background(parse_prompts("forest,road"), None, no_encoder)
    names, dropped = {term.name for term in result.terms}, dict(result.dropped)
    assert {"water", "building", "arable field", "grass"} <= names
    assert dropped["forest"] == "forest"
    assert dropped["tree"] == "forest"
    assert dropped["road"] == "road"
    assert dropped["parking lot"] == "road"
    assert names | set(dropped) == {concept.name for concept in background_concepts()}
    assert not names & set(dropped)


def test_every_text_of_a_class_counts() -> None:
    result = choose_background(parse_prompts("surface=road|lake"), None, no_encoder)
    assert dict(result.dropped)["water"] == "lake"
    assert dict(result.dropped)["road"] == "road"


def test_the_shown_name_does_not_count() -> None:
    result = choose_background(parse_prompts("water=forest"), None, no_encoder)
    assert "water" in {term.name for term in result.terms}


@pytest.mark.parametrize(
    ("prompt", "goes", "stays"),
    [
        ("woodland", {"forest", "tree"}, {"water", "road", "building", "grass"}),
        ("tarmac", {"road", "parking lot"}, {"water", "forest", "building"}),
        ("highway", {"road"}, {"water", "forest", "building", "railway"}),
        ("parking lot", {"parking lot", "road", "vehicle"}, {"water", "forest", "building"}),
        ("solar farm", {"solar panel"}, {"arable field", "road", "water"}),
        ("glacier", set(), {"water", "rock", "building", "forest"}),
        ("olive grove", {"orchard", "tree"}, {"building", "water", "road"}),
        ("canopy", {"tree", "forest"}, {"building", "water", "grass"}),
        ("church", {"building"}, {"road", "forest", "water"}),
        ("city", {"building", "road"}, {"water", "forest"}),
        ("wheat", {"arable field"}, {"building", "water", "forest"}),
        ("blue roof", {"building"}, {"water", "road", "forest"}),
        ("dead trees", {"tree", "forest"}, {"water", "building", "road"}),
        ("asphalt surface", {"road"}, {"water", "forest", "building"}),
        ("rocky shore", {"beach"}, {"forest", "building", "road"}),
        ("photovoltaics", {"solar panel"}, {"forest", "road"}),
        ("fruit orchard", {"orchard"}, {"building", "water"}),
        ("sports stadium", {"sports ground"}, {"water", "forest"}),
        ("something else", set(), {"water", "forest", "building", "road"}),
    ],
)
def test_words_that_people_type(prompt: str, goes: set[str], stays: set[str]) -> None:
    names = kept(prompt)
    assert not goes & names
    assert stays <= names


def test_no_usual_prompt_empties_the_vocabulary() -> None:
    all_of_them = {concept.name for concept in background_concepts()}
    for concept in background_concepts():
        assert len(kept(concept.name)) >= len(all_of_them) / 2, concept.name


def test_every_word_of_the_list_names_a_concept_and_is_not_in_the_table() -> None:
    table = concepts()
    for word, concept in shipped_words().items():
        assert concept in table.concepts
        found = table.find(word)
        assert found is None or found.name == concept, (
            f"{word}: {concept} in words.toml, {found} in concepts.toml"
        )


def test_an_unknown_word_stands_for_its_neighbours() -> None:
    embed = sentence_embedder(None)
    found = meanings(["wooden farmhouse", "lake", "qwertyuiop"], embed, concepts())
    assert "building" in found["wooden farmhouse"]
    assert found["lake"] == ("water",)
    assert found["qwertyuiop"] == ()


def test_none_means_none() -> None:
    result = background("forest", "none")
    assert (result.terms, result.dropped, result.source) == ((), (), "none")


@pytest.mark.parametrize("prefix", ["", "@"])
def test_a_file_competes_as_it_is_less_the_prompts_themselves(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "others.txt"
    path.write_text("lake | sea\nRoad , track\nrest = soil | rock\n", encoding="utf-8")
    result = choose_background(parse_prompts("forest,road"), prefix + "others.txt", no_encoder, tmp_path)
    assert [(term.name, term.texts) for term in result.terms] == [
        ("lake", ("lake", "sea")),
        ("rest", ("soil", "rock")),
    ]
    assert result.dropped == (("Road", "road"),)
    assert result.source == str(path)


def test_colours_of_a_background_file_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "others.toml"
    path.write_text(
        '[[class]]\nname = "lake"\ncolour = "#0000ff"\n[[class]]\nname = "sea"\ncolour = "#0000ff"\n'
    )
    assert [term.name for term in background("forest", str(path)).terms] == ["lake", "sea"]


@pytest.mark.parametrize("option", ["missing.txt", "-", "@-", "", "."])
def test_what_is_no_file_is_refused_and_names_the_option(option: str) -> None:
    with pytest.raises(UsageError) as caught:
        background("forest", option)
    assert "--background" in caught.value.where
    assert "type the classes" not in caught.value.fix  # --background takes none


def test_the_examples_in_the_docs_are_true() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "prompts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w, ]+) \| ([\w, ]+) \|$", page, flags=re.MULTILINE)[1:]
    assert len(rows) > 5
    for prompts, names in rows:
        dropped = [name for name, _ in background(prompts).dropped]
        assert ", ".join(dropped) == names.replace("none", ""), prompts
    assert background("shadow").dropped == ()
