"""Polygons of a class map beside rasterio.features.shapes with shapely and fiona: same polygons, times.

    python -m benchmarks.polygons --simplify
    python -m benchmarks.polygons --map forest_classes.tif

Without --map the map is made of smoothed noise (5000 x 5000, four classes, ragged borders). Both sides run
in one thread of this process, one after the other; wall time, best of --repeats (the slow rivals once).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import fiona
import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio import features
from rasterio.crs import CRS
from scipy.ndimage import gaussian_filter
from shapely.geometry import mapping, shape

from rsov.types import Grid, Legend, LegendClass, Notices
from rsov.vector.trace import RowBlock, trace
from rsov.vector.write import write_polygons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDE = 5000
ROWS = 512
NONE = 255
T = TypeVar("T")
SCHEMA = {
    "geometry": "Polygon",
    "properties": {"class": "str", "class_id": "int", "area_m2": "float", "perim_m": "float"},
}


def noise_map(side: int) -> np.ndarray:
    """Large patches with small ones at their borders; class 255 is none of them."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(4):
        large = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 40) * 40
        scores.append(large + gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 3) * 0.75)
    labels = (np.argmax(scores, 0) + 1).astype(np.uint8)
    labels[labels == 4] = NONE
    return labels


def blocks(labels: np.ndarray) -> Iterator[RowBlock]:
    for row in range(0, len(labels), ROWS):
        yield RowBlock(labels[row : row + ROWS])


def best(function: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Shortest time in seconds, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def ours(labels: np.ndarray, simplify_area: float = 0.0) -> np.ndarray:
    batches = trace(blocks(labels), labels.shape[1], skip=(0, NONE), simplify_area=simplify_area)
    return np.concatenate([batch.to_shapely() for batch in batches])


def theirs(labels: np.ndarray) -> np.ndarray:
    mask = (labels != 0) & (labels != NONE)
    return np.array([shape(g) for g, _ in features.shapes(labels, mask=mask, connectivity=4)], object)


def write_ours(labels: np.ndarray, grid: Grid, legend: Legend, path: Path) -> int:
    path.unlink(missing_ok=True)
    notices, start = Notices(), datetime.now(UTC)
    return write_polygons(blocks(labels), grid, legend, path, "gpkg", start_time=start, notices=notices).count


def write_theirs(labels: np.ndarray, grid: Grid, legend: Legend, path: Path) -> int:
    """What a script does: shapes with the transform, shapely, geodesic measures, fiona in batches."""
    path.unlink(missing_ok=True)
    names = {item.id: item.name for item in legend}
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    to_earth = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    geod = crs.get_geod()

    def records() -> Iterator[dict[str, Any]]:
        mask = (labels != 0) & (labels != NONE)
        for geometry, value in features.shapes(labels, mask=mask, connectivity=4, transform=grid.transform):
            polygon = shape(geometry)
            lonlat = shapely.transform(polygon, lambda xy: np.stack(to_earth.transform(*xy.T), 1))
            area, perimeter = geod.geometry_area_perimeter(lonlat)
            values = {
                "class": names[int(value)],
                "class_id": int(value),
                "area_m2": abs(area),
                "perim_m": perimeter,
            }
            yield {"type": "Feature", "geometry": mapping(polygon), "properties": values}

    with fiona.open(path, "w", driver="GPKG", crs_wkt=grid.crs.to_wkt(), schema=SCHEMA) as out:
        out.writerecords(records())
        return len(out)


def row(name: str, mine: float, rival: float) -> None:
    print(f"{name:46s} {mine:8.2f} s {rival:8.2f} s {rival / mine:6.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--map", type=Path, help="a class raster; 0 and 255 make no polygons")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--simplify", action="store_true", help="also beside shapely.coverage_simplify (slow)"
    )
    args = parser.parse_args()
    grid = Grid(args.side, args.side, Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), CRS.from_epsg(32632))
    if args.map is not None:
        with rasterio.open(args.map) as source:
            labels = source.read(1)
            grid = Grid(source.width, source.height, source.transform, source.crs)
    else:
        labels = noise_map(args.side)
    values = [int(v) for v in np.unique(labels) if v not in (0, NONE)]
    legend = Legend(tuple(LegendClass(v, f"class {v}", (f"class {v}",), (0, 0, 0)) for v in values))
    ours(labels[:4])  # compile

    traced, mine = best(lambda: ours(labels), args.repeats)
    polygonized, rival = best(lambda: theirs(labels), args.repeats)
    same = sorted(shapely.to_wkb(shapely.normalize(mine))) == sorted(shapely.to_wkb(shapely.normalize(rival)))
    points = int(shapely.get_num_coordinates(mine).sum())
    print(
        f"{labels.shape[1]} x {labels.shape[0]} px, {len(mine):,} polygons, {points:,} points; equal: {same}"
    )
    print(f"{'':46s} {'rsov':>10s} {'rival':>10s}")
    row("trace, beside features.shapes + shapely", traced, polygonized)
    with tempfile.TemporaryDirectory() as folder:
        write_ours(
            labels[:4], Grid(grid.width, 4, grid.transform, grid.crs), legend, Path(folder) / "warm.gpkg"
        )
        wrote, _ = best(lambda: write_ours(labels, grid, legend, Path(folder) / "ours.gpkg"), args.repeats)
        slow, _ = best(lambda: write_theirs(labels, grid, legend, Path(folder) / "theirs.gpkg"), 1)
    row("trace, measure, write GPKG, beside + fiona", wrote, slow)
    if args.simplify:
        ours(labels[:4], 4.0)
        simplified, coverage = best(lambda: ours(labels, 4.0), args.repeats)

        def geos() -> np.ndarray:
            dense = shapely.transform(shapely.segmentize(theirs(labels), 1.0), np.rint)
            return shapely.coverage_simplify(dense, 2.0)

        slow, other = best(geos, 1)
        row("trace and simplify by 2 px, beside GEOS", simplified, slow)
        left, geos_left = (int(shapely.get_num_coordinates(g).sum()) for g in (coverage, other))
        valid = shapely.coverage_is_valid(coverage)
        print(f"points left: {left:,}, GEOS {geos_left:,}; valid coverage: {valid}")


if __name__ == "__main__":
    main()
