"""Rows of group Z (grids, CRS, values) as far as they concern polygons."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import fiona
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio import features
from rasterio.crs import CRS
from shapely.geometry import shape

from rsov.errors import ExitCode, InputError
from rsov.types import Grid
from rsov.vector.trace import RowBlock, trace
from rsov.vector.verify import verify_vector
from rsov.vector.write import FIELDS, check_format
from tests.support.vectors import (
    NORTH_UP,
    as_set,
    gdal_polygons,
    grid_of,
    on_ground,
    smooth_labels,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

SITE = 'LOCAL_CS["site",UNIT["metre",1]]'
CUSTOM = "+proj=tmerc +lat_0=10.5 +lon_0=33.3 +k=0.9999 +x_0=1234 +y_0=99 +ellps=WGS84 +units=m"
FORMATS = ("gpkg", "geojson", "fgb", "shp")
COS, SIN = np.cos(np.pi / 6), np.sin(np.pi / 6)


def one_pixel() -> np.ndarray:
    labels = np.zeros((3, 3), np.uint8)
    labels[1, 1] = 1
    return labels


def crs_in(path: Path) -> pyproj.CRS:
    with fiona.open(path) as source:
        return pyproj.CRS.from_wkt(source.crs_wkt)


def geometries(path: Path) -> np.ndarray:
    with fiona.open(path) as source:
        return np.array([shape(f.geometry) for f in source], object)


def test_Z01_polygons_without_crs_are_undefined_cartesian(tmp_path: Path) -> None:
    labels = smooth_labels(20, 20)
    path = tmp_path / "map.gpkg"
    stats = write(labels, path, grid=grid_of(labels, NORTH_UP, None))
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchall() == [(-1,)]
    assert stats.bounds == (500_000.0, 4_999_990.0, 500_010.0, 5_000_000.0)


def test_Z01_geojson_without_crs_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    labels = one_pixel()
    for crs in (None, CRS.from_wkt(SITE)):
        grid = grid_of(labels, NORTH_UP, crs)
        with pytest.raises(InputError) as caught:
            check_format("geojson", grid)
        assert caught.value.code == ExitCode.INPUT == 3
        assert "--crs" in caught.value.fix
        with pytest.raises(InputError):
            write(labels, tmp_path / "map.geojson", grid=grid)
        for fmt in ("gpkg", "fgb", "shp"):
            check_format(fmt, grid)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fmt", ["gpkg", "fgb", "shp"])
@pytest.mark.parametrize("text", [SITE, CUSTOM])
def test_Z06_a_crs_without_a_code_is_kept_as_it_is(fmt: str, text: str, tmp_path: Path) -> None:
    labels = one_pixel()
    crs = CRS.from_user_input(text)
    path = tmp_path / f"map.{fmt}"
    write(labels, path, grid=grid_of(labels, Affine(1, 0, 1000, 0, -1, 2000), crs))
    assert geometries(path)[0].bounds == (1001, 1998, 1002, 1999)
    found, given = crs_in(path), pyproj.CRS.from_wkt(crs.to_wkt())
    if text == SITE:
        assert found.is_engineering
        assert found.name == given.name
        return
    assert found.to_epsg() is None
    for place in ((1001.0, 1998.0), (90_000.0, 50_000.0)):
        ours = pyproj.Transformer.from_crs(found, found.geodetic_crs, always_xy=True).transform(*place)
        theirs = pyproj.Transformer.from_crs(given, given.geodetic_crs, always_xy=True).transform(*place)
        assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(("code", "flat"), [("EPSG:32632+5773", 32632), ("EPSG:4979", 4326)])
def test_Z07_of_a_compound_or_3d_crs_the_horizontal_part_is_used(
    fmt: str, code: str, flat: int, tmp_path: Path
) -> None:
    labels = one_pixel()
    transform = NORTH_UP if flat == 32632 else Affine(1e-5, 0, 9, 0, -1e-5, 45)
    path = tmp_path / f"map.{fmt}"
    write(labels, path, grid=grid_of(labels, transform, CRS.from_user_input(code)))
    expected = pyproj.CRS.from_epsg(4326 if fmt == "geojson" else flat)
    assert crs_in(path).equals(expected, ignore_axis_order=True)
    assert not geometries(path)[0].has_z


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(
    ("lon", "lat", "zone"), [(36.8, -1.3, 32737), (-70.6, -33.4, 32719)], ids=["Kenya", "Chile"]
)
def test_Z08_x_is_longitude_or_easting_everywhere(
    fmt: str, lon: float, lat: float, zone: int, tmp_path: Path
) -> None:
    labels = one_pixel()
    path = tmp_path / f"map.{fmt}"
    write(labels, path, grid=grid_of(labels, Affine(1e-4, 0, lon, 0, -1e-4, lat), CRS.from_epsg(4326)))
    centre = shapely.get_coordinates(geometries(path)[0].centroid)[0]
    assert centre == pytest.approx((lon + 1.5e-4, lat - 1.5e-4), abs=1e-6)
    if fmt == "geojson":
        x, y = pyproj.Transformer.from_crs(4326, zone, always_xy=True).transform(lon, lat)
        path = tmp_path / f"utm.{fmt}"
        write(labels, path, grid=grid_of(labels, Affine(1, 0, x, 0, -1, y), CRS.from_epsg(zone)))
        centre = shapely.get_coordinates(geometries(path)[0].centroid)[0]
        assert centre == pytest.approx((lon, lat), abs=1e-4)


GRIDS = {
    "Z09 rotated": Affine(0.5 * COS, 0.5 * SIN, 5e5, 0.5 * SIN, -0.5 * COS, 5e6),
    "Z09 sheared": Affine(0.5, 0.2, 5e5, 0.1, -0.5, 5e6),
    "Z10 south up": Affine(0.5, 0, 5e5, 0, 0.5, 5e6),
    "Z11 mirrored": Affine(-0.5, 0, 5e5, 0, -0.5, 5e6),
}


def polygons_lie_where_the_pixels_do(transform: Affine, path: Path) -> None:
    """GDAL's polygons under the same affine; a lone pixel at its place; rings turned the right way."""
    labels = smooth_labels(30, 40, sigma=3)
    labels[2, 35] = 0
    write(labels, path, grid=grid_of(labels, transform))
    found = geometries(path)
    assert as_set(shapely.set_precision(found, 1e-6)) == as_set(
        shapely.set_precision(on_ground(gdal_polygons(labels), transform), 1e-6)
    )
    assert shapely.is_valid(found).all()
    assert all(shapely.is_ccw(polygon.exterior) for polygon in found)
    hole = shapely.Point(
        transform.a * 35.5 + transform.b * 2.5 + transform.c,
        transform.d * 35.5 + transform.e * 2.5 + transform.f,
    )
    assert not shapely.intersects(found, hole).any()


