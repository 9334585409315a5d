"""The raster that parts are written to before the map is finished: tiled, sparse, cheap to compress."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from rsov.errors import OutputError
from rsov.raster.faults import writing
from rsov.types import BLOCK, Grid, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

ZSTD_LEVEL = 1
"""The work file lives for minutes: speed counts, and labels shrink enough at the lowest level."""


def profile(grid: Grid, dtype: str, bands: int, nodata: int | None) -> dict[str, Any]:
    """Creation profile of a work file, built from nothing (robustness Z38)."""
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": bands,
        "dtype": dtype,
        "nodata": nodata,
        "crs": grid.crs,
        "transform": None if grid.transform.is_identity else grid.transform,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "photometric": "MINISBLACK",  # by default three bands would be red, green, blue, and a fourth alpha
        "compress": "ZSTD",
        "zstd_level": ZSTD_LEVEL,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }


@dataclass
class _Strip:
    """Rows of a column range that wait for their block row to be full."""

    rows: list[NDArray[Any]]
    start: int
    height: int = 0


class WorkRaster:
    """Takes windows of a raster and writes whole block rows.

    Args:
        path: file to make.
        grid: where the pixels lie.
        dtype: type of all bands; arrays of another type are refused, never wrapped (robustness Z52).
        bands: number of bands.
        nodata: value of pixels that nobody writes.

    Windows may come in any order as long as they do not overlap; kept in memory are the rows of
    each column range that do not fill a block row yet. To be used by one thread.
    """

    def __init__(self, path: Path, grid: Grid, dtype: str, *, bands: int = 1, nodata: int = 0) -> None:
        self.path = path
        self.grid = grid
        self.bands = bands
        self._dtype = np.dtype(dtype)
        self._strips: dict[tuple[int, int], _Strip] = {}
        self._sums: dict[Window, int] = {}
        with writing(path):
            self._dataset = rasterio.open(path, "w", **profile(grid, dtype, bands, nodata))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def write(self, window: Window, array: NDArray[Any]) -> None:
        """Add a window; ``array`` is (h, w), or (band, h, w).

        Raises:
            ValueError: an array of another type or shape, or a window that reaches beyond the grid.
            OutputError: the disk is full.
        """
        data = array if array.ndim == 3 else array[np.newaxis]
        if data.shape != (self.bands, window.height, window.width) or data.dtype != self._dtype:
            raise ValueError(
                f"{data.dtype} {data.shape} does not fit {self._dtype} {window} x {self.bands} bands"
            )
        if window.intersect(self.grid.window) != window:
            raise ValueError(f"{window} is not inside of {self.grid.shape}")
        if window.width == 0 or window.height == 0:
            return
        key = (window.col, window.width)
        strip = self._strips.get(key)
        if strip is None or strip.start + strip.height != window.row:
            if strip is not None:
                self._flush(key, strip, strip.height)
            strip = self._strips[key] = _Strip([], window.row)
        strip.rows.append(data.copy())
        strip.height += window.height
        bottom = strip.start + strip.height
        full = bottom if bottom == self.grid.height else bottom // BLOCK * BLOCK
        if full > strip.start:
            self._flush(key, strip, full - strip.start)
        if strip.height == 0 and bottom == self.grid.height:
            del self._strips[key]

    def close(self) -> None:
        """Write what is left.

        Raises:
            OutputError: the disk is full.
        """
        for key, strip in self._strips.items():
            self._flush(key, strip, strip.height)
        self._strips.clear()
        with writing(self.path):
            self._dataset.close()

    def check(self, going_on: Callable[[], None] = lambda: None) -> None:
        """See that a closed file holds what was written, by checksums; safe beside other readers.

        Args:
            going_on: called between windows; raises where nobody waits for the result any more.

        Raises:
            OutputError: it reads differently, or not at all.
        """
        with writing(self.path), rasterio.open(self.path) as dataset:
            for window, expected in self._sums.items():
                going_on()
                data = dataset.read(window=_raw(window))
                if zlib.crc32(data.data) != expected:
                    raise OutputError.damaged(
                        self.path, f"rows {window.row} to {window.bottom} read back differently"
                    )

    def abandon(self) -> None:
        """Close without a check: the file is of no use, and a fault here would hide what ended the run."""
        self._strips.clear()
        with contextlib.suppress(OutputError), writing(self.path):
            self._dataset.close()

    def _flush(self, key: tuple[int, int], strip: _Strip, height: int) -> None:
        """Write the first ``height`` rows of a strip, keep the rest."""
        if height == 0:
            return
        data = strip.rows[0] if len(strip.rows) == 1 else np.concatenate(strip.rows, axis=1)
        window = Window(key[0], strip.start, key[1], height)
        block = np.ascontiguousarray(data[:, :height])
        with writing(self.path):
            self._dataset.write(block, window=_raw(window))
        self._sums[window] = zlib.crc32(block.data)
        strip.rows = [data[:, height:].copy()] if height < data.shape[1] else []
        strip.start += height
        strip.height -= height


def row_blocks(path: Path, band: int = 1, rows: int = BLOCK) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first row, (h, width) pixels) of a raster from top to bottom, a block row at a time."""
    with rasterio.open(path) as dataset:
        for row in range(0, dataset.height, rows):
            window = Window(0, row, dataset.width, min(rows, dataset.height - row))
            yield row, dataset.read(band, window=_raw(window))


def _raw(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
