"""Files of polygons: schema, style, names, bytes, faults."""

from __future__ import annotations

import hashlib
import json
import resource
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import fiona
import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.geometry import shape

from rsov.errors import OutputError
from rsov.raster.faults import writing
from rsov.types import Notices
from rsov.vector.verify import verify_vector
from rsov.vector.write import FIELDS, layer_name
from tests.support.vectors import (
    NORTH_UP,
    START,
    as_set,
    gdal_polygons,
    grid_of,
    on_ground,
    smooth_labels,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("gpkg", "geojson", "fgb", "shp")


def read(path: Path, layer: str | None = None) -> list[dict]:
    with fiona.open(path, layer=layer) as source:
        return [{"geometry": shape(f.geometry), **f.properties} for f in source]


@pytest.mark.parametrize("fmt", FORMATS)
def test_fields_are_always_the_same_five(fmt: str, tmp_path: Path) -> None:
    path = tmp_path / f"map.{fmt}"
    stats = write(smooth_labels(50, 60), path)
    with fiona.open(path) as source:
        assert list(source.schema["properties"]) == list(FIELDS)
        assert len(source) == stats.count
    assert {row["class"] for row in read(path)} == {"forest", "road", "water", "roof"}


@pytest.mark.parametrize("fmt", ["gpkg", "fgb", "shp"])
def test_polygons_in_the_file_are_those_of_the_raster(fmt: str, tmp_path: Path) -> None:
    labels = smooth_labels(60, 70, sigma=3)
    labels[:10, :10] = 0
    labels[50:, 60:] = 255
    path = tmp_path / f"map.{fmt}"
    write(labels, path, heights=[7])
    found = np.array([row["geometry"] for row in read(path)], object)
    assert shapely.is_valid(found).all()
    assert as_set(found) == as_set(on_ground(gdal_polygons(labels), NORTH_UP))


def test_areas_sum_up_to_the_pixels_of_each_class(tmp_path: Path) -> None:
    labels = smooth_labels(60, 70)
    path = tmp_path / "map.gpkg"
    stats = write(labels, path, grid=grid_of(labels, crs=None))
    rows = read(path, "map")
    for class_id in (1, 2, 3, 4):
        expected = int((labels == class_id).sum())
        assert sum(row["area_m2"] for row in rows if row["class_id"] == class_id) == expected
        assert stats.pixels.get(class_id, 0) == expected


def test_the_mean_confidence_is_a_share_and_null_where_unknown(tmp_path: Path) -> None:
    labels = np.array([[1, 2, 2]], np.uint8)
    path = tmp_path / "map.gpkg"
    write(labels, path, confidence=np.array([[255, 125, 250]], np.uint8))
    assert {row["class"]: row["conf_mean"] for row in read(path, "map")} == {"forest": None, "road": 0.75}


@pytest.mark.parametrize("fmt", FORMATS)
def test_equal_runs_give_equal_bytes(fmt: str, tmp_path: Path) -> None:
    labels = smooth_labels(40, 40)
    digests = set()
    for name, heights in (("a", [40]), ("b", [3])):
        (tmp_path / name).mkdir()
        write(labels, tmp_path / name / f"map.{fmt}", heights=heights, style_qml="<qgis/>")
        digests.add(hashlib.sha256((tmp_path / name / f"map.{fmt}").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_times_in_a_geopackage_are_the_start_of_the_run_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "map.gpkg"
    start = datetime(2026, 5, 6, 9, 8, 7, tzinfo=timezone(timedelta(hours=2)))
    write(smooth_labels(20, 20), path, start_time=start, style_qml="<qgis/>")
    with sqlite3.connect(path) as database:
        times = database.execute(
            "SELECT last_change FROM gpkg_contents UNION SELECT update_time FROM layer_styles"
        )
        assert {row[0] for row in times} == {"2026-05-06T07:08:07.000Z"}


def test_the_style_is_the_default_of_the_layer(tmp_path: Path) -> None:
    path = tmp_path / 'it\'s a "map".gpkg'
    write(smooth_labels(20, 20), path, style_qml="<qgis>ü</qgis>")
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()
        assert rows == [('it\'s a "map"', "geom", "<qgis>ü</qgis>", 1)]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_geopackage_is_one_plain_file_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OGR_SQLITE_JOURNAL", "WAL")
    path = tmp_path / "map.gpkg"
    write(smooth_labels(30, 30), path, style_qml="<qgis/>")
    assert [p.name for p in tmp_path.iterdir()] == ["map.gpkg"]
    assert path.read_bytes()[18:20] == b"\x01\x01"


@pytest.mark.parametrize("fmt", FORMATS)
def test_verification_accepts_what_was_written(fmt: str, tmp_path: Path) -> None:
    labels = smooth_labels(40, 50)
    path = tmp_path / f"map.{fmt}"
    stats = write(labels, path, style_qml="<qgis/>")
    bounds = None if fmt == "geojson" else (500_000.0, 4_999_980.0, 500_025.0, 5_000_000.0)
    verify_vector(path, fmt, stats.count, bounds)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_verification_sees_a_torn_file(fmt: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"map.{fmt}"
    stats = write(smooth_labels(120, 120, sigma=1.5), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OutputError) as caught:
        verify_vector(path, fmt, stats.count)
    assert caught.value.code == 5


def test_verification_sees_missing_polygons_foreign_places_and_write_ahead_mode(tmp_path: Path) -> None:
    path = tmp_path / "map.gpkg"
    stats = write(smooth_labels(40, 50), path)
    with pytest.raises(OutputError, match="not written correctly"):
        verify_vector(path, "gpkg", stats.count + 1)
    with pytest.raises(OutputError) as caught:
        verify_vector(path, "gpkg", stats.count, (0, 0, 10, 10))
    assert "polygons reach" in caught.value.why
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
    database.close()
    with pytest.raises(OutputError) as caught:
        verify_vector(path, "gpkg", stats.count)
    assert "write-ahead" in caught.value.why


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_full_disk_is_an_error_and_never_passes_verification(fmt: str, tmp_path: Path) -> None:
    """A limit on the size of a file stands for the disk."""
    path = tmp_path / f"map.{fmt}"
    labels = smooth_labels(300, 300, sigma=1.5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises((OSError, OutputError)):
            verify_vector(path, fmt, write(labels, path).count)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_fault_of_sqlite_is_one_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, writing(tmp_path / "map.gpkg"):
        sqlite3.connect(tmp_path / "missing" / "map.gpkg")
    assert caught.value.exit_code == 5


def test_P07_names_in_any_script_are_kept_as_given(tmp_path: Path) -> None:
    names = ("غابة", "जंगल", "🌲🛣️", "e\u0301tang")
    labels = np.array([[1, 2, 3, 4]], np.uint8)
    for fmt in FORMATS:
        path = tmp_path / f"map.{fmt}"
        write(labels, path, names=names)
        assert {row["class"] for row in read(path)} == set(names)


def test_P07_a_shapefile_cuts_a_long_name_between_letters_and_says_so(tmp_path: Path) -> None:
    notices = Notices()
    write(np.array([[1]], np.uint8), tmp_path / "map.shp", names=("ü" * 300,), notices=notices)
    assert read(tmp_path / "map.shp")[0]["class"] == "ü" * 127
    assert [n.id for n in notices.items] == ["W-shapefile-text"]


def test_P21_names_that_look_like_sql_or_fields_are_only_values(tmp_path: Path) -> None:
    names = ("fid", "geom", "A", "a'; DROP TABLE map;--", 'q"uote')
    path = tmp_path / "map.gpkg"
    write(np.array([[1, 2, 3, 4, 5]], np.uint8), path, names=names, layer="x'; DROP TABLE y;--")
    with fiona.open(path, layer="x'; DROP TABLE y;--") as source:
        assert {f.properties["class"] for f in source} == set(names)
        assert list(source.schema["properties"]) == list(FIELDS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("map", "map"),
        ("gpkg_map", "map_gpkg_map"),
        ("SQLite x", "map_SQLite x"),
        ("a\nb\x00c", "a_b_c"),
        ("", "classes"),
    ],
)
def test_layer_names_are_such_that_sqlite_takes_them(name: str, expected: str, tmp_path: Path) -> None:
    assert layer_name(name) == expected
    write(np.array([[1]], np.uint8), tmp_path / "x.gpkg", layer=name)
    assert fiona.listlayers(tmp_path / "x.gpkg") == [expected]


def test_geojson_is_wgs84_with_outer_rings_counterclockwise(tmp_path: Path) -> None:
    path = tmp_path / "map.geojson"
    write(smooth_labels(40, 40), path)
    content = json.loads(path.read_text())
    assert "crs" not in content
    for feature in content["features"]:
        polygon = shape(feature["geometry"])
        assert shapely.is_ccw(polygon.exterior)
        assert 8.9 < polygon.bounds[0] < 9.1
        assert 45.1 < polygon.bounds[1] < 45.2


@pytest.mark.parametrize(
    "transform", [NORTH_UP, Affine(0.5, 0, 5e5, 0, 0.5, 5e6), Affine(-0.5, 0, 5e5, 0, -0.5, 5e6)]
)
def test_outer_rings_run_counterclockwise_on_the_ground(transform: Affine, tmp_path: Path) -> None:
    labels = smooth_labels(40, 40)
    path = tmp_path / "map.gpkg"
    write(labels, path, grid=grid_of(labels, transform))
    for row in read(path, "map"):
        assert shapely.is_ccw(row["geometry"].exterior)
        assert not any(shapely.is_ccw(ring) for ring in row["geometry"].interiors)


def test_simplified_polygons_share_their_borders_in_the_file(tmp_path: Path) -> None:
    labels = smooth_labels(200, 200)
    path = tmp_path / "map.gpkg"
    write(labels, path, simplify_m=1.0)
    found = np.array([row["geometry"] for row in read(path, "map")], object)
    assert shapely.coverage_is_valid(found)
    assert shapely.area(found).sum() == pytest.approx(labels.size * 0.25)
    plain = tmp_path / "plain.gpkg"
    write(labels, plain)
    points = shapely.get_num_coordinates([row["geometry"] for row in read(plain, "plain")]).sum()
    assert shapely.get_num_coordinates(found).sum() < 0.5 * points


def test_the_tolerance_is_in_metres_of_the_ground_in_any_crs(tmp_path: Path) -> None:
    """The same scene in metres and in degrees keeps the same corners."""
    from rasterio.crs import CRS

    labels = smooth_labels(120, 120)
    degrees = Affine(10 / 111_320 / np.cos(np.radians(60)), 0, 9, 0, -10 / 111_400, 60)
    counts = []
    for name, transform, code in (("m", Affine(10, 0, 5e5, 0, -10, 6.65e6), 32632), ("d", degrees, 4326)):
        stats = write(
            labels,
            tmp_path / f"{name}.gpkg",
            grid=grid_of(labels, transform, CRS.from_epsg(code)),
            simplify_m=20.0,
        )
        counts.append(stats.points)
    assert counts[0] == pytest.approx(counts[1], rel=0.02)


def test_start_is_the_only_clock(tmp_path: Path) -> None:
    path = tmp_path / "map.gpkg"
    write(smooth_labels(20, 20), path, start_time=START)
    assert datetime.now(UTC).strftime("%Y-%m-%d").encode() not in path.read_bytes()
