"""Areas and lengths on the ground, beside geodesics (GeographicLib through pyproj)."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from rsov.types import Grid
from rsov.vector.measure import ground
from tests.support.vectors import UTM, on_ground, polygons, traced

TOLERANCE = 1e-4
ORACLE_M2 = 0.1
"""Absolute accuracy of the oracle's areas, which are differences of areas down to the equator."""

COS, SIN = np.cos(np.pi / 6), np.sin(np.pi / 6)

GRIDS = {
    "utm": (32632, Affine(50, 0, 300_000, 0, -50, 5_500_000)),
    "utm at 5 cm": (32632, Affine(0.05, 0, 300_000, 0, -0.05, 5_500_000)),
    "degrees": (4326, Affine(1e-3, 0, 7, 0, -1e-3, 60)),
    "degrees, a country": (4326, Affine(0.1, 0, -10, 0, -0.1, 60)),
    "degrees, a third of the earth": (4326, Affine(1, 0, -60, 0, -1, 55)),
    "web mercator, a third of the earth": (3857, Affine(1e5, 0, -6e6, 0, -1e5, 8e6)),
    "web mercator at 60 N": (3857, Affine(100, 0, 1e6, 0, -100, 8.4e6)),
    "feet": (2263, Affine(10, 0, 900_000, 0, -10, 200_000)),
    "over the south pole": (3031, Affine(1000, 0, -60_000, 0, -1000, 50_000)),
    "over 180 degrees": (32660, Affine(3000, 0, 490_000, 0, -3000, 300_000)),
    "a continent, equal-area": (3035, Affine(10_000, 0, 3e6, 0, -10_000, 3e6)),
    "rotated": (32632, Affine(50 * COS, 50 * SIN, 3e5, 50 * SIN, -50 * COS, 5.5e6)),
    "sheared": (32632, Affine(50, 20, 300_000, 5, -50, 5_500_000)),
    "south up": (32632, Affine(0.5, 0, 300_000, 0, 0.5, 5_500_000)),
    "mirrored": (32632, Affine(-0.5, 0, 300_000, 0, -0.5, 5_500_000)),
    "northing first": (31468, Affine(1, 0, 4_500_000, 0, -1, 5_400_000)),
}


def labels() -> np.ndarray:
    raster = np.zeros((100, 120), np.uint8)
    raster[5:95, 10:110] = 1
    raster[40:60, 40:60] = 2
    raster[50:55, 45:50] = 3
    raster[0, 0] = 1
    return raster


def geodesic(polygon: shapely.Polygon, crs: pyproj.CRS) -> tuple[float, float]:
    """Area and length of all rings of a polygon whose edges are straight in ``crs``."""
    to_earth = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    dense = shapely.segmentize(polygon, polygon.length / 2000)
    geod = crs.get_geod()
    lengths, areas = [], []
    for ring in (dense.exterior, *dense.interiors):
        lon, lat = to_earth.transform(*np.array(ring.coords).T)
        area, length = geod.polygon_area_perimeter(lon, lat)
        areas.append(abs(area))
        lengths.append(length)
    return areas[0] - sum(areas[1:]), sum(lengths)


@pytest.mark.parametrize("name", GRIDS)
def test_areas_and_lengths_are_right_within_a_ten_thousandth(name: str) -> None:
    code, transform = GRIDS[name]
    crs = pyproj.CRS.from_epsg(code)
    metric = ground(Grid(120, 100, transform, CRS.from_epsg(code)))
    assert metric.unit == "m"
    for batch in traced(labels()):
        area, perim = metric.measure(batch)
        for k, polygon in enumerate(on_ground(batch.to_shapely(), transform)):
            expected_area, expected_perim = geodesic(polygon, crs)
            assert area[k] == pytest.approx(expected_area, rel=TOLERANCE, abs=ORACLE_M2)
            assert perim[k] == pytest.approx(expected_perim, rel=TOLERANCE)


def test_without_a_crs_pixels_are_counted() -> None:
    metric = ground(Grid(120, 100, Affine(0.5, 0, 10, 0, -0.5, 10), None))
    assert metric.unit == "px"
    for batch in traced(labels()):
        area, perim = metric.measure(batch)
        assert area.tolist() == batch.pixels.tolist()
        assert perim.tolist() == pytest.approx(shapely.length(batch.to_shapely()).tolist())


def test_an_engineering_crs_is_measured_on_the_plane_in_metres() -> None:
    feet = 'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["foot",0.3048]]'
    metric = ground(Grid(120, 100, Affine(2, 0, 0, 0, -2, 0), CRS.from_wkt(feet)))
    batch = traced(labels())[0]
    assert metric.measure(batch)[0].tolist() == pytest.approx((batch.pixels * (2 * 0.3048) ** 2).tolist())


def test_a_crs_with_datum_parameters_is_measured_on_its_own_ellipsoid() -> None:
    bound = "+proj=utm +zone=33 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"
    plain = "+proj=utm +zone=33 +ellps=bessel"
    transform = Affine(1, 0, 400_000, 0, -1, 5_400_000)
    areas = [
        ground(Grid(120, 100, transform, CRS.from_user_input(text))).measure(traced(labels())[0])[0]
        for text in (bound, plain)
    ]
    np.testing.assert_allclose(areas[0], areas[1], rtol=1e-12)


def test_a_raster_that_reaches_beyond_its_projection_is_measured_where_it_lies() -> None:
    """Orthographic: the corners of the square lie off the earth."""
    crs = CRS.from_proj4("+proj=ortho +lat_0=45 +lon_0=10 +ellps=WGS84")
    metric = ground(Grid(1300, 1300, Affine(10_000, 0, -6.5e6, 0, -10_000, 6.5e6), crs))
    assert np.isfinite(metric.tensor).all()
    assert metric.pixel_area == pytest.approx(1e8, rel=1e-3)


def test_the_pixel_area_is_that_at_the_centre() -> None:
    metric = ground(Grid(100, 100, Affine(0.01, 0, 10, 0, -0.01, 60.5), CRS.from_epsg(4326)))
    geod = pyproj.Geod(ellps="WGS84")
    expected, _ = geod.polygon_area_perimeter([10, 10.01, 10.01, 10], [59.995, 59.995, 60.005, 60.005])
    assert metric.pixel_area == pytest.approx(abs(expected), rel=1e-3)


def test_measures_of_a_coverage_sum_up_to_the_scene() -> None:
    raster = np.random.default_rng(0).integers(1, 4, (60, 60)).astype(np.uint8)
    transform = Affine(1000, 0, 300_000, 0, -1000, 5_500_000)
    metric = ground(Grid(60, 60, transform, UTM))
    total = sum(metric.measure(b)[0].sum() for b in traced(raster))
    whole = geodesic(
        on_ground(polygons(traced(np.ones((60, 60), np.uint8))), transform)[0], pyproj.CRS.from_epsg(32632)
    )[0]
    assert total == pytest.approx(whole, rel=1e-5)
