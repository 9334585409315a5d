"""Calibration of names: a bias over the text space, fitted on labelled pictures that no step has seen.

Sets label their pixels by different legends, so a training knows how names rank within a legend better than
across legends. A bias per name would say nothing about a name that no set has; one that is linear in the
text's vector does. It is fitted to the overlap of truth and answer (soft IoU), as maps are judged: with the
legend alone, and with the default background beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsov.jobs.train.evaluate import Reader, features, read_scaled, ready
from rsov.jobs.train.questions import legend_question, whole_bag
from rsov.models.bundled.network import STRIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rsov.datasets.sets import DataSet, PictureRef
    from rsov.models.bundled.network import BundledNetwork

_CELLS = 8000
"""Of a set, over all its pictures."""
_PICTURES = 40
_RIDGE = 1e-3
_STEPS = 60
_RATE = 0.05
_HIDDEN = -1e4


def fit_text_bias(
    network: BundledNetwork,
    sets: Sequence[DataSet],
    reader: Reader,
    report: Callable[[str], None] = lambda _: None,
) -> Tensor:
    """The bias [dim] that the logit of a text t gets: `bias @ t`, at temperature 1.

    Fitted on the validation pictures of `sets`; zero where there are none.
    """
    samples = [sample for item in sets if (sample := _sample(network, item, reader)) is not None]
    bias = torch.zeros(network.shape.dim, requires_grad=True)
    if not samples:
        return bias.detach()
    optimiser = torch.optim.Adam([bias], lr=_RATE)
    first = last = 0.0
    for step in range(_STEPS):
        optimiser.zero_grad()
        missed = torch.stack([sample.missed(bias) for sample in samples]).mean()
        (missed + _RIDGE * bias.square().sum()).backward()  # type: ignore[no-untyped-call]  # torch
        optimiser.step()
        last = float(missed.detach())
        first = first if step else last
    report(f"names calibrated on {len(samples)} sets: soft IoU {1 - first:.3f} -> {1 - last:.3f}")
    return bias.detach()


@dataclass(frozen=True)
class _Sample:
    """Cells of one set: logits [N, T] of its texts and [N, M] of the background names, their vectors, truth.

    `truth` [N] is a place in the legend; `other` that of the class `other`, or -1. `single`: the one class
    of the set has only the background to compete with.
    """

    own: Tensor
    rivals: Tensor
    texts: Tensor
    background: Tensor
    counts: tuple[int, ...]
    truth: Tensor
    other: int
    single: bool

    def missed(self, bias: Tensor) -> Tensor:
        """1 - soft IoU, mean over the classes in the truth: legend alone, and background beside it."""
        own = self.own + self.texts @ bias
        classes = torch.stack([part.amax(1) for part in torch.split(own, list(self.counts), 1)], 1)
        best = (self.rivals + self.background @ bias).amax(1, keepdim=True)
        none = len(self.counts)
        truth, open_classes = self.truth, classes
        if self.other >= 0:
            hidden = torch.arange(none) == self.other
            open_classes = classes.masked_fill(hidden, _HIDDEN)
            truth = truth.masked_fill(truth == self.other, none)
        losses = [_soft(torch.cat([open_classes, best], 1), truth, none)]
        if not self.single:
            losses.append(_soft(classes, self.truth, none))
        return torch.stack(losses).mean()


def _soft(logits: Tensor, truth: Tensor, classes: int) -> Tensor:
    """1 - soft IoU, mean over the first `classes` columns that occur in the truth."""
    share = logits.softmax(1)
    hit = functional.one_hot(truth, classes + 1)[:, : share.shape[1]].to(share.dtype)
    both = (share * hit).sum(0)
    union = (share + hit - share * hit).sum(0)
    there = (hit.sum(0) > 0) & (torch.arange(share.shape[1]) < classes)
    return (1 - both / union.clamp(min=1e-6))[there].mean()


def _sample(network: BundledNetwork, item: DataSet, reader: Reader) -> _Sample | None:
    """Labelled cells of the validation pictures; None without any."""
    question = legend_question("bag", item, whole_bag)
    rng = np.random.default_rng(0)
    refs = item.pictures("val")
    if len(refs) > _PICTURES:
        refs = tuple(refs[place] for place in sorted(rng.choice(len(refs), _PICTURES, replace=False)))
    fused = ready(network, torch.bfloat16)
    draw = _Draw(fused, reader, question.truth, rng)
    drawn = [draw(ref, max(_CELLS // len(refs), 1)) for ref in refs]
    truth = np.concatenate([each[1] for each in drawn]) if drawn else np.zeros(0, np.int64)
    if not truth.size:
        return None
    head = question.head(network.shape.dim)
    with torch.inference_mode():
        cells = torch.cat([each[0] for each in drawn])
        weight = network.project.weight[:, :, 0, 0].detach()
        pixels = functional.normalize(functional.linear(cells, weight, network.project.bias), dim=1)
        texts, background = (
            functional.normalize(torch.from_numpy(np.asarray(rows, np.float32)), dim=1)
            for rows in (head.texts, head.background)
        )
        own, rivals = (pixels @ rows.T * network.scale for rows in (texts, background))
    own, rivals, texts, background = (each.clone() for each in (own, rivals, texts, background))
    return _Sample(
        own,  # cloned: tensors of inference mode have no gradient
        rivals,
        texts,
        background,
        counts=head.counts,
        truth=torch.from_numpy(truth),
        other=question.other,
        single=item.kind == "single",
    )


@dataclass(frozen=True)
class _Draw:
    """Draws labelled cells of pictures; `prompt` [256] leads from a label to its place in the legend."""

    fused: BundledNetwork
    reader: Reader
    prompt: NDArray[np.int64]
    rng: np.random.Generator

    def __call__(self, ref: PictureRef, number: int) -> tuple[Tensor, NDArray[np.int64]]:
        """At most `number` cells, all with the same chance: features [n, C] float32 and places [n]."""
        rgb, label = read_scaled(ref, self.reader)
        scale = self.reader.scale(ref.gsd)
        found, truths, lots = [torch.zeros(0, self.fused.shape.fine)], [np.zeros(0, np.int64)], [np.zeros(0)]
        with torch.inference_mode():
            for place, cells, inside in features(self.fused, rgb):
                rows, columns = (
                    np.arange(-(-side.start // STRIDE), (side.stop - STRIDE // 2 - 1) // STRIDE + 1)
                    for side in inside
                )
                y, x = (
                    (at * STRIDE + STRIDE // 2 - side.start + kept.start) * scale
                    for at, side, kept in zip((rows, columns), inside, place, strict=True)
                )
                truth = self.prompt[
                    label[np.minimum(y, label.shape[0] - 1).astype(int)][
                        :, np.minimum(x, label.shape[1] - 1).astype(int)
                    ]
                ]
                lot = np.where(truth >= 0, self.rng.random(truth.shape), np.inf).ravel()
                best = np.argsort(lot)[: min(number, int((truth >= 0).sum()))]
                flat = cells[0][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].flatten(1)
                found.append(flat[:, torch.from_numpy(best)].T.float())
                truths.append(truth.ravel()[best])
                lots.append(lot[best])
        best = np.argsort(np.concatenate(lots))[:number]
        return torch.cat(found)[torch.from_numpy(best)], np.concatenate(truths)[best]
