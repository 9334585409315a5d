"""Two tiny segmenters: one that knows colours by name, one of random convolutions that sees its surroundings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rsov.models.protocol import ABSENT, Embed, Head, ModelCard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rsov.types import Background, Legend

COLOURS = {
    "forest": (25, 70, 30),
    "wood": (25, 70, 30),
    "tree": (30, 80, 35),
    "trees": (25, 75, 30),
    "grass": (125, 175, 90),
    "meadow": (125, 175, 90),
    "water": (35, 65, 125),
    "lake": (35, 65, 125),
    "river": (40, 70, 120),
    "road": (125, 125, 128),
    "asphalt": (115, 115, 118),
    "building": (185, 85, 70),
    "roof": (185, 85, 70),
    "field": (170, 145, 85),
    "cropland": (170, 145, 85),
    "bare soil": (150, 110, 75),
    "sand": (215, 200, 160),
    "snow": (250, 250, 250),
    "shadow": (8, 10, 12),
}
"""What a name looks like from above; other names get a colour from their hash."""


def card(**changes: object) -> ModelCard:
    """Card of the test models: 64 px tiles at 0.5 m."""
    fields: dict[str, object] = {
        "name": "colours",
        "version": "1",
        "sha256": "0" * 64,
        "gsd": 0.5,
        "gsd_range": (0.1, 2.0),
        "licence": "Apache-2.0",
        "tile": 64,
        "overlap": 16,
        "stride": 4,
        "size_multiple": 32,
        "dim": 3,
        "tile_bytes": 64,
    }
    return ModelCard(**{**fields, **changes})  # type: ignore[arg-type]  # fields by name


def colour(text: str) -> tuple[int, int, int]:
    """The colour of a name."""
    known = COLOURS.get(text.strip().lower())
    return known or tuple(hashlib.sha256(text.encode()).digest()[:3])  # type: ignore[return-value]  # three bytes


def vectors(bags: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Mean colour of each bag of names, 0..1."""
    rows = [np.mean([colour(text) for text in bag], axis=0) / 255 for bag in bags]
    return np.array(rows, np.float32).reshape(-1, 3)


class ColourSegmenter:
    """The class whose colour is nearest to the mean colour of a cell wins; a cell sees only its own pixels.

    Exact and without surroundings: maps do not depend on the tiling.
    """

    def __init__(self, sharpness: float = 60.0, **changes: object) -> None:
        self.card = card(**changes)
        self.sharpness = sharpness
        self.calls: list[tuple[int, ...]] = []

    def head(self, legend: Legend, background: Background, embed: Embed | None = None) -> Head:
        classes = vectors([c.texts for c in legend])
        return Head(classes, (1,) * len(classes), vectors([t.texts for t in background.terms]))

    def features(self, pixels: NDArray[np.uint8]) -> Tensor:
        self.calls.append(pixels.shape)
        return nn.functional.avg_pool2d(torch.from_numpy(pixels).float() / 255, self.card.stride)

    def scores(self, features: Tensor, head: Head) -> Tensor:
        def logits(colours: NDArray[np.float32]) -> Tensor:
            difference = features[:, None] - torch.from_numpy(colours)[None, :, :, None, None]
            return -self.sharpness * difference.square().sum(2)

        none = features.new_full((features.shape[0], 1, *features.shape[2:]), ABSENT)
        if len(head.background):
            none = logits(head.background).amax(1, keepdim=True)
        return torch.cat([none, logits(head.texts)], 1)


class RandomSegmenter:
    """Seeded convolutions with a receptive field of about 60 px: its maps show how tiles are joined."""

    def __init__(self, seed: int = 0, width: int = 12, **changes: object) -> None:
        self.card = card(name="random", dim=width, **changes)
        generator = torch.Generator().manual_seed(seed)
        sizes = ((3, width, 5, 2), (width, width, 5, 2), (width, width, 5, 1), (width, width, 5, 1))
        self._layers = [
            (torch.randn(cout, cin, k, k, generator=generator) * (2.0 / (cin * k * k)) ** 0.5, s)
            for cin, cout, k, s in sizes
        ]
        self._seed = seed
        self.calls: list[tuple[int, ...]] = []

    def head(self, legend: Legend, background: Background, embed: Embed | None = None) -> Head:
        random = np.random.default_rng(self._seed + 1)
        rows = random.standard_normal((len(legend) + len(background.terms), self.card.dim)).astype(np.float32)
        return Head(rows[: len(legend)], (1,) * len(legend), rows[len(legend) :])

    def features(self, pixels: NDArray[np.uint8]) -> Tensor:
        self.calls.append(pixels.shape)
        x = torch.from_numpy(pixels).float() / 64 - 2
        for weight, stride in self._layers:
            x = nn.functional.leaky_relu(nn.functional.conv2d(x, weight, stride=stride, padding=2), 0.2)
        return x

    def scores(self, features: Tensor, head: Head) -> Tensor:
        def logits(rows: NDArray[np.float32]) -> Tensor:
            return torch.einsum("bchw,kc->bkhw", features, torch.from_numpy(rows))

        none = features.new_full((features.shape[0], 1, *features.shape[2:]), ABSENT)
        if len(head.background):
            none = logits(head.background).amax(1, keepdim=True)
        return torch.cat([none, logits(head.texts)], 1)
