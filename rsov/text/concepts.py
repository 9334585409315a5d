"""Land-cover concepts: the table `assets/concepts.toml` and the relation of two names.

A negative in training must be true: a pixel of `road` may be contrasted with `water`, never with
`asphalt`. The same table decides which background names compete with a prompt.
"""

from __future__ import annotations

import enum
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from rsov.text.normalise import word_forms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEXTS_PER_CONCEPT = 4  # name and up to three synonyms stand for a background concept


class Relation(enum.Enum):
    """How the surfaces that two names mean lie to each other."""

    SAME = "same"
    CONTAINS = "contains"
    WITHIN = "within"
    OVERLAPS = "overlaps"
    EXCLUDES = "excludes"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Concept:
    """One row of the table; the fields are explained at the top of `concepts.toml`."""

    name: str
    synonyms: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    description: str = ""
    parent: str | None = None
    overlaps: frozenset[str] = frozenset()
    background: bool = False
    vague: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """Name and up to three synonyms."""
        return (self.name, *self.synonyms)[:_TEXTS_PER_CONCEPT]

    @property
    def trained(self) -> tuple[str, ...]:
        """Every text that training may use for the concept, the description aside."""
        return (self.name, *self.synonyms)


class ConceptTable:
    """All concepts, with look-up by name or synonym."""

    def __init__(self, concepts: Mapping[str, Concept]) -> None:
        self.concepts = dict(concepts)
        self._by_text: dict[str, str] = {}
        for concept in self.concepts.values():
            for text in (*concept.trained, *concept.held_out):
                if text in self._by_text:
                    raise ValueError(f"{text!r} names both {self._by_text[text]!r} and {concept.name!r}")
                self._by_text[text] = concept.name
        for concept in self.concepts.values():
            for other in (*concept.overlaps, *([concept.parent] if concept.parent else [])):
                if other not in self.concepts:
                    raise ValueError(f"{concept.name!r} refers to the unknown concept {other!r}")

    def find(self, text: str) -> Concept | None:
        """The concept that a name or synonym means; case, spaces and a plural s are forgiven."""
        key = next((form for form in word_forms(text) if form in self._by_text), None)
        return None if key is None else self.concepts[self._by_text[key]]

    def _chain(self, name: str) -> Iterator[str]:
        current: str | None = name
        while current is not None:
            yield current
            current = self.concepts[current].parent

    def relation(self, a: str, b: str) -> Relation:
        """How `a` lies to `b`: `relation("vegetation", "forest")` is CONTAINS; UNKNOWN for other texts."""
        first, second = self.find(a), self.find(b)
        if first is None or second is None:
            return Relation.UNKNOWN
        if first.name == second.name:
            return Relation.SAME
        up_first, up_second = list(self._chain(first.name)), list(self._chain(second.name))
        if first.name in up_second:
            return Relation.CONTAINS
        if second.name in up_first:
            return Relation.WITHIN
        for x in up_first:
            for y in up_second:
                if y in self.concepts[x].overlaps or x in self.concepts[y].overlaps:
                    return Relation.OVERLAPS
        return Relation.EXCLUDES


def _concept(row: Mapping[str, Any]) -> Concept:
    return Concept(
        name=row["name"],
        synonyms=tuple(row.get("synonyms", ())),
        held_out=tuple(row.get("held_out", ())),
        description=row.get("description", ""),
        parent=row.get("parent"),
        overlaps=frozenset(row.get("overlaps", ())),
        background=bool(row.get("background", False)),
        vague=bool(row.get("vague", False)),
    )


@cache
def concepts() -> ConceptTable:
    """The shipped table."""
    text = resources.files("rsov").joinpath("assets", "concepts.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["concept"]
    return ConceptTable({row["name"]: _concept(row) for row in rows})


def background_concepts() -> tuple[Concept, ...]:
    """The concepts that compete with the prompts by default, in the order of the table."""
    return tuple(c for c in concepts().concepts.values() if c.background)


def unambiguous_concepts() -> tuple[Concept, ...]:
    """The concepts by which every publisher means the same surfaces, in the order of the table."""
    return tuple(c for c in concepts().concepts.values() if not c.vague)
