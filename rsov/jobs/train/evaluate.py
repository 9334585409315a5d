"""Answers of a network to questions about labelled sets: confusion matrices and reliability."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsov.datasets.pictures import joint_percentiles, joint_stretch, read_picture
from rsov.models.backend import prepare
from rsov.models.bundled.network import SIZE_MULTIPLE, STRIDE, BundledNetwork
from rsov.raster.scene_chunks import to_work
from rsov.raster.workgrid import choose_scale, work_grid
from rsov.types import Notices, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from rsov.datasets.sets import PictureRef
    from rsov.jobs.train.questions import Question

_TILE = 1024
_MARGIN = 96


@dataclass(frozen=True)
class Reader:
    """How pictures are read: as prediction does for a model of this GSD and range, without options."""

    gsd: float
    gsd_range: tuple[float, float]
    stretch: bool = True

    def scale(self, own: float) -> float:
        """Source pixels per work pixel of a picture of this GSD."""
        return choose_scale((own, own), self.gsd, self.gsd_range, None, Notices())[0]


TEMPERATURES = (1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 3.3)
"""Of the softmax, relative to the network's own scale: what :class:`Reliability` is counted for."""
BINS = 20


@dataclass
class Reliability:
    """Confidence against truth over labelled pixels, each [temperature, bin].

    Number of pixels, sum of their confidence, number of right ones.
    """

    pixels: NDArray[np.float64] = field(default_factory=lambda: np.zeros((len(TEMPERATURES), BINS)))
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros((len(TEMPERATURES), BINS)))
    right: NDArray[np.float64] = field(default_factory=lambda: np.zeros((len(TEMPERATURES), BINS)))

    def add(self, logits: Tensor, truth: NDArray[np.int64]) -> None:
        """Logits [K, N] of pixels at temperature 1 and their class [N]."""
        hit = (logits.argmax(0).numpy() == truth).astype(float)
        for row, temperature in enumerate(TEMPERATURES):
            best = torch.softmax(logits / temperature, 0).amax(0).double().numpy()
            bins = np.minimum((best * BINS).astype(int), BINS - 1)
            self.pixels[row] += np.bincount(bins, minlength=BINS)
            self.confidence[row] += np.bincount(bins, best, BINS)
            self.right[row] += np.bincount(bins, hit, BINS)

    def error(self, temperature: float) -> float:
        """Expected calibration error: mean distance of confidence and accuracy of a bin, weighted by pixels.

        At the counted temperature nearest to the given one.
        """
        row = min(range(len(TEMPERATURES)), key=lambda i: abs(TEMPERATURES[i] - temperature))
        return float(np.abs(self.confidence - self.right)[row].sum() / max(self.pixels[row].sum(), 1.0))


@dataclass
class Score:
    """What a question found in a set: confusion matrices [truth, prediction].

    In `legend` the prompts stand alone; in `rival` the default background competes, and its last column
    counts pixels that a background name took. `anywhere` are the pixels of each column of `rival` with or
    without a label.
    """

    question: Question
    legend: NDArray[np.int64] = field(init=False, repr=False)
    rival: NDArray[np.int64] = field(init=False, repr=False)
    anywhere: NDArray[np.int64] = field(init=False, repr=False)
    reliability: Reliability = field(default_factory=Reliability, repr=False)

    def __post_init__(self) -> None:
        n = len(self.question.prompts) + 1
        self.legend, self.rival = np.zeros((n, n), np.int64), np.zeros((n, n), np.int64)
        self.anywhere = np.zeros(n, np.int64)

    @property
    def iou(self) -> list[float]:
        """IoU per prompt, NaN without truth: prompts alone."""
        return class_iou(self.legend)

    @property
    def rival_iou(self) -> list[float]:
        """IoU of each prompt against the background vocabulary, which is right where the truth is `other`."""
        matrix, other = self.rival.copy(), self.question.other
        if other >= 0:
            matrix[:, other] += matrix[:, -1]
            matrix[:, -1] = 0
        return class_iou(matrix)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the prompts that occur in the truth."""
        return _mean(self.iou)

    @property
    def mean_rival_iou(self) -> float:
        """The same with the background vocabulary; `other` is left out."""
        return _mean([v for i, v in enumerate(self.rival_iou) if i != self.question.other])

    @property
    def lost(self) -> float:
        """Share of the pixels of prompted classes that become none of them."""
        rows = [i for i in range(len(self.question.prompts)) if i != self.question.other]
        return float(self.rival[rows, -1].sum() / max(int(self.rival[rows].sum()), 1))

    @property
    def taken(self) -> float:
        """Share of all pixels that get a class."""
        return float(self.anywhere[:-1].sum() / max(int(self.anywhere.sum()), 1))


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


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


def features(
    network: BundledNetwork, rgb: NDArray[np.uint8]
) -> Iterator[tuple[tuple[slice, slice], Tensor, tuple[slice, slice]]]:
    """Features of a picture [H, W, 3] tile by tile: place kept, [1, C, h, w], what is kept of its pixels."""
    height, width = rgb.shape[:2]
    dtype = next(network.trunk.parameters()).dtype
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
            yield (
                (slice(keep_top, keep_bottom), slice(keep_left, keep_right)),
                network.features(x),
                (slice(keep_top - top, keep_bottom - top), slice(keep_left - left, keep_right - left)),
            )


def ready(network: BundledNetwork, dtype: torch.dtype) -> BundledNetwork:
    """A fused copy for inference; as in prediction, the last layer stays exact: heads are folded from it."""
    fused = copy.deepcopy(network).eval().fuse().requires_grad_(requires_grad=False)
    for part in (fused.trunk, fused.pyramid):
        prepare(part, torch.device("cpu"), dtype)
    return fused


def read_scaled(ref: PictureRef, reader: Reader) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture [h, w, 3] on its work grid, stretched once for the whole picture; labels [H, W] of the source.

    Raises:
        InputError: picture or labels cannot be read, or do not fit each other.
    """
    rgb, valid, label = read_picture(ref)
    height, width = label.shape
    scale = reader.scale(ref.gsd)
    work = work_grid(width, height, (scale, scale))
    if reader.stretch:
        gain, offset = joint_stretch(*joint_percentiles(rgb, valid), work.width * work.height)
        table = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255).astype(np.uint8)
        rgb = table[rgb]
    mean = rgb[valid].mean(0) if valid.any() else np.full(3, 128.0)
    data, _ = to_work(
        work,
        np.ascontiguousarray(rgb.transpose(2, 0, 1)),
        None if valid.all() else valid,
        Window(0, 0, width, height),
        Window(0, 0, work.width, work.height),
        fill=np.floor(mean + 0.5).astype(np.uint8),
    )
    return data.transpose(1, 2, 0), label


