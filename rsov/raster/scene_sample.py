"""A few windows of the full-resolution picture: what the radiometry is estimated from.

Never from overviews, which may show another picture (R17). The windows are the same for the same file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.types import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from rsov.raster.scene_decode import RawReader

_SIDE = 256
_LATTICES = (6, 16)
"""Windows per axis; the second try is for pictures that are mostly nodata."""
_BLOCKS = (64, 4096)
"""Whole blocks of the file, for pictures that are nodata almost everywhere: those that hold most."""
_FULL = 16
"""A block stored in so many times fewer bytes than the largest holds one colour: no data, as a rule."""
_BLOCK_PIXELS = 1 << 28
"""In the blocks of a try: some seconds of reading."""
_PIECE = 1 << 22
"""Pixels read at once."""
_ENOUGH = 20_000
"""Valid pixels that make percentiles steady."""


@dataclass(frozen=True)
class Sample:
    """What the windows hold.

    ``values`` (3, N): valid raw samples of red, green, blue. ``alpha`` (M,): samples of the alpha band.
    ``isolated``: share of pixels invalid by nodata with at least five valid neighbours of eight.
    """

    values: NDArray[Any]
    alpha: NDArray[Any]
    isolated: float


def take_sample(raw: RawReader, ds: DatasetReader) -> Sample:
    """Read windows spread over the picture, then blocks that hold data, until there is enough.

    Blocks that the file leaves out are passed over, whatever a reader of pixels takes them for.
    """
    values: list[NDArray[Any]] = []
    alpha: list[NDArray[Any]] = []
    holes = pixels = 0
    seen: set[Window] = set()
    for windows in _tries(raw, Window(0, 0, ds.width, ds.height)):
        for window in windows:
            stored = raw.stored(window)
            if window in seen or not stored.any():
                continue
            seen.add(window)
            data, valid = raw.read(ds, window)
            if raw.bands.mask.kind == "alpha":
                alpha.append(ds.read(raw.bands.mask.alpha, window=window.slices())[stored])
            if raw.bands.mask.kind == "nodata" and valid is not None:
                holes += _holes(valid)
            pixels += window.width * window.height
            values.append(_colours(raw, data, stored if valid is None else valid & stored))
        if sum(v.shape[1] for v in values) >= _ENOUGH:
            break
    dtype = np.uint8 if raw.bands.palette is not None else np.dtype(raw.bands.dtype)
    return Sample(
        np.concatenate(values, 1) if values else np.empty((3, 0), dtype),
        np.concatenate(alpha) if alpha else np.empty(0, np.uint8),
        holes / pixels if pixels else 0.0,
    )


def _colours(raw: RawReader, data: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    if raw.bands.palette is not None:
        data = raw.bands.palette[data[0], :3].transpose(2, 0, 1)
    return data.reshape(data.shape[0], -1) if valid is None else data[:, valid]


def _holes(valid: NDArray[np.bool_]) -> int:
    """Invalid pixels among whose eight neighbours at least five are valid."""
    if min(valid.shape) < 3:
        return 0
    near = np.zeros((valid.shape[0] - 2, valid.shape[1] - 2), np.uint8)
    for dy in range(3):
        for dx in range(3):
            if (dy, dx) != (1, 1):
                near += valid[dy : dy + near.shape[0], dx : dx + near.shape[1]]
    return int(((near >= 5) & ~valid[1:-1, 1:-1]).sum())


def sample_windows(area: Window, lattice: int, block: tuple[int, int]) -> list[Window]:
    """Up to ``lattice`` squared windows of at most 256 x 256 pixels, each in one block where possible."""
    rows = _starts(area.row, area.height, lattice, block[0])
    columns = _starts(area.col, area.width, lattice, block[1])
    return [Window(c, r, _SIDE, _SIDE).intersect(area) for r in rows for c in columns]


def _starts(first: int, size: int, lattice: int, block: int) -> list[int]:
    if size <= lattice * _SIDE:
        return list(range(first, first + size, _SIDE))
    starts = []
    for n in range(lattice):
        start = first + round(n * (size - _SIDE) / (lattice - 1))
        if block >= _SIDE:
            inside = start % block
            start -= max(0, inside + _SIDE - block)
        starts.append(max(first, min(start, first + size - _SIDE)))
    return starts
