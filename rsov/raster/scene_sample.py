"""A few windows of the full-resolution picture: what the radiometry is estimated from.

Never from overviews, which may show another picture (R17), and of the file as it is, not of a warped view:
the same file has the same radiometry on every grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.types import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_BLOCK_PIXELS = 1 << 26
"""In the blocks of a try: a few seconds of reading."""
_PIECE, _KEPT = 1 << 22, 1 << 24
"""Pixels read at once, and kept of all windows of a try."""
_ENOUGH = 6 * _SIDE**2
"""Valid pixels that make percentiles steady: neighbours are alike, so those of several windows."""
FRINGE = 16
"""Of 255: what JPEG makes of black beside a picture is mostly below, and little ground is so dark."""
_EDGE, _HIDDEN = 100, 0.9
"""Pixels on an edge of no data that say something about it; how many of those of no data must be black."""


@dataclass(frozen=True)
class Sample:
    """What the windows hold.

    ``values`` (3, N): valid raw samples of red, green, blue. ``alpha`` (M,): samples of the alpha band.
    ``isolated``: share of pixels invalid by nodata with at least five valid neighbours of eight.
    ``fringe``: share of the valid pixels beside invalid ones whose bands are all at most :data:`FRINGE`;
    0 where the invalid ones are not as dark, or the samples no bytes.
    """

    values: NDArray[Any]
    alpha: NDArray[Any]
    isolated: float
    fringe: float = 0.0


def take_sample(raw: RawReader, ds: DatasetReader) -> Sample:
    """Read windows spread over the picture, then blocks that hold most, until there are pixels enough.

    Blocks that the file leaves out are passed over even where they count as picture: nobody saw them.
    """
    values: list[NDArray[Any]] = []
    alpha: list[NDArray[Any]] = []
    holes = pixels = passed = 0
    edges = np.zeros(4, np.int64)
    seen: set[Window] = set()
    blocks = _Blocks.of(raw, ds.shape)
    for windows in blocks.tries():
        most = _KEPT // max(1, len(windows))
        for window in windows:
            if window in seen:
                continue
            seen.add(window)
            there = blocks.there(window)
            if not there.any():
                passed += there.size
                continue
            data, valid = raw.read(ds, window)
            if raw.bands.mask.kind == "alpha":
                rows, columns = (window.row, window.bottom), (window.col, window.right)
                seen_alpha = ds.read(raw.bands.mask.alpha, window=(rows, columns))
                alpha.append(_thinned(seen_alpha[there], most))
            if raw.bands.mask.kind == "nodata" and valid is not None:
                holes += _holes(valid)
            if valid is not None and data.dtype == np.uint8 and raw.bands.palette is None:
                edges += _edges(data, valid)
            pixels += window.width * window.height
            values.append(_thinned(_colours(raw, data, there if valid is None else valid & there), most))
        if sum(v.shape[1] for v in values) >= _ENOUGH or pixels + passed >= ds.width * ds.height:
            break
    dtype = np.uint8 if raw.bands.palette is not None else np.dtype(raw.bands.dtype)
    return Sample(
        np.concatenate(values, 1) if values else np.empty((3, 0), dtype),
        np.concatenate(alpha) if alpha else np.empty(0, np.uint8),
        holes / pixels if pixels else 0.0,
        _fringe(*edges.tolist()),
    )


def _colours(raw: RawReader, data: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Valid samples (3, N) of a window."""
    if raw.bands.palette is not None:
        data = raw.bands.palette[data[0], :3].transpose(2, 0, 1)
    return data[:, valid]


def _thinned(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Every so manieth, at most ``most``; a copy, so that the others need not stay in memory."""
    return values[..., :: max(1, -(-values.shape[-1] // most))].copy()


@dataclass(frozen=True)
class _Blocks:
    """The blocks of a picture of ``width`` x ``height``: (rows, columns) of one, and the bytes of each."""

    width: int
    height: int
    block: tuple[int, int]
    stored: NDArray[np.uint64]

    @classmethod
    def of(cls, raw: RawReader, shape: tuple[int, int]) -> _Blocks:
        """As the file says; all blocks are alike where it does not."""
        directory, (h, w) = raw.view.source.directory, raw.block
        stored = directory.stored() if directory is not None and directory.block == raw.block else None
        if stored is None:
            stored = np.ones((-(-shape[0] // h), -(-shape[1] // w)), np.uint64)
        return cls(shape[1], shape[0], raw.block, stored)

    def there(self, window: Window) -> NDArray[np.bool_]:
        """The pixels (h, w) of a window whose blocks the file has."""
        rows = np.arange(window.row, window.bottom) // self.block[0]
        columns = np.arange(window.col, window.right) // self.block[1]
        return self.stored[rows[:, None], columns] > 0

    def tries(self) -> Iterator[list[Window]]:
        """Windows to read, more and more of them."""
        area = Window(0, 0, self.width, self.height)
        for lattice in _LATTICES:
            yield sample_windows(area, lattice, self.block)
        for count in _BLOCKS:
            yield self._fullest(min(count, _BLOCK_PIXELS // (self.block[0] * self.block[1])))

    def _fullest(self, count: int) -> list[Window]:
        """So many blocks, at least one, evenly taken from those that hold a picture, in pieces."""
        h, w = self.block
        full = np.argwhere(self.stored.astype(np.float64) * _FULL > self.stored.max())
        if not len(full):
            return []
        chosen = full[np.unique(np.linspace(0, len(full) - 1, max(1, count)).round().astype(np.int64))]
        step = max(1, _PIECE // w)
        pieces = [
            Window(c * w, top, w, min(step, (r + 1) * h - top))
            for r, c in chosen.tolist()
            for top in range(r * h, (r + 1) * h, step)
        ]
        area = Window(0, 0, self.width, self.height)
        return [piece.intersect(area) for piece in pieces]


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


def _edges(data: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts of pixels beside the other sort (of 4 neighbours): valid, dark valid, invalid, dark invalid."""
    edge = np.zeros(valid.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = valid[a] != valid[b]
        edge[a] |= differs
        edge[b] |= differs
    dark, sort = (data[:, edge] <= FRINGE).all(0), valid[edge]
    return np.array([sort.sum(), (sort & dark).sum(), (~sort).sum(), (~sort & dark).sum()], np.int64)


def _fringe(valid: int, valid_dark: int, invalid: int, invalid_dark: int) -> float:
    return valid_dark / valid if valid >= _EDGE and invalid_dark > _HIDDEN * invalid else 0.0


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
