"""Pieces of the work grid whose borders lie on the blocks of the file, so that each block is decoded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rsov.kernels.resample import area_average, bilinear
from rsov.kernels.scaling import fill_invalid
from rsov.types import Grid, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from rsov.raster.scene import Scene
    from rsov.raster.scene_decode import Valid
    from rsov.raster.workgrid import WorkGrid

_WIDTH, _HEIGHT = 1024, 512
"""Source pixels of a chunk, about: long rows suit tiles that run row by row."""
_FINER_SIDE = 2048
"""The same where work pixels are larger than source pixels: borders are read twice there, so fewer."""


@dataclass(frozen=True)
class Chunk:
    """``data`` (3, h, w), None where nothing is valid and the image has no data; ``valid`` None = all."""

    data: NDArray[np.uint8] | None
    valid: Valid

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return (
            64
            + (self.data.nbytes if self.data is not None else 0)
            + (self.valid.nbytes if self.valid is not None else 0)
        )


@dataclass(frozen=True)
class Packed:
    """Validity of the source pixels of a chunk, eight to a byte; ``bits`` None: all are ``constant``."""

    height: int
    width: int
    constant: bool
    bits: NDArray[np.uint8] | None

    @classmethod
    def of(cls, valid: Valid, window: Window) -> Packed:
        """Pack (h, w), or None for all valid."""
        if valid is None or valid.all():
            return cls(window.height, window.width, True, None)
        if not valid.any():
            return cls(window.height, window.width, False, None)
        return cls(window.height, window.width, True, np.packbits(valid, axis=1))

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return 64 + (self.bits.nbytes if self.bits is not None else 0)

    def cut(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.bool_] | bool:
        """Validity of a part, or one value for all of it."""
        if self.bits is None:
            return self.constant
        return np.unpackbits(self.bits[top:bottom], axis=1, count=self.width)[:, left:right].view(bool)


@dataclass(frozen=True)
class ChunkLattice:
    """Chunk borders on the work grid; ``columns[n]`` is the first work column of chunk column ``n``."""

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    work: WorkGrid
    width: int
    height: int

    def over(self, window: Window) -> Iterator[tuple[tuple[int, int], Window]]:
        """Keys and places of the chunks under a window of the work grid."""
        for r in _touched(self.rows, window.row, window.bottom):
            for c in _touched(self.columns, window.col, window.right):
                yield (r, c), self._place(r, c)

    def over_source(self, window: Window) -> Iterator[tuple[tuple[int, int], Window]]:
        """Keys, and the source pixels owned, of the chunks under a window of the source grid."""
        if window.width == 0 or window.height == 0:
            return
        column_starts, row_starts = self._source_starts
        for r in _touched(row_starts, window.row, window.bottom):
            for c in _touched(column_starts, window.col, window.right):
                yield (r, c), self.work.owned(self._place(r, c), self.width, self.height)

    @cached_property
    def _source_starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First source column and row that the chunks own."""
        return (
            np.asarray([round(c * self.work.scale_x) for c in self.columns]),
            np.asarray([round(r * self.work.scale_y) for r in self.rows]),
        )

    def _place(self, r: int, c: int) -> Window:
        left, top = int(self.columns[c]), int(self.rows[r])
        right = int(self.columns[c + 1]) if c + 1 < len(self.columns) else self.work.width
        bottom = int(self.rows[r + 1]) if r + 1 < len(self.rows) else self.work.height
        return Window(left, top, right - left, bottom - top)


def _touched(starts: NDArray[np.int64], low: int, high: int) -> range:
    first = int(np.searchsorted(starts, low, "right")) - 1
    return range(max(0, first), int(np.searchsorted(starts, high, "left")))


def lattice_of(work: WorkGrid, grid: Grid, block: tuple[int, int]) -> ChunkLattice:
    """Chunks of about :data:`_WIDTH` x :data:`_HEIGHT` source pixels that are whole blocks of the file.

    Wide blocks (strips) give wide, low chunks of about as many pixels.
    """
    finer = max(work.scale_x, work.scale_y) > 1
    wanted = (_FINER_SIDE, _FINER_SIDE) if finer else (_HEIGHT, _WIDTH)
    width = _multiple(wanted[1], block[1])
    height = _multiple(max(1, min(wanted[0] * wanted[1] // width, 2 * wanted[0])), block[0])
    return ChunkLattice(
        _starts(width, work.scale_x, work.width, grid.width),
        _starts(height, work.scale_y, work.height, grid.height),
        work,
        grid.width,
        grid.height,
    )


def _multiple(wanted: int, block: int) -> int:
    return block * max(1, round(wanted / block))


def _starts(step: int, scale: float, size: int, source: int) -> NDArray[np.int64]:
    """First work pixel of each chunk: where block borders of the file fall."""
    borders = np.arange(0, source, step, dtype=np.float64)
    starts = np.unique(np.clip(np.ceil(borders / scale), 0, size - 1).astype(np.int64))
    starts[0] = 0
    return np.unique(starts)


def make_chunk(
    scene: Scene, dataset: Callable[[], DatasetReader], place: Window
) -> tuple[Chunk, Packed | None]:
    """Decode and resample one chunk of the work grid; with a mask, also the validity of its source."""
    work, grid = scene.work, scene.grid
    support = work.support(place, grid.width, grid.height)
    owned = work.owned(place, grid.width, grid.height)
    if scene.decoder.raw.absent(support):
        none = np.zeros((place.height, place.width), bool)
        return Chunk(None, none), Packed.of(np.zeros((owned.height, owned.width), bool), owned)
    data, valid = scene.decoder.decode(dataset(), support)
    inside = None
    if valid is not None:
        rows = slice(owned.row - support.row, owned.bottom - support.row)
        inside = valid[rows, owned.col - support.col : owned.right - support.col]
    data, valid = to_work(work, data, valid, support, place, fill=scene.fill)
    if scene.all_valid:
        return Chunk(data, None), None
    return Chunk(data, valid), Packed.of(inside, owned)


def source_validity(scene: Scene, dataset: Callable[[], DatasetReader], owned: Window) -> Valid:
    """Validity of a window of the source grid, read by itself."""
    if scene.decoder.raw.absent(owned):
        return np.zeros((owned.height, owned.width), bool)
    return None if scene.all_valid else scene.decoder.validity(dataset(), owned)


def to_work(
    work: WorkGrid,
    data: NDArray[np.uint8],
    valid: Valid,
    support: Window,
    place: Window,
    *,
    fill: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], Valid]:
    """A window of the work grid from the source pixels below it.

    Args:
        work: the work grid.
        data: (3, h, w) of the source; may be changed in place.
        valid: (h, w), or None for all.
        support: where ``data`` lies on the source grid: what :meth:`WorkGrid.support` says of ``place``.
        place: the window wanted.
        fill: (3,), the colour of pixels that are not valid.
    """
    if work.native:
        if valid is not None:
            fill_invalid(data, valid, fill)
        return data, valid
    out = np.empty((3, place.height, place.width), np.uint8)
    out[:] = fill[:, None, None]
    out_valid = np.empty((place.height, place.width), bool)
    if valid is None:
        valid = np.ones((support.height, support.width), bool)
    kernel = area_average if max(work.scale_x, work.scale_y) > 1 else bilinear
    kernel(
        np.ascontiguousarray(data),
        valid,
        (support.row, support.col),
        (work.scale_y, work.scale_x),
        (place.row, place.col),
        out,
        out_valid,
    )
    return out, out_valid
