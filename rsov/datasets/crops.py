"""Training crops: which set, which class, which place, which GSD; turning, resampling and changes of light.

Everything about step `n` follows from `(seed, n, index)`, so a run that resumes draws the same crops.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rsov.datasets.pictures import joint_stretch
from rsov.datasets.sets import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from rsov.datasets.cache import CachedPicture

_LEVEL_SLACK = 1.2  # a level may be this much coarser than the wanted GSD before the finer one is taken
_TRIES = 4  # draws of another place when a crop has no labelled pixel


@dataclass(frozen=True)
class CropSettings:
    """How crops are drawn; lengths in metres per pixel, shares as probabilities.

    ``read_at`` is the GSD that prediction reads finer pictures at.
    """

    size: int = 256
    points: int = 1024
    finest: float = 0.2
    coarsest: float = 1.0
    enlarge_to: float = 0.5
    shrink_to: float = 0.45
    free_turn: float = 0.3
    set_power: float = 0.35
    class_power: float = 0.3
    plain: float = 0.1
    read_at: float = 0.3


@dataclass(frozen=True)
class SetSource:
    """Cached train pictures of one set."""

    name: str
    pictures: tuple[CachedPicture, ...]

    def pixels(self) -> dict[int, int]:
        """Labelled pixels of each class."""
        total: dict[int, int] = {}
        for picture in self.pictures:
            for key, count in picture.counts.items():
                total[int(key)] = total.get(int(key), 0) + count
        return total


@dataclass(frozen=True)
class Batch:
    """`images` [B, 3, S, S]; `xy` [B, P, 2] pixel places (column, row); `classes` [B, P]; `sets` [B]."""

    images: NDArray[np.uint8]
    xy: NDArray[np.int16]
    classes: NDArray[np.uint8]
    sets: NDArray[np.int64]


class CropSampler:
    """Draws batches from several sets."""

    def __init__(
        self,
        sources: Sequence[SetSource],
        settings: CropSettings,
        seed: int,
        boost: Mapping[str, float] | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.settings = settings
        self.seed = seed
        pixels = [source.pixels() for source in self.sources]
        weight = np.array([sum(p.values()) for p in pixels], float) ** settings.set_power
        weight *= [(boost or {}).get(source.name, 1.0) for source in self.sources]
        self._set_share = weight / weight.sum()
        self._class_share = [_class_share(p, settings.class_power) for p in pixels]

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step."""
        crops = [self._crop(np.random.default_rng((self.seed, step, index))) for index in range(size)]
        return Batch(
            images=np.stack([c[0] for c in crops]),
            xy=np.stack([c[1] for c in crops]),
            classes=np.stack([c[2] for c in crops]),
            sets=np.array([c[3] for c in crops]),
        )

    def _crop(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.uint8], int]:
        index = int(rng.choice(len(self.sources), p=self._set_share))
        for attempt in range(_TRIES):
            image, label = self._view(index, rng)
            if (label != IGNORE).any() or attempt == _TRIES - 1:
                break
        xy, classes = draw_points(label, self.settings.points, rng)
        return np.ascontiguousarray(image.transpose(2, 0, 1)), xy, classes, index

    def _view(self, index: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        names, shares = self._class_share[index]
        wanted = int(rng.choice(names, p=shares))
        pictures = [p for p in self.sources[index].pictures if str(wanted) in p.counts]
        weight = np.sqrt([p.counts[str(wanted)] for p in pictures])
        picture = pictures[int(rng.choice(len(pictures), p=weight / weight.sum()))]
        seeds = picture.seeds()
        seeds = seeds[seeds[:, 0] == wanted]
        _, row, col = seeds[rng.integers(len(seeds))]
        gsd = draw_gsd(picture.gsd, self.settings, rng)
        angle = float(rng.integers(4)) * 90.0
        if rng.random() < self.settings.free_turn:
            angle += float(rng.uniform(-45, 45))
        half = self.settings.size * gsd / picture.gsd / 2
        centre = np.array([col, row], float) + rng.uniform(-0.8, 0.8, 2) * half
        size = np.array([picture.width, picture.height], float)
        centre = np.where(
            size > 2 * half,
            np.clip(centre, np.minimum(half, size / 2), np.maximum(size - half, size / 2)),
            size / 2,
        )
        image, label = resample(
            picture,
            (float(centre[0]), float(centre[1])),
            gsd=gsd,
            angle=angle,
            flip=bool(rng.random() < 0.5),
            size=self.settings.size,
        )
        return change_light(image, picture, self.settings, rng), label


def _class_share(pixels: Mapping[int, int], power: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    names = np.array(sorted(pixels))
    weight = np.array([pixels[int(name)] for name in names], float) ** power
    return names, weight / weight.sum()


def draw_gsd(own: float, settings: CropSettings, rng: np.random.Generator) -> float:
    """Log-uniform between 0.6 and 2.5 times the picture's own GSD, kept near the model's range."""
    low = max(settings.finest, min(0.6 * own, settings.enlarge_to))
    high = max(settings.shrink_to, min(settings.coarsest, 2.5 * own))
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low * 1.01)))))


