"""Pixels and polygons have the area that geodesics give (GeographicLib through pyproj), in any unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from pyproj.crs import GeographicCRS
from rasterio.crs import CRS

from rsov.jobs.finish import Tally
from rsov.raster.area import pixel_area, pixel_gsd
from rsov.types import Grid, Window
from rsov.vector.measure import ground
from tests.support.rasters import scene, texture, write
from tests.support.vectors import legend, traced

if TYPE_CHECKING:
    from pathlib import Path

PLACES = {
    "Lambert II, datum in grads": (27572, 1000, 600_000, 2_200_000),
    "Lambert north, datum in grads": (27561, 1000, 600_000, 200_000),
    "grads": (4807, 0.01, 2, 54),
    "degrees": (4326, 0.01, 7, 52),
    "feet": (2263, 3000, 980_000, 200_000),
    "web mercator": (3857, 1000, 1e6, 6e6),
    "equal-area": (3035, 1000, 4e6, 3e6),
}


def square(grid: Grid, size: float) -> tuple[pyproj.Geod, np.ndarray, np.ndarray]:
    """Longitudes and latitudes, in degrees of the grid's datum, of the first ``size`` pixels of both axes."""
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    degrees = GeographicCRS(datum=crs.geodetic_crs.datum)
    corners = [grid.transform @ corner for corner in ((0, 0), (size, 0), (size, size), (0, size))]
    way = pyproj.Transformer.from_crs(crs, degrees, always_xy=True)
    return crs.get_geod(), *way.transform(*np.array(corners).T)


@pytest.mark.parametrize("name", PLACES)
def test_a_pixel_is_as_large_as_its_polygon(name: str) -> None:
    code, size, x, y = PLACES[name]
    grid = Grid(1, 1, Affine(size, 0, x, 0, -size, y), CRS.from_epsg(code))
    geod, lon, lat = square(grid, 1)
    area = abs(geod.polygon_area_perimeter(lon, lat)[0])
    assert pixel_area(grid, Window(0, 0, 1, 1)) == pytest.approx(area, rel=1e-5)
    sides = [geod.inv(lon[0], lat[0], lon[k], lat[k])[2] for k in (1, 3)]
    assert pixel_gsd(grid) == pytest.approx(sides, rel=2e-4)
    (batch,) = traced(np.ones((1, 1), np.uint8))
    assert ground(grid).measure(batch)[0] == pytest.approx([area], rel=1e-5)


@pytest.mark.parametrize("step", [0.1, 0.5, 2.0])
def test_half_a_pixel_beyond_a_pole_is_no_ground(step: float) -> None:
    """Grids of the whole world whose first and last rows lie on the poles, not beside them."""
    rows = round(180 / step) + 1
    grid = Grid(4, rows, Affine(step, 0, 0, 0, -step, 90 + step / 2), CRS.from_epsg(4326))
    (batch,) = traced(np.ones((rows, 4), np.uint8))
    slice_of_earth = 510_065_621_724_088.44 * 4 * step / 360  # WGS 84, GeographicLib
    assert ground(grid).measure(batch)[0] == pytest.approx([slice_of_earth], rel=1e-4)
    assert pixel_area(grid, Window(0, 0, 1, 1)) == pytest.approx(0, abs=1)


def test_a_projection_that_nobody_knows_is_measured_by_its_unit() -> None:
    unknown = (
        'PROJCS["made up",GEOGCS["g",DATUM["d",SPHEROID["s",6378137,298]],PRIMEM["Greenwich",0],'
        'UNIT["degree",0.0174532925199433]],PROJECTION["Nonsense"],UNIT["foot",0.3048]]'
    )
    grid = Grid(10, 10, Affine(2, 0, 0, 0, -2, 0), CRS.from_wkt(unknown))
    assert pixel_area(grid, grid.window) == pytest.approx(0.6096**2)
    assert ground(grid).pixel_area == pytest.approx(0.6096**2)


