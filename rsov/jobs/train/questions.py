"""What is asked of a labelled set to measure a model: prompts, and which labels they should find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rsov.datasets.sets import IGNORE, OTHER, DataSet, SetClass
from rsov.models.protocol import Head, text_head
from rsov.text.background import choose_background, meanings
from rsov.text.concepts import Relation, concepts
from rsov.text.encoder import encode
from rsov.types import Legend, LegendClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

Words = Callable[[SetClass], Sequence[str]]

_GREY = (127, 127, 127)
_UNSEEN = 3  # words of a concept that no training sees


@dataclass(frozen=True)
class Question:
    """Prompts for a set.

    ``prompts`` are (name, texts); ``truth`` [256] leads from a label to its prompt, to ``len(prompts)`` for
    another labelled surface, to -1 without a label.
    """

    name: str
    prompts: tuple[tuple[str, tuple[str, ...]], ...]
    truth: NDArray[np.int64]

    @property
    def other(self) -> int:
        """Place of the class `other`, which is no prompt for a background to compete with, or -1."""
        return next((i for i, (name, _) in enumerate(self.prompts) if name == OTHER), -1)

    def head(self, dim: int) -> Head:
        """Text vectors as prediction makes them, with the default background."""
        items = [LegendClass(i + 1, name, texts, _GREY) for i, (name, texts) in enumerate(self.prompts)]
        background = choose_background(Legend(tuple(i for i in items if i.name != OTHER)), None, encode)
        return text_head(Legend(tuple(items)), background, encode, dim)


def whole_bag(item: SetClass) -> Sequence[str]:
    """Name and synonyms of the set."""
    return item.bag


def name_only(item: SetClass) -> Sequence[str]:
    """The class's name."""
    return (item.name,)


def unseen(item: SetClass) -> Sequence[str]:
    """The texts of a class's concept that no training sees; the bag where the concept keeps none back."""
    concept = concepts().find(item.name)
    return concept.held_out if concept is not None and concept.held_out else item.bag


def one_unseen(number: int) -> Words:
    """One of the words of :func:`unseen`."""
    return lambda item: (unseen(item)[number % len(unseen(item))],)


def legend_question(name: str, dataset: DataSet, words: Words) -> Question:
    """The set's legend; in a set of kind single, its one class against the background."""
    single = dataset.kind == "single"
    classes = [item for item in dataset.classes if not (single and item.name == OTHER)]
    truth = np.full(256, len(classes), np.int64)
    truth[IGNORE] = -1
    for place, item in enumerate(classes):
        truth[item.id] = place
    return Question(name, tuple((item.name, tuple(words(item))) for item in classes), truth)


def prompt_question(name: str, dataset: DataSet, prompts: Sequence[str]) -> Question | None:
    """Those of the prompts that the set has a class for; None without any."""
    table = concepts()
    meant = {prompt: table.find(prompt) for prompt in prompts}
    labels = {item.id: table.find(item.name) for item in dataset.classes}
    found = [p for p in prompts if meant[p] is not None and meant[p] in labels.values()]
    if not found:
        return None
    truth = np.full(256, len(found), np.int64)
    truth[IGNORE] = -1
    for label, concept in labels.items():
        for place, prompt in enumerate(found):
            if concept is not None and concept == meant[prompt]:
                truth[label] = place
    return Question(name, tuple((prompt, (prompt,)) for prompt in found), truth)


def absent_question(name: str, dataset: DataSet, prompts: Sequence[str]) -> Question | None:
    """Prompts that are nowhere in the set; None where one of its classes may be one of them."""
    table = concepts()
    meant = [name for names in meanings(prompts, encode, table).values() for name in names]
    there = (Relation.SAME, Relation.CONTAINS, Relation.WITHIN)
    if any(table.relation(item.name, name) in there for item in dataset.classes for name in meant):
        return None
    truth = np.full(256, len(prompts), np.int64)
    truth[IGNORE] = -1
    return Question(name, tuple((prompt, (prompt,)) for prompt in prompts), truth)


def questions(dataset: DataSet) -> list[Question]:
    """All that the model card reports."""
    asked: list[Question | None] = [
        legend_question("bag", dataset, whole_bag),
        legend_question("name", dataset, name_only),
        legend_question("unseen", dataset, unseen),
        *(legend_question(f"unseen {n + 1}", dataset, one_unseen(n)) for n in range(_UNSEEN)),
        prompt_question("forest,road", dataset, ("forest", "road")),
        absent_question("glacier,airport", dataset, ("glacier", "airport")),
    ]
    return [question for question in asked if question is not None]
