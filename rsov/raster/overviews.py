"""Overviews of maps, made and checked by kernels of our own.

GDAL's mode takes about five times as long (benchmarks/kernels_raster.py), and what each level should show is
known exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterioWindow

from rsov.kernels.overview import halve_mean, halve_mode, is_mean, is_mode
from rsov.raster.workfile import profile, row_blocks
from rsov.types import BLOCK, Grid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

Kind = Literal["mode", "average"]

ROWS_PIXELS = 32 << 20
"""Pixels held at once; rows of wide maps are read in pairs at least."""


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Columns and rows of each overview, down to one block."""
    sizes = []
    while max(width, height) > BLOCK:
        width, height = (width + 1) // 2, (height + 1) // 2
        sizes.append((width, height))
    return sizes


def with_overviews(work: Path, kind: Kind, going_on: Callable[[], None]) -> list[Path]:
    """Overviews of a raster, down to one block, in files beside it.

    Args:
        work: raster whose nodata is declared; for ``mode`` 0, of one band.
        kind: how four pixels become one; unknown ones take no part.
        going_on: called between rows; raises where nobody waits for the result any more.

    Returns:
        The files made, the last of which is a virtual raster of all: to be removed once it was copied.

    Raises:
        rasterio.errors.RasterioError: GDAL could not read or write; a full disk may pass unseen, so the copy
            is to be checked with :func:`shows`.
    """
    made: list[Path] = []
    with rasterio.open(work) as source:
        bands, dtype, nodata = source.count, source.dtypes[0], int(source.nodata)
        sizes = level_sizes(source.width, source.height)
    finer = work
    for size in sizes:
        made.append(work.with_name(f"{work.stem}.{len(made) + 1}.tif"))
        layout = profile(Grid(*size, rasterio.Affine.identity(), None), dtype, bands, nodata)
        with rasterio.open(made[-1], "w", **layout) as target:
            for band in range(1, bands + 1):
                _halve(finer, target, band, kind, going_on)
        finer = made[-1]
    path = work.with_name(f"{work.stem}.vrt")
    rasterio.shutil.copy(str(work), str(path), driver="VRT")
    tree = ET.parse(path)  # noqa: S314 - written by GDAL in the line above
    for number, element in enumerate(tree.getroot().iterfind("VRTRasterBand"), 1):
        for each in made:
            overview = ET.SubElement(element, "Overview")
            ET.SubElement(overview, "SourceFilename", relativeToVRT="1").text = each.name
            ET.SubElement(overview, "SourceBand").text = str(number)
    tree.write(path, encoding="utf-8")
    return [*made, path]


def shows(level: NDArray[Any], finer: NDArray[Any], kind: Kind, unknown: int) -> bool:
    """Whether each pixel of ``level`` [B, h, w] stands for its four of ``finer`` [B, H, W]."""
    if kind == "mode":
        return all(is_mode(below, above) for below, above in zip(finer, level, strict=True))
    return all(is_mean(below, unknown, above) for below, above in zip(finer, level, strict=True))


def _halve(
    finer: Path, target: rasterio.io.DatasetWriter, band: int, kind: Kind, going_on: Callable[[], None]
) -> None:
    """A band of the next level; GDAL leaves blocks without a known pixel out."""
    nodata = int(target.nodata)
    rows = max(2, min(BLOCK, ROWS_PIXELS // (2 * target.width)) // 2 * 2)
    for row, pixels in row_blocks(finer, band, rows):
        going_on()
        found = np.empty(((len(pixels) + 1) // 2, target.width), pixels.dtype)
        if kind == "mode":
            halve_mode(pixels, found)
        else:
            halve_mean(pixels, nodata, found)
        target.write(found, band, window=RasterioWindow(0, row // 2, target.width, len(found)))
