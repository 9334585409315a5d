"""Small regions go to their largest neighbour: GDAL's sieve over the whole raster, from file to file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.features import sieve as gdal_sieve

from rsov.errors import OutputError
from rsov.raster.faults import writing
from rsov.raster.workfile import profile, row_blocks
from rsov.types import NODATA, Grid

if TYPE_CHECKING:
    from pathlib import Path


def sieve(work: Path, target: Path, min_pixels: int) -> bool:
    """Merge regions (4 neighbours) of fewer than ``min_pixels`` pixels into their largest neighbour.

    Unknown pixels neither give nor take; none-of-them counts as a class. GDAL reads and writes
    rows, so memory follows the number of regions, not of pixels.

    Args:
        work: class raster of one band.
        target: work file to make.
        min_pixels: regions of at least this size stay.

    Returns:
        Whether any pixel changed.

    Raises:
        OutputError: the result cannot be written, or its unknown pixels are not those of ``work``.
    """
    with writing(target), rasterio.open(work) as source:
        grid = Grid(source.width, source.height, source.transform, source.crs)
        mask = work if source.dtypes[0] == "uint8" else _write_mask(work, target, grid)
        size = min(min_pixels, grid.width * grid.height)
        with (
            rasterio.open(target, "w", **profile(grid, source.dtypes[0], 1, NODATA)) as result,
            rasterio.open(mask) as masked,
        ):
            _sieve_bands(source, masked, result, size)
    if mask != work:
        mask.unlink()
    changed = False
    with writing(target):
        for (row, before), (_, after) in zip(row_blocks(work), row_blocks(target), strict=True):
            if not np.array_equal(before == NODATA, after == NODATA):
                raise OutputError.damaged(target, f"rows from {row} lost pixels in the sieve")
            changed = changed or not np.array_equal(before, after)
    return changed


def _sieve_bands(
    source: rasterio.DatasetReader, mask: rasterio.DatasetReader, result: rasterio.io.DatasetWriter, size: int
) -> None:
    try:
        gdal_sieve(
            rasterio.band(source, 1),
            size,
            out=rasterio.band(result, 1),
            mask=rasterio.band(mask, 1),
            connectivity=4,
        )
    except (TypeError, UnboundLocalError) as error:
        # Rasterio writes into the band, as documented for its own use, and then fails to read the band
        # back "into the array" (1.4: TypeError, 1.5: no such array). The caller's check of the result
        # tells whether it ran.
        if "DatasetWriter" not in str(error) and "norm_out" not in str(error):
            raise


def _write_mask(work: Path, target: Path, grid: Grid) -> Path:
    """Known pixels of a uint16 raster as uint8, the only type that rasterio takes as a mask."""
    path = target.with_name(target.name + ".mask.tif")
    with rasterio.open(path, "w", **profile(grid, "uint8", 1, None)) as mask:
        for row, labels in row_blocks(work):
            window = rasterio.windows.Window(0, row, grid.width, labels.shape[0])
            mask.write((labels != NODATA).astype(np.uint8), 1, window=window)
    return path
