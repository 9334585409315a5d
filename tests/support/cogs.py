"""Small class maps in the format of the outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from rsov.raster.cog import CogSpec, stamp, write_cog
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid, Legend, LegendClass, Window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UTM = CRS.from_epsg(32632)
NORTH_UP = Affine(0.25, 0, 500_000.125, 0, -0.25, 5_000_000.375)


def make_legend(count: int) -> Legend:
    """Classes 1..count."""
    return Legend(
        tuple(
            LegendClass(i, f"class {i}", (f"class {i}",), (i % 200, i // 200, 77))
            for i in range(1, count + 1)
        )
    )


def patches(height: int, width: int, values: list[int], seed: int = 0, cell: int = 7) -> NDArray[Any]:
    """Squares of these values at random, (height, width)."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(values, size=(-(-height // cell), -(-width // cell)))
    return np.kron(cells, np.ones((cell, cell), int))[:height, :width]


def write_work(
    path: Path, labels: NDArray[Any], *, transform: Affine = NORTH_UP, crs: CRS | None = UTM, nodata: int = 0
) -> Path:
    """The work raster of labels (height, width) or (bands, height, width), in strips."""
    data = labels if labels.ndim == 3 else labels[None]
    grid = Grid(data.shape[2], data.shape[1], transform, crs)
    with WorkRaster(path, grid, str(data.dtype), bands=len(data), nodata=nodata) as work:
        for row in range(0, grid.height, 300):
            height = min(300, grid.height - row)
            work.write(Window(0, row, grid.width, height), data[:, row : row + height])
    return path


def make_map(folder: Path, labels: NDArray[Any], spec: CogSpec, **options: Any) -> Path:
    """``map.tif`` of labels, beside its ``work.tif``."""
    target = folder / "map.tif"
    work = write_work(folder / "work.tif", labels, nodata=spec.nodata, **options)
    stamp(work, spec)
    write_cog(work, target, spec)
    return target