def resample(
    picture: CachedPicture, centre: tuple[float, float], *, gsd: float, angle: float, flip: bool, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Crop of `size` px at `gsd` around `centre` (column, row at the native GSD), turned by `angle` degrees.

    Bilinear on the level just finer than `gsd` for the picture, nearest on the native labels; mirrored past
    the edge.
    """
    ratio = gsd / picture.gsd
    level = min(max(int(np.floor(np.log2(max(ratio * _LEVEL_SLACK, 1.0)))), 0), picture.levels - 1)
    radians = np.deg2rad(angle)
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    if flip:
        turn = turn @ np.diag([-1.0, 1.0])
    image = _warp(
        picture.level(level),
        np.array(centre) / 2**level,
        turn * ratio / 2**level,
        size,
        Image.Resampling.BILINEAR,
    )
    label = _warp(picture.label(), np.array(centre), turn * ratio, size, Image.Resampling.NEAREST)
    return image, label


def _warp(
    data: NDArray[np.uint8],
    centre: NDArray[np.float64],
    matrix: NDArray[np.float64],
    size: int,
    how: Image.Resampling,
) -> NDArray[np.uint8]:
    reach = np.abs(matrix).sum(1) * size / 2 + 2
    low = np.floor(centre - reach).astype(int)
    high = np.ceil(centre + reach).astype(int)
    height, width = data.shape[:2]
    inside = np.s_[max(low[1], 0) : min(high[1], height), max(low[0], 0) : min(high[0], width)]
    part = np.asarray(data[inside])
    pad = ((max(-low[1], 0), max(high[1] - height, 0)), (max(-low[0], 0), max(high[0] - width, 0)))
    if any(n for side in pad for n in side):
        part = np.pad(part, (*pad, *[(0, 0)] * (data.ndim - 2)), mode="symmetric")
    shift = centre - low - matrix @ np.full(2, size / 2)
    (a, b), (d, e) = matrix
    with Image.fromarray(part) as source:
        moved = source.transform((size, size), Image.Transform.AFFINE, (a, b, shift[0], d, e, shift[1]), how)
    return np.asarray(moved)


def change_light(
    rgb: NDArray[np.uint8], picture: CachedPicture, settings: CropSettings, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change the light: joint percentile stretch with unsure ends, then mild changes of every sort.

    No hue rotation and no grey pictures: colour is signal in vegetation. A share `plain` is left unstretched.
    """
    pixels = picture.width * picture.height * min(picture.gsd / settings.read_at, 1.0) ** 2
    spread = max(picture.high - picture.low, 1.0)
    if rng.random() < settings.plain:
        gain, offset = 1.0, 0.0
    else:
        low = picture.low + rng.normal(0, 0.04) * spread
        high = picture.high + rng.normal(0, 0.06) * spread
        gain, offset = joint_stretch(low, high, pixels)
        mix = rng.random() ** 3  # now and then only part of the way, as a larger scene would be stretched
        gain, offset = gain + mix * (1 - gain), offset * (1 - mix)
    table = (np.arange(256)[:, None] * gain + offset) * np.exp(rng.normal(0, 0.04, 3))
    contrast, shift = np.exp(rng.normal(0, 0.08)), rng.normal(0, 6)
    table = (table - 127.5) * contrast + 127.5 + shift
    gamma = np.exp(rng.normal(0, 0.12))
    table = 255 * np.clip(table / 255, 0, 1) ** gamma
    lut = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    out = np.stack([lut[rgb[..., band], band] for band in range(3)], -1)
    return _degrade(out, rng)


def _degrade(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    if rng.random() < 0.25:  # saturation
        grey = rgb.mean(-1, keepdims=True)
        rgb = np.clip(grey + (rgb - grey) * rng.uniform(0.75, 1.25), 0, 255).astype(np.uint8)
    if rng.random() < 0.15:  # soft picture: shrink and enlarge
        small = int(rgb.shape[0] * rng.uniform(0.5, 0.9))
        image = Image.fromarray(rgb)
        rgb = np.asarray(
            image.resize((small, small), Image.Resampling.BILINEAR).resize(
                image.size, Image.Resampling.BILINEAR
            )
        )
    if rng.random() < 0.2:
        noise = rng.standard_normal(rgb.shape, dtype=np.float32) * rng.uniform(1, 6)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", quality=int(rng.integers(40, 90)))
        rgb = np.asarray(Image.open(buffer).convert("RGB"))
    return rgb


def draw_points(
    label: NDArray[np.uint8], points: int, rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Places [P, 2] (column, row) and classes [P] of labelled pixels.

    The share of a class follows the root of its pixels. Drawn with replacement; a crop
    without labels gives classes of 255.
    """
    flat = label.ravel()
    counts = np.bincount(flat, minlength=256)
    counts[IGNORE] = 0
    present = np.flatnonzero(counts)
    if present.size == 0:
        return np.zeros((points, 2), np.int16), np.full(points, IGNORE, np.uint8)
    share = np.sqrt(counts[present])
    number = rng.multinomial(points, share / share.sum())
    chosen = []
    for value, n in zip(present, number, strict=True):
        if n:
            places = np.flatnonzero(flat == value)
            chosen.append(places[rng.integers(places.size, size=n)])
    index = np.concatenate(chosen)
    row, col = np.divmod(index, label.shape[1])
    return np.stack([col, row], 1).astype(np.int16), flat[index]
