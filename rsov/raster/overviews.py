"""Overviews of a map of classes: GDAL takes longer for them than for all the rest of the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterioWindow

from rsov.kernels.overview import halve_mode
from rsov.raster.workfile import profile, row_blocks
from rsov.types import BLOCK, NODATA, Grid

if TYPE_CHECKING:
    from pathlib import Path

ROWS_PIXELS = 32 << 20
"""Labels held at once; rows of wide maps are read in pairs at least."""


def with_overviews(work: Path) -> list[Path]:
    """Overviews of a class raster by mode, down to one block, in files beside it.

    Returns:
        The files made, the last of which is a virtual raster of all: to be removed once it was copied.
    """
    made: list[Path] = []
    finer = work
    while True:
        with rasterio.open(finer) as source:
            size, dtype = (source.width, source.height), source.dtypes[0]
        if max(size) <= BLOCK:
            break
        made.append(work.with_name(f"{work.stem}.{len(made) + 1}.tif"))
        _halve(finer, made[-1], size, dtype)
        finer = made[-1]
    path = work.with_name(f"{work.stem}.vrt")
    rasterio.shutil.copy(str(work), str(path), driver="VRT")
    tree = ET.parse(path)  # noqa: S314 - written by GDAL in the line above
    band = tree.getroot().find("VRTRasterBand")
    if band is None:
        raise RuntimeError("GDAL wrote a virtual raster without a band")
    for level in made:
        overview = ET.SubElement(band, "Overview")
        ET.SubElement(overview, "SourceFilename", relativeToVRT="1").text = level.name
        ET.SubElement(overview, "SourceBand").text = "1"
    tree.write(path, encoding="utf-8")
    return [*made, path]


def _halve(finer: Path, coarser: Path, size: tuple[int, int], dtype: str) -> None:
    """The next level of a raster; blocks without a known pixel stay unwritten."""
    width, height = size
    grid = Grid((width + 1) // 2, (height + 1) // 2, rasterio.Affine.identity(), None)
    rows = max(2, min(BLOCK, ROWS_PIXELS // width) // 2 * 2)
    with rasterio.open(coarser, "w", **profile(grid, dtype, 1, NODATA)) as target:
        for row, labels in row_blocks(finer, rows=rows):
            if not labels.any():
                continue
            found = np.empty(((len(labels) + 1) // 2, grid.width), labels.dtype)
            halve_mode(labels, found)
            target.write(found, 1, window=RasterioWindow(0, row // 2, grid.width, len(found)))