@pytest.mark.parametrize("name", ["Z09 rotated", "Z09 sheared"])
def test_Z09_polygons_of_a_rotated_grid_go_through_the_full_affine(name: str, tmp_path: Path) -> None:
    polygons_lie_where_the_pixels_do(GRIDS[name], tmp_path / "map.gpkg")
    area = abs(GRIDS[name].determinant)
    with fiona.open(tmp_path / "map.gpkg") as source:
        assert sum(f.properties["area_m2"] for f in source) == pytest.approx(area * (30 * 40 - 1), rel=1e-3)


def test_Z10_polygons_of_a_south_up_grid_are_not_mirrored(tmp_path: Path) -> None:
    polygons_lie_where_the_pixels_do(GRIDS["Z10 south up"], tmp_path / "map.gpkg")


def test_Z11_polygons_of_a_mirrored_grid_lie_right(tmp_path: Path) -> None:
    polygons_lie_where_the_pixels_do(GRIDS["Z11 mirrored"], tmp_path / "map.gpkg")


def test_Z16_geojson_over_180_degrees_is_cut_there(tmp_path: Path) -> None:
    labels = np.ones((20, 31), np.uint8)
    labels[5:8, 10:25] = 2
    grid = Grid(31, 20, Affine(10_000, 0, 490_000, 0, -10_000, 7_000_000), CRS.from_epsg(32660))
    path = tmp_path / "map.geojson"
    stats = write(labels, path, grid=grid)
    verify_vector(path, "geojson", stats.count)
    content = json.loads(path.read_text())
    kinds = {f["properties"]["class"]: f["geometry"]["type"] for f in content["features"]}
    assert kinds == {"forest": "MultiPolygon", "road": "MultiPolygon"}
    for feature in content["features"]:
        for part in shape(feature["geometry"]).geoms:
            left, _, right, _ = part.bounds
            assert left >= -180
            assert right <= 180
            assert right - left < 10
    areas = sum(f["properties"]["area_m2"] for f in content["features"])
    assert areas == pytest.approx(31 * 20 * 1e8, rel=5e-3)


ON_180 = {
    "degrees": ("EPSG:4326", Affine(2**-10, 0, 180 - 12 * 2**-10, 0, -(2**-10), 10)),
    "degrees from another meridian": (
        "+proj=longlat +pm=180",
        Affine(2**-10, 0, -12 * 2**-10, 0, -(2**-10), 10),
    ),
    "UTM": ("EPSG:32660", Affine(100, 0, 833_978.5569 - 1_200, 0, -100, 1_200)),
    "Mercator": ("+proj=merc +lon_0=180 +datum=WGS84", Affine(100, 0, -1_200, 0, -100, 1e6)),
    "polar": ("EPSG:3031", Affine(1_000, 0, -12_000, 0, -1_000, -1.5e6)),
    "through a pole": ("EPSG:3031", Affine(10_000, 0, -120_000, 0, -10_000, 125_000)),
}


