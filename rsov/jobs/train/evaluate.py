"""Scores of a network on labelled data sets: one confusion matrix per set, legend alone and with rivals."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rsov.datasets.pictures import joint_percentiles, joint_stretch, read_picture
from rsov.datasets.sets import IGNORE, OTHER, DataSet, PictureRef, SetClass
from rsov.models.bundled.network import SIZE_MULTIPLE, STRIDE, BundledNetwork, FoldedHead, channels_last
from rsov.models.protocol import Head, text_head
from rsov.text.background import choose_background
from rsov.text.concepts import concepts
from rsov.text.encoder import encode
from rsov.types import Legend, LegendClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_GREY = (127, 127, 127)
_TILE = 1024
_MARGIN = 96
_MAX_ENLARGEMENT = 4.0


@dataclass(frozen=True)
class Reader:
    """How pictures are read, as in prediction.

    GSD inside the range as they are, finer ones at `gsd`, coarser ones enlarged to the coarse end of the
    range, at most fourfold.
    """

    gsd: float
    gsd_range: tuple[float, float]
    stretch: bool = True

    def factor(self, own: float) -> float:
        """Pixels out per pixel in."""
        low, high = self.gsd_range
        if own < low:
            return own / self.gsd
        return min(own / high, _MAX_ENLARGEMENT) if own > high else 1.0


@dataclass
class SetScore:
    """Confusion matrices [truth, prediction] of a set.

    `names` are the legend's; in `rival` the last column counts pixels that a background name took.
    """

    dataset: str
    names: list[str]
    pictures: int
    legend: NDArray[np.int64] = field(repr=False)
    rival: NDArray[np.int64] = field(repr=False)
    single: bool = False

    @property
    def iou(self) -> list[float]:
        """IoU per class, NaN without truth: legend alone; of kind single: against the background."""
        return class_iou(self.rival if self.single else self.legend)

    @property
    def rival_iou(self) -> list[float]:
        """IoU of each class when the background vocabulary competes."""
        return class_iou(self.rival)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that occur in the truth."""
        return float(np.nanmean(self.iou))

    @property
    def mean_rival_iou(self) -> float:
        """The same with the background vocabulary; `other` is left out."""
        values = [
            v for v, n in zip(self.rival_iou, self.names, strict=True) if n != OTHER and not np.isnan(v)
        ]
        return float(np.mean(values)) if values else float("nan")


def class_iou(matrix: NDArray[np.int64]) -> list[float]:
    """IoU per class of a confusion matrix [K + 1, K + 1].

    The last row (truth without a class) and column (no class found) count as errors only.
    """
    k = min(matrix.shape[0], matrix.shape[1]) - 1
    hit = np.diag(matrix)[:k].astype(float)
    truth, found = matrix.sum(1)[:k], matrix.sum(0)[:k]
    with np.errstate(invalid="ignore", divide="ignore"):
        return [
            float(h / (t + f - h)) if t else float("nan") for h, t, f in zip(hit, truth, found, strict=True)
        ]


def make_head(
    classes: Sequence[SetClass], words: Callable[[SetClass], Sequence[str]], dim: int
) -> tuple[Head, int]:
    """The head of a set's legend as prediction would make it, and the column of its class `other` or -1.

    The default background is that of the other classes.
    """
    items = [LegendClass(i + 1, c.name, tuple(words(c)), _GREY) for i, c in enumerate(classes)]
    named = Legend(tuple(i for i in items if i.name != OTHER))
    background = choose_background(named, None, encode)
    other = next((i for i, c in enumerate(classes) if c.name == OTHER), -1)
    return text_head(Legend(tuple(items)), background, encode, dim), other


def unseen_words(item: SetClass) -> tuple[str, ...]:
    """The texts of a class's concept that no training sees; the bag where the concept keeps none back."""
    concept = concepts().find(item.name)
    return concept.held_out if concept is not None and concept.held_out else item.bag


def _windows(length: int) -> Iterator[tuple[int, int, int, int]]:
    """Tiles along one axis: start and end of what is read, start and end of what is kept."""
    step = _TILE - 2 * _MARGIN
    if length <= _TILE:
        yield 0, length, 0, length
        return
    for start in range(0, length - 2 * _MARGIN, step):
        end = min(start + _TILE, length)
        yield (
            max(end - _TILE, 0),
            end,
            start + _MARGIN if start else 0,
            end - _MARGIN if end < length else length,
        )