Answer = Callable[[Tensor], Tensor]
"""Features [1, C, h, w] to scores [1, K, h, w] of the prompts, perhaps with the best rival as one more."""


def text_answer(network: BundledNetwork, question: Question) -> Answer:
    """Scores as prediction makes them from words."""
    head = question.head(network.shape.dim)
    vectors = torch.from_numpy(np.concatenate([head.texts, head.background]))
    rivals = [len(head.background)] if len(head.background) else []
    return network.fold(vectors, [*head.counts, *rivals]).to(next(network.trunk.parameters()).dtype)


class _Asked:
    """One question while a set is read: its head, its score, and the maps of the picture at hand."""

    def __init__(self, question: Question, answer: Answer) -> None:
        self.score = Score(question)
        self.k = len(question.prompts)
        self._answer = answer

    def begin(self, shape: tuple[int, ...], truth: NDArray[np.int64], scale: float) -> None:
        """A picture of this shape on its work grid; truth on the source grid, `scale` pixels to one."""
        self._truth, self._scale = truth, scale
        self._near = _to(truth, shape, scale)
        self._legend, self._rival = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)

    def tile(self, place: tuple[slice, slice], cells: Tensor, inside: tuple[slice, slice]) -> None:
        """Decide the pixels of a tile."""
        scores = functional.interpolate(
            self._answer(cells).float(), scale_factor=float(STRIDE), mode="bilinear", align_corners=False
        )[0][:, *inside]
        self._legend[place] = scores[: self.k].argmax(0).numpy()
        if self.score.question.other >= 0:
            scores[self.score.question.other] = -torch.inf
        self._rival[place] = scores.argmax(0).numpy()
        truth = self._near[place][::STRIDE, ::STRIDE]
        counted = truth >= 0
        if self.score.question.other >= 0:
            counted &= truth != self.score.question.other
        some = scores[:, ::STRIDE, ::STRIDE][:, torch.from_numpy(counted)]
        self.score.reliability.add(some.float(), truth[counted].astype(np.int64))

    def end(self) -> None:
        """Count the picture."""
        for matrix, predicted in ((self.score.legend, self._legend), (self.score.rival, self._rival)):
            _count(matrix, self._truth, _to(predicted, self._truth.shape, 1 / self._scale))
        self.score.anywhere += np.bincount(self._rival.ravel(), minlength=self.k + 1)


def score_set(
    network: BundledNetwork,
    refs: Sequence[PictureRef],
    reader: Reader,
    asked: Sequence[Question],
    answer: Callable[[BundledNetwork, Question], Answer] = text_answer,
) -> dict[str, Score]:
    """Answers to several questions by name, from one pass over the pictures.

    `network` comes from :func:`ready`.
    """
    with torch.inference_mode():
        parts = [_Asked(question, answer(network, question)) for question in asked]
        for ref in refs:
            rgb, label = read_scaled(ref, reader)
            for part in parts:
                part.begin(rgb.shape[:2], part.score.question.truth[label], reader.scale(ref.gsd))
            for place, cells, inside in features(network, rgb):
                for part in parts:
                    part.tile(place, cells, inside)
            for part in parts:
                part.end()
    return {part.score.question.name: part.score for part in parts}


A = TypeVar("A", bound=np.generic)


def _to(values: NDArray[A], shape: tuple[int, ...], scale: float) -> NDArray[A]:
    """The value that holds each pixel centre of another grid, `scale` values per pixel of it."""
    if scale == 1.0:
        return values
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * scale).astype(np.int64), size - 1)
        for n, size in zip(shape, values.shape, strict=True)
    )
    return np.asarray(values[rows][:, columns])


def _count(matrix: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.uint8]) -> None:
    valid = truth >= 0
    pairs = truth[valid] * matrix.shape[1] + predicted[valid]
    matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
