"""The table of concepts: every name finds its place, and relations hold both ways."""

from __future__ import annotations

import itertools

import pytest

from rsov.datasets.sets import OTHER, find_sets
from rsov.text.concepts import (
    Concept,
    ConceptTable,
    Relation,
    background_concepts,
    concepts,
)

_MIRROR = {Relation.CONTAINS: Relation.WITHIN, Relation.WITHIN: Relation.CONTAINS}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("forest", "forest", Relation.SAME),
        ("woodland", "forest", Relation.SAME),
        ("vegetation", "forest", Relation.CONTAINS),
        ("forest", "vegetation", Relation.WITHIN),
        ("vegetation", "mangrove", Relation.CONTAINS),
        ("agriculture", "rice paddy", Relation.CONTAINS),
        ("road", "asphalt", Relation.WITHIN),
        ("road", "parking lot", Relation.OVERLAPS),
        ("field", "grass", Relation.OVERLAPS),
        ("sand", "road", Relation.OVERLAPS),
        ("bare soil", "arable field", Relation.OVERLAPS),
        ("dirt road", "bare soil", Relation.OVERLAPS),
        ("shrub", "tree", Relation.OVERLAPS),
        ("mangrove", "trees", Relation.OVERLAPS),
        ("road", "water", Relation.EXCLUDES),
        ("sea", "building", Relation.EXCLUDES),
        ("vineyard", "forest", Relation.EXCLUDES),
        ("road", "zeppelin", Relation.UNKNOWN),
    ],
)
def test_names_relate_as_the_table_says(a: str, b: str, expected: Relation) -> None:
    assert concepts().relation(a, b) is expected


def test_relations_mirror_for_every_pair() -> None:
    for a, b in itertools.product(concepts().concepts, repeat=2):
        there, back = concepts().relation(a, b), concepts().relation(b, a)
        assert back is _MIRROR.get(there, there), (a, b)


@pytest.mark.parametrize("text", ["Roads", "  parking   lot ", "SWIMMING POOL", "trees", "solar_panel"])
def test_case_spaces_and_plurals_are_forgiven(text: str) -> None:
    assert concepts().find(text) is not None


def test_background_is_of_a_useful_size_and_names_are_texts_of_their_own() -> None:
    chosen = background_concepts()
    assert 25 <= len(chosen) <= 30
    texts = [text for concept in chosen for text in concept.texts]
    assert len(texts) == len(set(texts))
    assert all(concept.texts[0] == concept.name and len(concept.texts) <= 4 for concept in chosen)


def test_held_out_texts_are_no_trained_texts() -> None:
    trained = {text for c in concepts().concepts.values() for text in c.trained}
    held = {text for c in concepts().concepts.values() for text in c.held_out}
    assert held
    assert not trained & held


def test_a_text_of_two_concepts_is_refused() -> None:
    with pytest.raises(ValueError, match="names both"):
        ConceptTable({"a": Concept("a", synonyms=("x",)), "b": Concept("b", synonyms=("x",))})


def test_an_unknown_parent_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown concept"):
        ConceptTable({"a": Concept("a", parent="b")})


def test_every_class_of_the_data_sets_has_a_concept(shared) -> None:
    found, _ = find_sets(shared / "data")
    names = {c.name for s in found if s.bundle != "no" for c in s.classes if c.name != OTHER}
    assert sorted(name for name in names if concepts().find(name) is None) == []
