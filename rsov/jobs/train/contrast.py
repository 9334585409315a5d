"""Contrast of pixels with texts over several data sets of different legends.

A pixel competes with the legend of its own set and with one drawn name of every general concept that its
class excludes. In a set of kind `single`, and for a class called `other`, the pixel is only known not to be
one of the other classes: the sum of the probabilities of what it may be is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsov.datasets.sets import OTHER, DataSet, SetClass
from rsov.text.concepts import Concept, ConceptTable, Relation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DESCRIPTION_WEIGHT = 0.15  # against 1 for the name of the set and 0.7 for every synonym
_SYNONYM_WEIGHT = 0.7
_HIDDEN = -1e4  # score of a text that does not take part
_MAY_BE = (Relation.EXCLUDES, Relation.OVERLAPS)


@dataclass(frozen=True)
class Bag:
    """Texts of a class, with the weight of each in a draw."""

    texts: tuple[str, ...]
    weights: tuple[float, ...]


def class_bag(item: SetClass, table: ConceptTable) -> Bag:
    """Name, synonyms and descriptions of a class of a set and of its concept.

    Held-out texts and those that mean another concept are left out.
    """
    concept = table.find(item.name)
    held = {text for c in table.concepts.values() for text in c.held_out}
    weight: dict[str, float] = {}
    for text in item.bag:
        other = table.find(text)
        if text in held or (
            text != item.name and concept is not None and other is not None and other.name != concept.name
        ):
            continue
        weight[text] = 1.0 if text == item.name else _SYNONYM_WEIGHT
    if concept is not None:
        for text in concept.trained:
            weight.setdefault(text, _SYNONYM_WEIGHT)
    for text in (item.description, concept.description if concept is not None else ""):
        if text:
            weight.setdefault(text, _DESCRIPTION_WEIGHT)
    return Bag(tuple(weight), tuple(weight.values()))


def concept_bag(concept: Concept) -> Bag:
    """Name, synonyms and description of a general concept."""
    texts = concept.trained + ((concept.description,) if concept.description else ())
    weights = (
        [1.0] + [_SYNONYM_WEIGHT] * len(concept.synonyms) + [_DESCRIPTION_WEIGHT] * bool(concept.description)
    )
    return Bag(texts, tuple(weights))


@dataclass(frozen=True)
class Rule:
    """What may be said of a pixel of one class of one set, over (legend of the set, general concepts).

    `right`: columns that count as right; `takes_part`: all columns of the softmax; `true`: columns that are
    true of the pixel for the sigmoid term.
    """

    right: NDArray[np.bool_]
    takes_part: NDArray[np.bool_]
    true: NDArray[np.bool_]


def class_rule(
    legend: Sequence[SetClass], item: SetClass, general: Sequence[Concept], table: ConceptTable
) -> Rule:
    """The rule of a class; `legend` is that of its set without `other`."""
    n = len(legend)
    right, part, true = (np.zeros(n + len(general), bool) for _ in range(3))
    part[:n] = True
    if item.name == OTHER:
        for column, concept in enumerate(general):
            relations = [table.relation(c.name, concept.name) for c in legend]
            right[n + column] = all(r in _MAY_BE for r in relations)
            part[n + column] = right[n + column] or Relation.SAME in relations
        return Rule(right, part, true)
    own = next(i for i, c in enumerate(legend) if c.id == item.id)
    right[own] = true[own] = True
    for column, concept in enumerate(general):
        relation = table.relation(item.name, concept.name)
        part[n + column] = relation is Relation.EXCLUDES
        true[n + column] = relation in (Relation.SAME, Relation.WITHIN)
    return Rule(right, part, true)


class Masks(NamedTuple):
    """Rules of several pixels or classes, each [R, K] bool: right, takes part, true."""

    right: Tensor
    takes_part: Tensor
    true: Tensor

    def rows(self, index: Tensor) -> Masks:
        """The rules of the given rows."""
        return Masks(*(mask[index] for mask in self))


class Contrast:
    """Text vectors and rules of all sets; draws the texts of a step and gives the loss."""

    def __init__(
        self,
        sets: Sequence[DataSet],
        general: Sequence[Concept],
        table: ConceptTable,
        vectors: dict[str, NDArray[np.float32]],
    ) -> None:
        self.general = tuple(general)
        self.legends = [tuple(c for c in s.classes if c.name != OTHER) for s in sets]
        self.rules = [
            {c.id: class_rule(legend, c, general, table) for c in s.classes}
            for s, legend in zip(sets, self.legends, strict=True)
        ]
        self._bags = [[class_bag(c, table) for c in legend] for legend in self.legends]
        self._general_bags = [concept_bag(c) for c in general]
        self._vectors = vectors

    @staticmethod
    def texts(sets: Sequence[DataSet], general: Sequence[Concept], table: ConceptTable) -> list[str]:
        """Every text that may be drawn."""
        bags = [class_bag(c, table) for s in sets for c in s.classes if c.name != OTHER]
        bags += [concept_bag(c) for c in general]
        return sorted({text for bag in bags for text in bag.texts})

    def draw(self, which: Sequence[int], rng: np.random.Generator, noise: float) -> Tensor:
        """Draw the text vectors of a step, [K, dim], unit length.

        One for every class of the sets `which`, then one for every general concept, each with Gaussian
        noise of relative size `noise` (as arXiv 2604.15652 perturbs texts).
        """
        bags = [bag for index in which for bag in self._bags[index]] + self._general_bags
        rows = []
        for bag in bags:
            weight = np.asarray(bag.weights)
            rows.append(self._vectors[bag.texts[int(rng.choice(len(weight), p=weight / weight.sum()))]])
        vectors = np.stack(rows)
        vectors = vectors + rng.standard_normal(vectors.shape) * noise / np.sqrt(vectors.shape[1])
        return functional.normalize(torch.from_numpy(vectors.astype(np.float32)), dim=1)

    def masks(self, which: Sequence[int], keys: NDArray[np.int64]) -> Masks:
        """Rules of the (set, class) rows `keys` [R, 2] over the columns of :meth:`draw`."""
        starts = np.cumsum([0] + [len(self.legends[index]) for index in which])
        columns = int(starts[-1])
        result = np.zeros((3, len(keys), columns + len(self.general)), bool)
        for row, (index, value) in enumerate(keys):
            rule = self.rules[int(index)][int(value)]
            n = len(self.legends[int(index)])
            start = int(starts[list(which).index(int(index))])
            for slot, mask in enumerate((rule.right, rule.takes_part, rule.true)):
                result[slot, row, start : start + n] = mask[:n]
                result[slot, row, columns:] = mask[n:]
        return Masks(*(torch.from_numpy(m) for m in result))


def contrast_loss(
    cosine: Tensor, masks: Masks, scale: Tensor, sigmoid_scale: Tensor, sigmoid_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Softmax and sigmoid terms of pixels [P, K] with masks [P, K]; pixels with nothing right are left out.

    Softmax: -log of the share of the right columns among those that take part. Sigmoid: mean over the true
    columns plus mean over the false ones, half each (SigLIP's loss, arXiv 2303.15343, balanced).
    """
    right, part, true = masks
    counted = right.any(1)
    logits = cosine * scale
    everything = logits.masked_fill(~part, _HIDDEN).logsumexp(1)
    good = logits.masked_fill(~right, _HIDDEN).logsumexp(1)
    softmax = ((everything - good) * counted).sum() / counted.sum().clamp(min=1)
    raw = cosine * sigmoid_scale + sigmoid_bias
    false = part & ~right & ~true
    positive = (functional.softplus(-raw) * true).sum() / true.sum().clamp(min=1)
    negative = (functional.softplus(raw) * false).sum() / false.sum().clamp(min=1)
    return softmax, (positive + negative) / 2