@pytest.mark.parametrize("name", ON_180)
def test_Z16_geojson_with_borders_on_180_degrees_is_valid_polygons(name: str, tmp_path: Path) -> None:
    """Borders of classes run along 180 degrees, and regions cross it above and below."""
    crs, transform = ON_180[name]
    geod, away, invalid = pyproj.Geod(ellps="WGS84"), [], []
    for seed in range(4):
        labels = smooth_labels(24, 24, seed=seed, sigma=3.0)
        across = np.random.default_rng(seed).random((24, 1)) < 0.5
        labels[:, 12:] = np.where(across, labels[:, 11:12], labels[:, 12:])
        (tmp_path / "map.geojson").unlink(missing_ok=True)
        write(labels, tmp_path / "map.geojson", grid=Grid(24, 24, transform, CRS.from_user_input(crs)))
        for feature in json.loads((tmp_path / "map.geojson").read_text())["features"]:
            found = shape(feature["geometry"])
            if feature["geometry"]["type"] not in ("Polygon", "MultiPolygon") or not found.is_valid:
                invalid.append(found.wkt)
            assert found.bounds[0] >= -180
            assert found.bounds[2] <= 180
            parts = shapely.orient_polygons(shapely.get_parts(found))
            area = sum(geod.geometry_area_perimeter(part)[0] for part in parts)
            away.append(abs(area / feature["properties"]["area_m2"] - 1))
    assert not invalid
    assert np.median(away) < 1e-3
    assert max(away) < (
        0.2 if name == "through a pole" else 2e-2
    )  # straight sides that are bent on the earth


def test_Z18_geojson_of_a_mercator_world_around_the_pacific(tmp_path: Path) -> None:
    crs = CRS.from_user_input("+proj=merc +lon_0=180 +datum=WGS84")
    side = np.pi * 6378137 / 20
    write(
        np.ones((20, 40), np.uint8),
        tmp_path / "map.geojson",
        grid=Grid(40, 20, Affine(side, 0, -20 * side, 0, -side, 10 * side), crs),
    )
    (feature,) = json.loads((tmp_path / "map.geojson").read_text())["features"]
    found = shape(feature["geometry"])
    assert found.is_valid
    assert found.area == pytest.approx(360 * (found.bounds[3] - found.bounds[1]), rel=1e-3)


@pytest.mark.parametrize("west", [-541.0, -360.001, 359.999, 360.5, 719.999])
@pytest.mark.parametrize("epsg", [4326, 4267])
def test_geojson_of_longitudes_beyond_a_turn_loses_nothing(tmp_path: Path, west: float, epsg: int) -> None:
    labels = smooth_labels(40, 40)
    grid = Grid(40, 40, Affine(5e-5, 0, west, 0, -5e-5, 10), CRS.from_epsg(epsg))
    write(labels, tmp_path / "map.geojson", grid=grid)
    content = json.loads((tmp_path / "map.geojson").read_text())["features"]
    found = [shape(feature["geometry"]) for feature in content]
    assert sum(geometry.area for geometry in found) == pytest.approx(1600 * 25e-10, rel=1e-3)
    assert all(geometry.is_valid and geometry.bounds[0] >= -180 for geometry in found)
    assert all(geometry.bounds[2] <= 180 for geometry in found)


@pytest.mark.parametrize("side", [0.3, 0.03, 0.002])
def test_geojson_keeps_single_pixels_of_any_size(tmp_path: Path, side: float) -> None:
    grid = grid_of(one_pixel(), Affine(side, 0, 400_000.123, 0, -side, 5_700_000.377))
    write(one_pixel(), tmp_path / "map.geojson", grid=grid)
    (feature,) = json.loads((tmp_path / "map.geojson").read_text())["features"]
    places = np.array(feature["geometry"]["coordinates"][0])
    back = pyproj.Transformer.from_crs(4326, grid.crs.to_wkt(), always_xy=True).transform(*places.T)
    corners = np.column_stack(~grid.transform @ np.array(back))
    assert np.abs(corners - corners.round()).max() < 0.01
    assert shapely.Polygon(corners.round()).area == 1