def predict(
    network: BundledNetwork, head: FoldedHead, rgb: NDArray[np.uint8]
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Scores of a picture [H, W, 3] tile by tile: the place kept, and scores [K, h, w] float32 there."""
    height, width = rgb.shape[:2]
    dtype = next(network.parameters()).dtype
    for top, bottom, keep_top, keep_bottom in _windows(height):
        for left, right, keep_left, keep_right in _windows(width):
            part = rgb[top:bottom, left:right]
            pad = [(0, -part.shape[axis] % SIZE_MULTIPLE) for axis in (0, 1)]
            padded = np.pad(part, (*pad, (0, 0)), mode="symmetric")
            x = (
                torch.from_numpy(padded.transpose(2, 0, 1).copy())[None]
                .to(dtype)
                .contiguous(memory_format=torch.channels_last)
            )
            with torch.inference_mode():
                scores = torch.nn.functional.interpolate(
                    head(network.features(x)),
                    scale_factor=float(STRIDE),
                    mode="bilinear",
                    align_corners=False,
                )[0]
            inside = scores[:, keep_top - top : keep_bottom - top, keep_left - left : keep_right - left]
            yield (slice(keep_top, keep_bottom), slice(keep_left, keep_right)), inside


def ready(network: BundledNetwork, dtype: torch.dtype) -> BundledNetwork:
    """A fused copy for inference."""
    fused: BundledNetwork = copy.deepcopy(network).eval().fuse().to(dtype)
    channels_last(fused)
    return fused


def read_scaled(ref: PictureRef, reader: Reader) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture at the reader's GSD, stretched once for the whole picture, and labels at their own GSD."""
    rgb, valid, label = read_picture(ref)
    factor = reader.factor(ref.gsd)
    if reader.stretch:
        gain, offset = joint_stretch(*joint_percentiles(rgb, valid), rgb.shape[0] * rgb.shape[1] * factor**2)
        table = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255).astype(np.uint8)
        rgb = table[rgb]
    if factor != 1.0:
        size = (max(round(rgb.shape[1] * factor), 8), max(round(rgb.shape[0] * factor), 8))
        rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
    return rgb, label


def score_set(
    network: BundledNetwork,
    dataset: DataSet,
    refs: Sequence[PictureRef],
    reader: Reader,
    words: Callable[[SetClass], Sequence[str]] = lambda item: item.bag,
) -> SetScore:
    """Confusion matrices of a set.

    `network` comes from :func:`ready`; `words` gives the prompts of a class.
    """
    single = dataset.kind == "single"
    classes = [c for c in dataset.classes if not (single and c.name == OTHER)]
    k = len(classes)
    head, other = make_head(classes, words, network.shape.dim)
    vectors = torch.from_numpy(np.concatenate([head.texts, head.background]))
    rivals = [len(head.background)] if len(head.background) else []
    folded = network.fold(vectors, [*head.counts, *rivals]).to(next(network.parameters()).dtype)
    index = np.full(256, k, np.int64)
    index[IGNORE] = -1
    for i, item in enumerate(classes):
        index[item.id] = i
    score = SetScore(
        dataset.name,
        [c.name for c in classes],
        len(refs),
        np.zeros((k + 1, k + 1), np.int64),
        np.zeros((k + 1, k + 1), np.int64),
        single,
    )
    for ref in refs:
        rgb, label = read_scaled(ref, reader)
        legend = np.zeros(rgb.shape[:2], np.uint8)
        rival = np.zeros(rgb.shape[:2], np.uint8)
        for place, scores in predict(network, folded, rgb):
            legend[place] = scores[:k].argmax(0).numpy()
            if other >= 0:
                scores[other] = -torch.inf
            rival[place] = scores.argmax(0).numpy()
        truth = index[label]
        for matrix, predicted in ((score.legend, legend), (score.rival, rival)):
            _count(matrix, truth, _to(predicted, label.shape))
    if other >= 0:  # a background name is right where the truth is `other`
        score.rival[:, other] += score.rival[:, k]
        score.rival[:, k] = 0
    return score


def _to(predicted: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if predicted.shape == shape:
        return predicted
    return np.asarray(Image.fromarray(predicted).resize((shape[1], shape[0]), Image.Resampling.NEAREST))


def _count(matrix: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.uint8]) -> None:
    valid = truth >= 0
    pairs = truth[valid] * matrix.shape[1] + predicted[valid]
    matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
