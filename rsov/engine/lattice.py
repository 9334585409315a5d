"""One axis of the tiling, and the map from output pixels to score cells along it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below the value."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class Lattice:
    """Tiles of equal size along one axis of the work grid; the last may reach beyond ``size`` (pixels)."""

    size: int
    tile: int
    overlap: int

    @property
    def step(self) -> int:
        """Distance of two starts."""
        return self.tile - self.overlap

    @property
    def count(self) -> int:
        """Number of tiles."""
        return max(1, -(-(self.size - self.overlap) // self.step))

    def start(self, index: int) -> int:
        """First work pixel of a tile."""
        return index * self.step

    def covering(self, first: int, last: int) -> range:
        """Indices of the tiles that hold any of the pixels first..last (both included)."""
        low = max(0, -(-(first - self.tile + 1) // self.step))
        return range(low, min(self.count - 1, last // self.step) + 1)


def even_lattice(size: int, tile: int, overlap: int, multiple: int) -> Lattice:
    """Divide an axis evenly into tiles of at most ``tile``, a multiple of ``multiple``.

    Even tiles waste fewer pixels at the far edge than full ones, and none is thin. With ``overlap <= tile /
    4`` no more than two tiles ever cover a pixel.
    """
    if size <= tile:
        return Lattice(size, round_up(size, multiple), overlap if size > overlap else 0)
    count = -(-(size - overlap) // (tile - overlap))
    even = -(-(size + (count - 1) * overlap) // count)
    return Lattice(size, min(tile, round_up(even, multiple)), overlap)


@dataclass(frozen=True)
class AxisMap:
    """Output pixel -> score cell along an axis: position = (pixel + 0.5) * scale + offset - 0.5.

    ``scale`` is score cells per output pixel, ``cells`` how many score cells the axis has.
    """

    scale: float
    offset: float
    cells: int

    def cell(self, pixel: int) -> float:
        """Position of a pixel's centre on the cells, clamped to the first and last centre."""
        return min(max((pixel + 0.5) * self.scale + self.offset - 0.5, 0.0), float(self.cells - 1))

    def lower(self, pixel: int) -> int:
        """Lower of the two cells between which a pixel is interpolated."""
        return math.floor(self.cell(pixel))

    def upper(self, pixel: int) -> int:
        """Upper of the two; the last one is repeated."""
        return min(self.lower(pixel) + 1, self.cells - 1)

    def table(self, first: int, count: int, origin: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Lower cell relative to ``origin`` and fraction for ``count`` pixels from ``first``."""
        position = (np.arange(first, first + count) + 0.5) * self.scale + self.offset - 0.5
        position = np.clip(position, 0.0, float(self.cells - 1))
        lower = np.floor(position)
        return (lower - origin).astype(np.uint32), (position - lower).astype(np.float32)

    def first_needing(self, cell: int, pixels: int) -> int:
        """The first of 0..pixels - 1 whose interpolation reads ``cell`` or a later one, else ``pixels``."""
        low, high = 0, pixels
        while low < high:
            middle = (low + high) // 2
            if self.upper(middle) >= cell:
                high = middle
            else:
                low = middle + 1
        return low
