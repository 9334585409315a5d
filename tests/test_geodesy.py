"""Pixels and polygons have the area that geodesics give (GeographicLib through pyproj), in any unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
from affine import Affine
from pyproj.crs import GeographicCRS
from rasterio.crs import CRS

from rsov.raster.area import pixel_area, pixel_gsd
from rsov.types import Grid, Window
from rsov.vector.measure import ground
from tests.support.rasters import scene, texture, write
from tests.support.vectors import traced

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