def test_a_picture_in_a_crs_of_grads_is_read_at_its_own_gsd(tmp_path: Path) -> None:
    where = Affine(0.3, 0, 600_000, 0, -0.3, 2_200_000)
    opened = scene(write(tmp_path / "a.tif", texture(), crs="EPSG:27572", transform=where))
    assert opened.gsd == pytest.approx((0.3, 0.3), rel=1e-3)


COARSE = {
    "degrees at 60 N": (4326, Affine(0.01, 0, 10, 0, -0.01, 60)),
    "degrees, a third of the earth": (4326, Affine(0.5, 0, -75, 0, -0.5, 55)),
    "web mercator, a third of the earth": (3857, Affine(60_000, 0, -9e6, 0, -60_000, 7e6)),
    "utm beyond its zone": (32632, Affine(3000, 0, 500_000, 0, -3000, 5_000_000)),
    "over the south pole": (3031, Affine(20_000, 0, -3e6, 0, -20_000, 2e6)),
    "rotated": (3857, Affine(4e4, 4e4, -9e6, 4e4, -4e4, 0)),
}
"""300 x 220 pixels, too large a piece of the earth for one pixel area."""
PATCHES = [(0, 0, 100, 110), (100, 0, 300, 50), (100, 50, 300, 110), (0, 110, 150, 220), (150, 110, 300, 220)]
"""Left, top, right, bottom in pixels: what ids 1 to 5 cover."""


def patches() -> np.ndarray:
    labels = np.zeros((220, 300), np.uint8)
    for number, (left, top, right, bottom) in enumerate(PATCHES, 1):
        labels[top:bottom, left:right] = number
    return labels


def tallied(labels: np.ndarray, grid: Grid, rows: int) -> list[float]:
    """Areas of ids 1 to 5 by the report's count of blocks of ``rows``."""
    tally = Tally(grid, "uint8")
    for row in range(0, len(labels), rows):
        tally.add(row, labels[row : row + rows])
    found = tally.areas(legend("a", "b", "c", "d", "e"))[:5]
    assert [item.pixels for item in found] == [int((labels == item.id).sum()) for item in found]
    return [item.area_m2 for item in found]


@pytest.mark.parametrize("name", COARSE)
def test_Z03_classes_of_coarse_pixels_have_the_area_of_their_place(name: str) -> None:
    code, transform = COARSE[name]
    crs = pyproj.CRS.from_epsg(code)
    to_earth = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    expected = []
    for patch in PATCHES:
        ring = shapely.get_coordinates(shapely.segmentize(shapely.box(*patch), 0.1))
        lon, lat = to_earth.transform(*(transform @ ring.T))
        expected.append(abs(crs.get_geod().polygon_area_perimeter(lon, lat)[0]))
    found = tallied(patches(), Grid(300, 220, transform, CRS.from_epsg(code)), 512)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", COARSE)
def test_areas_of_the_report_are_the_sums_of_the_polygons(name: str) -> None:
    code, transform = COARSE[name]
    grid = Grid(300, 220, transform, CRS.from_epsg(code))
    labels = np.kron(np.random.default_rng(5).integers(1, 6, (22, 30)), np.ones((10, 10))).astype(np.uint8)
    sums = np.zeros(6)
    for batch in traced(labels):
        np.add.at(sums, batch.class_id, ground(grid).measure(batch)[0])
    assert tallied(labels, grid, 512) == pytest.approx(sums[1:], rel=1e-4)


def test_areas_do_not_depend_on_the_height_of_blocks() -> None:
    code, transform = COARSE["rotated"]
    grid = Grid(300, 220, transform, CRS.from_epsg(code))
    labels = np.random.default_rng(6).integers(1, 6, (220, 300)).astype(np.uint8)
    whole = tallied(labels, grid, 220)
    assert all(tallied(labels, grid, rows) == whole for rows in (1, 7, 64))
