"""What the engine knows of a model: a card, pixel features, and scores of a legend's classes.

Features and scores are two steps, so that features can be kept or compared without words. torch is a type
only here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

    from rsov.types import Background, Legend

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to unit vectors [N, dim] float32."""

ABSENT = -1.0e4
"""Score of a channel that takes no part: far below any logit, yet finite, so that blending stays finite."""


@dataclass(frozen=True)
class ModelCard:
    """What a model is and what it expects.

    ``gsd`` is the ground sampling distance (m) that it reads best, ``gsd_range`` those it was trained for.
    ``tile`` and ``overlap`` are its defaults in pixels, ``size_multiple`` what a tile's sides must be
    divisible by, ``stride`` the pixels per score cell. ``tile_bytes`` is the memory of its activations per
    tile pixel, float32, and ``thread_mpx`` the millions of tile pixels that one processor takes a second in
    a whole run, both measured.
    """

    name: str
    version: str
    sha256: str
    gsd: float
    gsd_range: tuple[float, float]
    licence: str
    tile: int = 1024
    overlap: int = 128
    stride: int = 4
    size_multiple: int = 32
    dim: int = 384
    text_encoder: str = "all-MiniLM-L6-v2"
    radiometry: str = "uint8 RGB, scaled once per scene"
    tile_bytes: int = 300
    thread_mpx: float = 1.5
    weights_bytes: int = 0


@dataclass(frozen=True)
class Head:
    """Unit vectors of the classes' texts [T, dim], class by class, and of the rival names [M, dim].

    ``counts`` are the texts of each class; M may be 0.
    """

    texts: NDArray[np.float32]
    counts: tuple[int, ...]
    background: NDArray[np.float32]

    @property
    def channels(self) -> int:
        """Channels of the scores: none of them, then the classes."""
        return len(self.counts) + 1


@runtime_checkable
class Segmenter(Protocol):
    """A model that gives every score cell one logit per class and one for none of them."""

    @property
    def card(self) -> ModelCard:
        """What it is and what it expects."""
        ...

    def head(self, legend: Legend, background: Background, embed: Embed) -> Head:
        """Words to vectors."""
        ...

    def features(self, pixels: NDArray[np.uint8]) -> Tensor:
        """[B, 3, H, W] of 0..255, sides as the card demands -> features [B, C, H/stride, W/stride]."""
        ...

    def scores(self, features: Tensor, head: Head) -> Tensor:
        """Logits [B, K+1, h, w] float32 on the CPU, contiguous.

        Channel k is class k: the best of its texts, so that a synonym adds to a class and never takes away
        from it. Channel 0 is the best background name, :data:`ABSENT` without a background. Maxima, not sums:
        many names do not add up. Softmax over the channels is the confidence.
        """
        ...


@runtime_checkable
class Placed(Protocol):
    """A segmenter that says where and in which number type it computes."""

    device: device
    dtype: dtype


def text_head(legend: Legend, background: Background, embed: Embed, dim: int) -> Head:
    """The head of a model whose features live in a text encoder's space; texts are encoded in one call.

    A rival name is the mean of its texts' vectors, made unit: less broad than the best of them, so that it
    wins fewer pixels from a class that is given by one word.
    """
    counts = tuple(len(c.texts) for c in legend)
    bags = [term.texts for term in background.terms]
    texts = [text for c in legend for text in c.texts] + [text for bag in bags for text in bag]
    rows = np.asarray(embed(texts), np.float32).reshape(-1, dim)
    own, rivals = rows[: sum(counts)], np.zeros((len(bags), dim), np.float32)
    end = len(own)
    for index, bag in enumerate(bags):
        start, end = end, end + len(bag)
        mean = rows[start:end].mean(0)
        rivals[index] = mean / max(float(np.linalg.norm(mean)), float(np.finfo(np.float32).tiny))
    return Head(own, counts, rivals)
