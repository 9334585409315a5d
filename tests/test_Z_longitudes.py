"""Raster zoo: pictures, areas and bounds at longitudes beyond 180 degrees, across it, and at the poles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import reproject

from rsov.errors import InputError, UsageError
from rsov.types import Window
from tests.support.maps import labels, run
from tests.support.places import picture
from tests.support.rasters import read, scene, texture, valid, write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STEP = 3e-6
"""Degrees: a third of a metre."""
SIZE = 200
WEST = 180 - 100 * STEP
"""Half of the picture lies on either side of 180 degrees."""


def lonlat(path: Path, west: float, top: float = 10.0, *, crs: str = "EPSG:4326", **options: Any) -> Path:
    """A picture in degrees; always the same one."""
    transform = Affine(STEP, 0, west, 0, -STEP, top)
    return write(path, texture(SIZE, SIZE), crs=crs, transform=transform, **options)


def geojson(path: Path, *geometries: dict[str, Any], crs: int | None = None) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    document: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs is not None:
        document["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs}"}}
    path.write_text(json.dumps(document))
    return path


def ring(west: float, south: float, east: float, north: float) -> list[list[tuple[float, float]]]:
    return [[(west, south), (east, south), (east, north), (west, north), (west, south)]]


def polygon(*box: float) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": ring(*box)}


@pytest.mark.parametrize("target", ["EPSG:3857", "EPSG:3395", "EPSG:32604", "EPSG:4267"])
@pytest.mark.parametrize("west", [190.0, 359.9999, -190.0])
def test_a_picture_beyond_180_is_warped_like_the_same_one_a_turn_away(
    tmp_path: Path, west: float, target: str
) -> None:
    turn = 360 if west < 0 else -360
    beyond = read(lonlat(tmp_path / "a.tif", west), dst_crs=target)
    usual = read(lonlat(tmp_path / "b.tif", west + turn), dst_crs=target)
    assert usual.valid.mean() > 0.5
    assert (beyond.valid == usual.valid).mean() > 0.999
    assert (beyond.data == usual.data).mean() > 0.99


def with_points(path: Path, west: float, turn: float = 0) -> Path:
    """Control points at the corners; ``turn`` is added to the longitudes beyond 180."""
    corners = [(row, column) for row in (0, SIZE) for column in (0, SIZE)]
    places = [(row, column, west + column * STEP, 10 - row * STEP) for row, column in corners]
    points = [GroundControlPoint(r, c, x + turn if x > 180 else x, y) for r, c, x, y in places]
    return write(path, texture(SIZE, SIZE), crs="EPSG:4326", transform=None, gcps=points)


def test_control_points_beyond_180_are_warped_with(tmp_path: Path) -> None:
    beyond = valid(with_points(tmp_path / "a.tif", 190), gcp="warp", dst_crs="EPSG:3857")
    usual = valid(with_points(tmp_path / "b.tif", -170), gcp="warp", dst_crs="EPSG:3857")
    assert usual.mean() > 0.9
    assert (beyond == usual).all()


def test_control_points_across_180_are_warped_whole_or_refused(tmp_path: Path) -> None:
    on, back = with_points(tmp_path / "a.tif", WEST), with_points(tmp_path / "b.tif", WEST, -360)
    assert valid(on, gcp="warp", dst_crs="EPSG:32660").mean() > 0.9
    for target in (None, "EPSG:4258"):
        assert valid(on, gcp="warp", dst_crs=target).all()
        assert valid(back, gcp="warp", dst_crs=target).all()
    for path, target in ((back, "EPSG:32660"), (back, "EPSG:3857"), (on, "EPSG:3857")):
        with pytest.raises(InputError) as caught:
            scene(path, gcp="warp", dst_crs=target)
        assert caught.value.id == "E-warp"
        assert "180 degrees" in caught.value.why


@pytest.mark.parametrize("target", ["EPSG:32660", "EPSG:32601", "EPSG:3832"])
def test_both_sides_of_180_are_warped(tmp_path: Path, target: str) -> None:
    path = lonlat(tmp_path / "a.tif", WEST)
    opened, pixels = scene(path, dst_crs=target), read(path, dst_crs=target)
    x, y = np.meshgrid(np.arange(opened.grid.width) + 0.5, np.arange(opened.grid.height) + 0.5)
    to_degrees = Transformer.from_crs(target, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*(opened.grid.transform @ (x, y)))
    column, row = (lon % 360 - WEST) / STEP, (10 - lat) / STEP
    inside = (column > 1) & (column < SIZE - 1) & (row > 1) & (row < SIZE - 1)
    assert inside.mean() > 0.5
    assert pixels.valid[inside].all()


def test_a_projected_picture_across_180_becomes_one_map_in_degrees(tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(180, 10)
    transform = Affine(0.5, 0, x - 50, 0, -0.5, y)
    path = write(tmp_path / "a.tif", texture(SIZE, SIZE), crs="EPSG:32660", transform=transform)
    opened, pixels = scene(path, dst_crs="EPSG:4326"), read(path, dst_crs="EPSG:4326")
    west, _, east, _ = opened.grid.extent
    assert opened.grid.crs == CRS.from_epsg(4326)
    assert 179.999 < west < 180 < east < 180.001
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=0.1)
    assert pixels.valid.mean() > 0.9
    turned = np.zeros((3, *opened.grid.shape))
    reproject(texture(SIZE, SIZE).astype(float), turned, src_transform=transform, src_crs="EPSG:32660",
              dst_transform=opened.grid.transform, dst_crs="EPSG:4326", resampling=rasterio.enums.Resampling.bilinear)  # fmt: skip
    inner = pixels.valid & (turned.min(0) > 4)
    assert np.abs(pixels.data[:, inner] - turned[:, inner]).mean() < 1


@pytest.mark.parametrize("step", [STEP, 0.002])
@pytest.mark.parametrize("target", ["EPSG:3857", "EPSG:3395"])
def test_a_map_that_the_target_tears_apart_is_refused(tmp_path: Path, target: str, step: float) -> None:
    transform = Affine(step, 0, 180 - 100 * step, 0, -step, 10)
    path = write(tmp_path / "a.tif", texture(SIZE, SIZE), crs="EPSG:4326", transform=transform)
    with pytest.raises(InputError) as caught:
        scene(path, dst_crs=target)
    assert caught.value.id == "E-warp"
    assert "180 degrees" in caught.value.why


@pytest.mark.parametrize("target", ["EPSG:3857", "EPSG:3395", "EPSG:4326"])
def test_a_map_of_a_pole_where_the_target_has_none_is_refused(tmp_path: Path, target: str) -> None:
    over = Affine(0.3, 0, -30, 0, -0.3, 30)
    polar = write(tmp_path / "a.tif", texture(SIZE, SIZE), crs="EPSG:3413", transform=over)
    for path in (polar, lonlat(tmp_path / "b.tif", 10, 90)):
        if path != polar and target == "EPSG:4326":
            continue
        with pytest.raises(InputError) as caught:
            scene(path, dst_crs=target)
        assert caught.value.id == "E-warp"
        assert "cannot be brought into" in caught.value.what


def test_the_world_from_0_to_360_degrees_is_warped_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(90, 180), crs="EPSG:4326", transform=Affine(2, 0, 0, 0, -2, 90))
    mask = valid(path, dst_crs="EPSG:3857")
    assert mask.mean() > 0.95


def areas(tmp_path: Path, south: float, north: float, reach: float) -> dict[str, Path]:
    """One area in different words, from ``reach`` degrees west of 180 to as many east of it."""
    west, east = 180 - reach, 180 + reach
    split = [ring(west, south, 180, north), ring(-180, south, east - 360, north)]
    to_utm = Transformer.from_crs(4326, 32660, always_xy=True)
    place = {
        "type": "Polygon",
        "coordinates": [[to_utm.transform(*corner) for corner in ring(west, south, east, north)[0]]],
    }
    return {
        "cut": geojson(tmp_path / "cut.geojson", {"type": "MultiPolygon", "coordinates": split}),
        "on": geojson(tmp_path / "on.geojson", polygon(west, south, east, north)),
        "negative": geojson(tmp_path / "negative.geojson", polygon(west - 360, south, east - 360, north)),
        "utm": geojson(tmp_path / "utm.geojson", place, crs=32660),
    }


@pytest.mark.parametrize("west", [WEST, WEST - 360])
def test_an_area_across_180_lies_on_both_sides_however_it_is_written(tmp_path: Path, west: float) -> None:
    path = lonlat(tmp_path / "a.tif", west)
    reach = 40.25 * STEP
    south, north = 10 - 150.25 * STEP, 10 - 50.25 * STEP
    opened = scene(path)
    shape = polygon(west + 100 * STEP - reach, south, west + 100 * STEP + reach, north)
    oracle = rasterize([shape], out_shape=opened.grid.shape, transform=opened.grid.transform).astype(bool)
    assert oracle.any(0).sum() == 80
    for name, area in areas(tmp_path, south, north, reach).items():
        assert (mask_of(path, area) != oracle).sum() <= (4 if name == "utm" else 0), name


def mask_of(path: Path, area: Path, **options: Any) -> NDArray[np.bool_]:
    """Validity on the whole source grid."""
    opened = scene(path, aoi=area, **options)
    out = np.zeros(opened.grid.shape, bool)
    region = opened.region
    with opened.open_reader() as reader:
        mask = reader.valid(Window(0, 0, region.width, region.height))
    out[region.row : region.bottom, region.col : region.right] = mask
    return out


def test_a_projected_picture_across_180_takes_the_same_areas(tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(180, 10)
    path = write(
        tmp_path / "a.tif", texture(SIZE, SIZE), crs="EPSG:32660", transform=Affine(3, 0, x - 300, 0, -3, y)
    )
    masks = {n: mask_of(path, a) for n, a in areas(tmp_path, 9.996, 9.998, 0.002).items()}
    assert masks["utm"][:, :90].any()
    assert masks["utm"][:, 110:].any()
    for name, mask in masks.items():
        assert (mask != masks["utm"]).sum() <= 150, name


@pytest.mark.parametrize("west", [WEST, 190.0, 359.9999, -190.0, -180.0])
def test_the_whole_world_as_area_or_bounds_is_the_whole_picture(tmp_path: Path, west: float) -> None:
    path = lonlat(tmp_path / "a.tif", west)
    world = geojson(tmp_path / "world.geojson", polygon(-180, -90, 180, 90))
    assert valid(path, aoi=world).mean() == 1
    assert valid(path, aoi=world).shape == (SIZE, SIZE)
    for crs in (None, "EPSG:4326", "EPSG:4258"):
        opened = scene(path, bounds=(-180, -90, 180, 90), bounds_crs=crs)
        assert opened.region == opened.grid.window


def test_a_mercator_picture_beside_180_keeps_the_area_on_its_own_side(tmp_path: Path) -> None:
    edge = 20037508.342789244
    path = write(
        tmp_path / "a.tif",
        texture(SIZE, SIZE),
        crs="EPSG:3857",
        transform=Affine(1, 0, edge - SIZE, 0, -1, 0),
    )
    for area in (polygon(179.9991, -1, 180.5, 1), polygon(-180.0009, -1, -179.5, 1)):
        mask = mask_of(path, geojson(tmp_path / "a.geojson", area))
        assert 99 <= mask.any(0).sum() <= 101
        assert mask[:, 101:].all()
    to_utm = Transformer.from_crs(4326, 32660, always_xy=True)
    corners = [to_utm.transform(*corner) for corner in ring(179.9991, -0.01, 180.01, 0.01)[0]]
    place = {"type": "Polygon", "coordinates": [corners]}
    assert (mask_of(path, geojson(tmp_path / "u.geojson", place, crs=32660)) != mask).sum() <= 200


@pytest.mark.parametrize("west", [WEST, WEST - 360])
@pytest.mark.parametrize("crs", [None, "EPSG:4326", "EPSG:4258"])
def test_bounds_with_west_above_east_lie_over_180(tmp_path: Path, west: float, crs: str | None) -> None:
    bounds = (180 - 40 * STEP, 10 - 150 * STEP, -180 + 30 * STEP, 10 - 50 * STEP)
    opened = scene(lonlat(tmp_path / "a.tif", west), bounds=bounds, bounds_crs=crs)
    assert opened.region == Window(60, 50, 70, 100)
    path = write(tmp_path / "b.tif", texture(20, 20))
    with pytest.raises(UsageError, match="no rectangle"):
        scene(path, bounds=(3, 0, 1, 9))


def test_bounds_are_taken_at_any_turn(tmp_path: Path) -> None:
    bounds = (190 + 10 * STEP, 10 - 30 * STEP, 190 + 60 * STEP, 10 - 10 * STEP)
    for west, turn in ((190, 0), (190, -360), (-170, 0), (-170, -360)):
        box = (bounds[0] + turn, bounds[1], bounds[2] + turn, bounds[3])
        assert scene(lonlat(tmp_path / "a.tif", west), bounds=box).region == Window(10, 10, 50, 20)


@pytest.mark.parametrize(("west", "like"), [(190.0, -170.0), (-170.0, 190.0), (WEST, WEST - 360)])
def test_like_a_grid_whose_longitudes_count_from_another_turn(
    tmp_path: Path, west: float, like: float
) -> None:
    grid = lonlat(tmp_path / "like.tif", like + 30 * STEP, 10 - 50 * STEP)
    opened = scene(lonlat(tmp_path / "a.tif", west), like=grid)
    with rasterio.open(grid) as file:
        assert opened.output_grid.transform == file.transform
    mask = valid(opened.path, like=grid)
    assert mask[:150, :170].all()
    assert mask.sum() == 150 * 170


@pytest.mark.parametrize(("west", "turn"), [(190.0, -360), (-170.0, 360), (179.9999, -360), (10.0, 360)])
def test_a_map_like_a_grid_of_another_turn_is_the_same_map(tmp_path: Path, west: float, turn: float) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = picture(tmp_path / "a.tif", crs="EPSG:4326", transform=Affine(STEP, 0, west, 0, -STEP, 10))
    plain = run(path, folder / "a.tif", quicklook=True).maps[0]
    grid = picture(
        tmp_path / "like.tif", crs="EPSG:4326", transform=Affine(STEP, 0, west + turn, 0, -STEP, 10)
    )
    turned = run(path, folder / "b.tif", quicklook=True, like=grid).maps[0]
    found = labels(turned.outputs["classes"])
    assert np.unique(found).tolist() == [1, 2, 3]
    assert (found == labels(plain.outputs["classes"])).all()
    assert turned.outputs["quicklook"].read_bytes() == plain.outputs["quicklook"].read_bytes()
    assert turned.report["inputs"][0]["transform"] == plain.report["inputs"][0]["transform"]


def test_what_a_picture_across_180_covers_can_be_given_back_as_bounds(tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(180, 10)
    path = write(
        tmp_path / "a.tif", texture(SIZE, SIZE), crs="EPSG:32660", transform=Affine(3, 0, x - 300, 0, -3, y)
    )
    with pytest.raises(InputError) as caught:
        scene(path, bounds=(1, 2, 3, 4), bounds_crs="EPSG:4326")
    told = caught.value.fix.rpartition(": ")[2].partition(" ")[0]
    assert told.startswith("179.99")
    bounds = tuple(float(number) for number in told.split(","))
    opened = scene(path, bounds=bounds, bounds_crs="EPSG:4326")
    assert opened.region == opened.grid.window


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity"])
def test_an_area_with_a_coordinate_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    area = geojson(tmp_path / "a.geojson", polygon(500_000, 5_599_990, 500_777, 5_600_000), crs=32632)
    area.write_text(area.read_text().replace("500777", number))
    with pytest.raises(InputError) as caught:
        scene(write(tmp_path / "a.tif", texture()), aoi=area)
    assert caught.value.id == "E-aoi"


def test_polygons_in_a_collection_are_an_area(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    box = polygon(500_005, 5_599_980, 500_015, 5_599_995)
    inner = {"type": "GeometryCollection", "geometries": [box]}
    point = {"type": "Point", "coordinates": [500_000, 5_600_000]}
    mixed = {"type": "GeometryCollection", "geometries": [point, inner]}
    plain = mask_of(path, geojson(tmp_path / "a.geojson", box, crs=32632))
    assert plain.any()
    assert (mask_of(path, geojson(tmp_path / "b.geojson", mixed, crs=32632)) == plain).all()
    with pytest.raises(InputError, match="no polygons"):
        scene(path, aoi=geojson(tmp_path / "c.geojson", point, crs=32632))


def test_a_projection_that_wkt_1_has_no_words_for_is_mapped(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    formats = ("gpkg", "geojson", "fgb", "shp")
    made = run(picture(tmp_path / "a.tif"), folder, dst_crs="EPSG:8857", vector_format=formats).maps[0]
    with rasterio.open(made.outputs["classes"]) as file:
        assert file.crs == CRS.from_epsg(8857)
    areas = {row.id: row.area_m2 for row in made.areas}
    assert areas[1] == pytest.approx(48 * 64 / 4, rel=0.03)
