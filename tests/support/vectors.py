"""Helpers for tests of polygons: label rasters, legends, grids, and the oracle's polygons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from rasterio import features
from rasterio.crs import CRS
from shapely.geometry import shape

from rsov.types import Grid, Legend, LegendClass, Notices
from rsov.vector.trace import Regions, RowBlock, trace
from rsov.vector.write import VectorStats, write_polygons

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UTM = CRS.from_epsg(32632)
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)


def legend(*names: str) -> Legend:
    return Legend(tuple(LegendClass(i, n, (n,), (i, i, i)) for i, n in enumerate(names, 1)))


def grid_of(labels: np.ndarray, transform: Affine = NORTH_UP, crs: CRS | None = UTM) -> Grid:
    return Grid(labels.shape[1], labels.shape[0], transform, crs)


def blocks(
    labels: np.ndarray, heights: Sequence[int] = (64,), confidence: np.ndarray | None = None
) -> Iterator[RowBlock]:
    row, k = 0, 0
    while row < len(labels):
        rows = slice(row, row + heights[k % len(heights)])
        yield RowBlock(labels[rows], None if confidence is None else confidence[rows])
        row, k = rows.stop, k + 1


def traced(labels: np.ndarray, heights: Sequence[int] = (64,), **options: Any) -> list[Regions]:
    return list(trace(blocks(labels, heights), labels.shape[1], skip=(0, 255), **options))


def polygons(batches: list[Regions]) -> np.ndarray:
    return np.concatenate([b.to_shapely() for b in batches]) if batches else np.empty(0, object)


def gdal_polygons(labels: np.ndarray) -> np.ndarray:
    """What GDAL's polygonize makes of the raster, in pixel coordinates."""
    found = [shape(g) for g, v in features.shapes(labels, connectivity=4) if v not in (0, 255)]
    return np.array(found, object) if found else np.empty(0, object)


def as_set(geometries: np.ndarray) -> list[bytes]:
    return sorted(shapely.to_wkb(shapely.normalize(geometries)).tolist())


def smooth_labels(height: int, width: int, classes: int = 4, sigma: float = 6.0, seed: int = 0) -> np.ndarray:
    """A map like real ones: patches with ragged borders."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    fields = [
        gaussian_filter(rng.standard_normal((height, width)), sigma) * sigma
        + gaussian_filter(rng.standard_normal((height, width)), 1.2) * 0.5
        for _ in range(classes)
    ]
    return (np.argmax(fields, 0) + 1).astype(np.uint8)


def write(
    labels: np.ndarray,
    path: Path,
    *,
    grid: Grid | None = None,
    names: Sequence[str] = ("forest", "road", "water", "roof"),
    heights: Sequence[int] = (64,),
    confidence: np.ndarray | None = None,
    notices: Notices | None = None,
    **options: Any,
) -> VectorStats:
    options.setdefault("start_time", START)
    return write_polygons(
        blocks(labels, heights, confidence),
        grid or grid_of(labels),
        legend(*names),
        path,
        path.suffix[1:],
        notices=notices or Notices(),
        **options,
    )


def on_ground(geometries: np.ndarray, t: Affine) -> np.ndarray:
    """Pixel corners to CRS coordinates."""
    return shapely.transform(
        geometries,
        lambda xy: np.stack(
            [t.a * xy[:, 0] + t.b * xy[:, 1] + t.c, t.d * xy[:, 0] + t.e * xy[:, 1] + t.f], 1
        ),
    )