@pytest.mark.parametrize(
    ("epsg", "sign", "pole"), [(3413, 1, 0), (3031, -1, 0), (5041, 1, 2_000_000), (3575, 1, 0)]
)
@pytest.mark.parametrize("off", [0, 3_000])
def test_Z17_geojson_over_a_pole_holds_it(epsg: int, sign: int, pole: int, off: int, tmp_path: Path) -> None:
    """Cut open along 180 degrees and closed over the pole; areas are those of the ellipsoid."""
    labels = np.ones((40, 40), np.uint8)
    labels[2:6, 30:36] = 2
    west, north = pole - 200_000 + off, pole + 200_000
    grid = Grid(40, 40, Affine(10_000, 0, west, 0, -10_000, north), CRS.from_epsg(epsg))
    path = tmp_path / "map.geojson"
    check_format("geojson", grid)
    stats = write(labels, path, grid=grid)
    verify_vector(path, "geojson", stats.count)
    features = {f["properties"]["class"]: f for f in json.loads(path.read_text())["features"]}
    around, aside = (shape(features[name]["geometry"]) for name in ("forest", "road"))
    assert around.is_valid
    assert shapely.intersects(around, shapely.Point(12, sign * 89.9999))
    assert around.bounds[0] == -180
    assert around.bounds[2] == 180
    assert not shapely.intersects(aside, shapely.Point(12, sign * 89.9999))
    square = shapely.segmentize(shapely.box(west, north - 400_000, west + 400_000, north), 1000).exterior
    lon, lat = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform(*square.xy)
    area = sum(feature["properties"]["area_m2"] for feature in features.values())
    assert area == pytest.approx(
        abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]), rel=1e-3
    )


OFF = {
    "Gauss-Krueger far away": (31467, Affine(1000, 0, 25_000_000, 0, -1000, 5_000_000), "DHDN"),
    "UTM, one corner": (32632, Affine(500_000, 0, 500_000, 0, -500_000, 5_000_000), "UTM"),
    "beyond 90 degrees": (4326, Affine(1, 0, 10, 0, -1, 95), "WGS 84"),
}


@pytest.mark.parametrize("name", OFF)
def test_Z17_geojson_of_places_without_longitude_and_latitude_is_refused(name: str, tmp_path: Path) -> None:
    """Before the model where the whole map is filled; else when its polygons are written."""
    epsg, transform, why = OFF[name]
    labels = np.ones((40, 40), np.uint8)
    grid = Grid(40, 40, transform, CRS.from_epsg(epsg))
    with pytest.raises(InputError) as caught:
        check_format("geojson", grid)
    assert caught.value.id == "E-geojson-crs"
    assert caught.value.code == 3
    assert why in caught.value.why
    assert "gpkg" in caught.value.fix
    with pytest.raises(InputError) as caught:
        write(labels, tmp_path / "map.geojson", grid=grid)
    assert caught.value.id == "E-geojson-crs"
    write(labels, tmp_path / "map.gpkg", grid=grid)


def test_Z17_the_corners_of_a_disk_may_lie_off_the_earth(tmp_path: Path) -> None:
    crs = CRS.from_user_input("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84")
    grid = Grid(40, 40, Affine(300_000, 0, -6e6, 0, -300_000, 6e6), crs)
    labels = np.zeros((40, 40), np.uint8)
    labels[15:25, 15:25] = 1
    check_format("geojson", grid, filled=False)
    assert write(labels, tmp_path / "map.geojson", grid=grid).count == 1
    with pytest.raises(InputError):
        check_format("geojson", grid)


@pytest.mark.parametrize("fmt", FORMATS)
def test_Z47_a_scene_without_pixels_gives_no_features_and_a_valid_schema(fmt: str, tmp_path: Path) -> None:
    path = tmp_path / f"map.{fmt}"
    stats = write(np.zeros((30, 30), np.uint8), path, style_qml="<qgis/>")
    assert stats.count == 0
    assert stats.bounds is None
    verify_vector(path, fmt, 0, (0.0, 0.0, 1.0, 1.0))
    with fiona.open(path) as source:
        assert not list(source)
        if fmt != "geojson":  # without features there is no place for a schema in GeoJSON
            assert list(source.schema["properties"]) == list(FIELDS)
            assert crs_in(path).to_epsg() == 32632


@pytest.mark.parametrize("dtype", [np.bool_, np.uint32, np.int64, np.float32])
def test_Z54_only_label_types_are_traced(dtype: type) -> None:
    labels = np.ones((4, 4), dtype)
    with pytest.raises(ValueError, match=np.dtype(dtype).name):
        list(trace([RowBlock(labels)], 4))
    if dtype in (np.uint32, np.int64) and rasterio.__version__ < "1.5":
        with pytest.raises(ValueError, match="dtype"):  # what GDAL's polygonize in rasterio takes
            list(features.shapes(labels))
