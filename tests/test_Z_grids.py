"""Raster zoo: parts, areas of interest, and the output grids that options ask for."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import fiona
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
from rsov.types import Grid, Notices, Window
from tests.support.rasters import UTM, read, scene, texture, valid, write

if TYPE_CHECKING:
    from pathlib import Path


def test_window_and_bounds_give_the_same_part(tmp_path: Path) -> None:
    data = texture()
    path = write(tmp_path / "a.tif", data)
    part = scene(path, window=Window(10, 20, 30, 15))
    assert part.output_grid.transform == UTM * Affine.translation(10, 20)
    assert read_part(path).shape == (3, 15, 30)
    bounds = (500_005, 5_600_000 - 17.5, 500_020, 5_600_000 - 10)
    assert scene(path, bounds=bounds).output_grid == part.output_grid
    lonlat = Transformer.from_crs(32632, 4326, always_xy=True).transform_bounds(*bounds, densify_pts=21)
    geographic = scene(path, bounds=lonlat, bounds_crs="EPSG:4326").output_grid
    assert abs(geographic.width - 30) <= 2
    assert abs(geographic.height - 15) <= 2
    for outside in (Window(100, 100, 5, 5), Window(-9, 0, 5, 5)):
        with pytest.raises(InputError):
            scene(path, window=outside)
    with pytest.raises(InputError):
        scene(path, bounds=(0, 0, 10, 10))
    with pytest.raises(UsageError):
        scene(path, bounds=(10, 10, 0, 0))


def test_bounds_of_a_warped_picture_are_in_the_input_s_crs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    bounds = (500_005, 5_600_000 - 17.5, 500_020, 5_600_000 - 10)
    warped = scene(path, bounds=bounds, dst_crs="EPSG:3857").output_grid
    wanted = Transformer.from_crs(32632, 3857).transform_bounds(*bounds)
    assert np.allclose(rasterio.transform.array_bounds(*warped.shape, warped.transform), wanted, atol=1.5)


def test_a_folder_in_place_of_a_file_is_not_called_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    for option in ("aoi", "stats"):
        with pytest.raises(InputError, match="is not a file"):
            scene(path, **{option: tmp_path})


def read_part(path: Path) -> np.ndarray:
    opened = scene(path, window=Window(10, 20, 30, 15))
    with opened.open_reader() as reader:
        pixels = reader.read(opened.region)
    assert (pixels.data == texture()[:, 20:35, 10:40]).all()
    return pixels.data


def test_res_and_like_put_the_output_on_another_grid(tmp_path: Path) -> None:
    data = texture()
    data[:, :10] = 0
    path = write(tmp_path / "a.tif", data, nodata=0)
    coarse = scene(path, res=2.0)
    assert coarse.output_grid.shape == (16, 16)
    assert coarse.output_grid.transform == UTM * Affine.scale(4)
    with coarse.open_reader() as reader:
        assert reader.valid(Window(0, 0, 16, 16)).tolist() == [[row >= 2] * 16 for row in range(16)]
    other = write(tmp_path / "like.tif", texture(10, 10), transform=Affine(1, 0, 499_995, 0, -1, 5_600_002))
    like = scene(path, like=other)
    assert like.output_grid == Grid(10, 10, Affine(1, 0, 499_995, 0, -1, 5_600_002), CRS.from_epsg(32632))
    with like.open_reader() as reader:
        mask = reader.valid(Window(0, 0, 10, 10))
    rows, columns = np.nonzero(mask)
    assert rows.min() == 7  # 2 m above the picture, then 5 m of nodata
    assert columns.min() == 5
    far = write(tmp_path / "far.tif", texture(4, 4), transform=Affine(1, 0, 0, 0, -1, 0))
    with pytest.raises(InputError):
        scene(path, like=far)
    with pytest.raises(UsageError):
        scene(path, res=-1)


@pytest.mark.parametrize("option", ["crs", "dst_crs"])
@pytest.mark.parametrize("heights", ["EPSG:5773", "EPSG:4978"])
def test_a_crs_without_a_plane_is_refused(tmp_path: Path, option: str, heights: str) -> None:
    path = write(tmp_path / "a.tif", texture(20, 20))
    with pytest.raises(UsageError, match="no plane"):
        scene(path, **{option: heights})
    scene(path, **{option: "EPSG:25832+5773"})


def test_a_picture_in_a_crs_without_a_plane_is_refused_unless_another_is_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(20, 20), crs="EPSG:4978")
    with pytest.raises(InputError, match="without a plane") as caught:
        scene(path)
    assert caught.value.id == "E-input-crs"
    assert "geocentric" in caught.value.why
    assert "--crs" in caught.value.fix
    assert scene(path, crs="EPSG:32632").grid.crs == CRS.from_epsg(32632)
    with pytest.raises(InputError, match="without a plane") as caught:
        scene(write(tmp_path / "b.tif", texture(20, 20)), like=path)
    assert caught.value.id == "E-like"


def test_control_points_in_a_crs_without_a_plane_are_not_warped_with(tmp_path: Path) -> None:
    corners = [(0, 0), (0, 20), (20, 0), (20, 20)]
    points = [GroundControlPoint(row, col, 4e6 + col, 6e5 - row) for row, col in corners]
    path = write(tmp_path / "a.tif", texture(20, 20), crs="EPSG:4978", transform=None, gcps=points)
    with pytest.raises(InputError, match="without a plane"):
        scene(path, gcp="warp")
    assert scene(path, gcp="ignore").grid.crs is None


def test_what_cannot_be_warped_or_is_no_pixel_size_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(20, 20))
    with pytest.raises(InputError) as caught:
        scene(path, dst_crs="+proj=gnom +lat_0=-50 +lon_0=-170")  # the other side of the Earth
    assert caught.value.id == "E-warp"
    assert "--crs" in caught.value.fix
    for wrong in ({"res": 1.0, "like": path}, {"res": -1.0}):
        with pytest.raises(UsageError) as refused:
            scene(path, **wrong)
        assert refused.value.id == "E-res"
        assert refused.value.fix


def test_dst_crs_warps_at_native_resolution(tmp_path: Path) -> None:
    data = np.broadcast_to((np.arange(200) + 20).astype(np.uint8), (3, 200, 200)).copy()
    path = write(tmp_path / "a.tif", data, tiled=True, blockxsize=64, blockysize=64)
    opened = scene(path, dst_crs="EPSG:25833")
    assert opened.grid.crs == CRS.from_epsg(25833)
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=0.05)
    pixels = read(path, dst_crs="EPSG:25833")
    assert 0.5 < pixels.valid.mean() < 1
    expected = np.zeros((3, *opened.grid.shape))
    reproject(data.astype(float), expected, src_transform=UTM, src_crs="EPSG:32632", dst_transform=opened.grid.transform,
              dst_crs="EPSG:25833", resampling=rasterio.enums.Resampling.bilinear)  # fmt: skip
    inner = pixels.valid & (expected.min(0) > 20)
    assert np.abs(pixels.data[:, inner] - expected[:, inner]).mean() < 1
    with pytest.raises(InputError):
        scene(write(tmp_path / "b.tif", data, crs=None), dst_crs="EPSG:3857")


def test_warped_pictures_keep_their_masks(tmp_path: Path) -> None:
    data = texture(100, 100)
    data[:, :50] = 0
    for name, extra in (("nodata", {"nodata": 0}), ("alpha", {"alpha": "YES"})):
        bands = (
            np.concatenate([data, np.where(data[:1] == 0, 0, 255).astype(np.uint8)])
            if name == "alpha"
            else data
        )
        mask = valid(write(tmp_path / f"{name}.tif", bands, **extra), dst_crs="EPSG:25833")
        assert 0.3 < mask.mean() < 0.55, name
    floats = data.astype(np.float32)
    floats[:, :50] = np.nan
    assert 0.3 < valid(write(tmp_path / "f.tif", floats), dst_crs="EPSG:25833").mean() < 0.55


def test_like_in_another_crs_warps(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(200, 200))
    x, y = Transformer.from_crs(32632, 25833, always_xy=True).transform(500_050, 5_599_950)
    like = write(
        tmp_path / "like.tif",
        texture(20, 20),
        crs="EPSG:25833",
        transform=Affine(1, 0, x - 10, 0, -1, y + 10),
    )
    opened = scene(path, like=like)
    assert opened.output_grid.crs == CRS.from_epsg(25833)
    assert opened.output_grid.shape == (20, 20)
    with opened.open_reader() as reader:
        assert reader.valid(Window(0, 0, 20, 20)).all()


def polygon(path: Path, ring: list[tuple[float, float]], crs: int | None = None) -> Path:
    document = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        ],
    }
    if crs is not None:
        document["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs}"}}
    path.write_text(json.dumps(document))
    return path


TRIANGLE = [
    (500_005.1, 5_599_995.2),
    (500_027.3, 5_599_990.4),
    (500_012.2, 5_599_972.8),
    (500_005.1, 5_599_995.2),
]


@pytest.mark.parametrize("work_gsd", [0.25, 0.5, 1.5])
def test_aoi_leaves_pixels_outside_as_nodata(tmp_path: Path, work_gsd: float) -> None:
    path = write(tmp_path / "a.tif", texture(), tiled=True, blockxsize=16, blockysize=16)
    opened = scene(path, aoi=polygon(tmp_path / "aoi.geojson", TRIANGLE, 32632), work_gsd=work_gsd)
    oracle = rasterize(
        [{"type": "Polygon", "coordinates": [TRIANGLE]}],
        out_shape=opened.output_grid.shape,
        transform=opened.output_grid.transform,
    ).astype(bool)
    assert opened.output_grid.width < 50, "only the part around the polygon is mapped"
    with opened.open_reader() as reader:
        assert (reader.valid(opened.output_grid.window) == oracle).all()


def test_aoi_in_another_crs(tmp_path: Path) -> None:
    transformer = Transformer.from_crs(32632, 4326, always_xy=True)
    lonlat = [transformer.transform(x, y) for x, y in TRIANGLE]
    path = write(tmp_path / "a.tif", texture())
    same = valid(path, aoi=polygon(tmp_path / "a.geojson", TRIANGLE, 32632))
    other = valid(path, aoi=polygon(tmp_path / "b.geojson", lonlat))
    assert same.shape == other.shape
    assert (same != other).sum() <= 3


def test_styles_kept_beside_the_polygons_are_no_layer_of_theirs(tmp_path: Path) -> None:
    path, area = write(tmp_path / "a.tif", texture()), tmp_path / "aoi.gpkg"
    same = valid(path, aoi=polygon(tmp_path / "a.geojson", TRIANGLE, 32632))
    record = {"geometry": {"type": "Polygon", "coordinates": [TRIANGLE]}, "properties": {}}
    schema = {"geometry": "Polygon", "properties": {}}
    with fiona.open(area, "w", layer="part", driver="GPKG", crs="EPSG:32632", schema=schema) as out:
        out.write(record)
    for table in ("layer_styles", "qgis_projects"):  # as QGIS and rsov save them
        with fiona.open(
            area, "w", driver="GPKG", layer=table, schema={"geometry": "None", "properties": {"name": "str"}}
        ):
            pass
    assert (valid(path, aoi=area) == same).all()
    with fiona.open(area, "w", layer="other", driver="GPKG", crs="EPSG:32632", schema=schema) as out:
        out.write(record)
    with pytest.raises(InputError) as caught:
        valid(path, aoi=area)
    assert caught.value.what.endswith("has 2 layers: part, other")


def test_an_area_may_be_far_larger_than_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    world = [(-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)]
    assert valid(path, aoi=polygon(tmp_path / "world.geojson", world)).all()
    far = polygon(tmp_path / "far.geojson", [(0, 0), (1e308, 0), (0, 1e308), (0, 0)], 32632)
    with contextlib.suppress(InputError):  # whether numbers of this size can be cut is GEOS' affair
        scene(path, aoi=far)
    opened = scene(path, bounds=(-180, -90, 180, 90), bounds_crs="EPSG:4326")
    assert opened.output_grid == scene(path).grid


def test_like_a_grid_that_runs_the_other_way_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    height = texture().shape[1]
    flipped = write(
        tmp_path / "b.tif", texture(), transform=UTM * Affine.translation(0, height) * Affine.scale(1, -1)
    )
    with pytest.raises(InputError, match="runs the other way"):
        scene(path, like=flipped)


def test_a_part_beside_the_picture_is_refused_with_what_the_picture_covers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    with rasterio.open(path) as file:
        bounds, width, height = file.bounds, file.width, file.height
    with pytest.raises(InputError) as caught:
        scene(path, window=Window(width, 0, 5, 5))
    assert caught.value.id == "E-crop"
    assert f"{width} columns and {height} rows" in caught.value.fix
    with pytest.raises(InputError) as caught:
        scene(path, bounds=(1, 2, 3, 4))
    assert caught.value.id == "E-crop"
    assert f"{','.join(f'{edge:.10g}' for edge in bounds)} (EPSG:32632)" in caught.value.fix
    far = write(tmp_path / "far.tif", texture(), transform=Affine.translation(9e4, 0) @ UTM)
    with pytest.raises(InputError, match="does not touch") as caught:
        scene(path, like=far)
    assert "(EPSG:32632)" in caught.value.fix


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:31467"])
def test_what_the_picture_covers_is_said_in_the_crs_of_the_bounds(tmp_path: Path, crs: str) -> None:
    """The numbers of the message, given back, name the whole picture."""
    path = write(tmp_path / "a.tif", texture())
    with pytest.raises(InputError) as caught:
        scene(path, bounds=(1, 2, 3, 4), bounds_crs=crs)
    text, _, named = caught.value.fix.rpartition(": ")[2].partition(" ")
    assert named == f"({crs})"
    told = tuple(float(number) for number in text.split(","))
    to_crs = Transformer.from_crs(32632, crs, always_xy=True)
    assert told == pytest.approx(to_crs.transform_bounds(500_000, 5_599_968, 500_032, 5_600_000), rel=1e-8)
    assert scene(path, bounds=told, bounds_crs=crs).region == scene(path).grid.window


def test_what_a_warped_picture_covers_is_said_in_the_crs_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    with pytest.raises(InputError) as caught:
        scene(path, bounds=(1, 2, 3, 4), dst_crs="EPSG:4326")
    assert caught.value.fix.endswith(" (EPSG:32632)")
    assert ": 500000,5599967" in caught.value.fix


def test_a_missing_grid_is_named_with_its_option(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", texture())
    with pytest.raises(InputError) as caught:
        scene(path, like=tmp_path / "orhto.tif")
    assert (caught.value.id, caught.value.where) == ("E-input-missing", "--like")
    assert "did you mean ortho.tif" in caught.value.fix
    with pytest.raises(InputError) as caught:
        scene(path, like=write(tmp_path / "b.tif", texture(), crs=None))
    assert caught.value.id == "E-like"
    assert "georeferenced" in caught.value.fix


def test_aoi_keeps_the_picture_around_it_for_the_model(tmp_path: Path) -> None:
    data = texture()
    path = write(tmp_path / "a.tif", data)
    opened = scene(path, aoi=polygon(tmp_path / "aoi.geojson", TRIANGLE, 32632))
    with opened.open_reader() as reader:
        pixels = reader.read(Window(0, 0, opened.work.width, opened.work.height))
    assert (pixels.data == data).all()


def test_bad_areas_of_interest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    far = polygon(tmp_path / "far.geojson", [(0, 0), (1, 0), (1, 1), (0, 0)])
    with pytest.raises(InputError) as caught:
        scene(path, aoi=far)
    assert caught.value.id == "E-aoi-overlap"
    assert "does not touch the picture" in caught.value.what
    corner = polygon(tmp_path / "corner.geojson", TRIANGLE, 32632)
    for part in ({"window": Window(62, 62, 2, 2)}, {"bounds": (500_031, 5_599_968, 500_032, 5_599_969)}):
        with pytest.raises(InputError) as caught:
            scene(path, aoi=corner, **part)
        assert caught.value.id == "E-aoi-overlap"
        assert "--bounds or --window" in caught.value.what
    assert caught.value.fix
    (tmp_path / "text.geojson").write_text("nothing")
    for no_vectors in (tmp_path / "text.geojson", path, tmp_path):
        with pytest.raises(InputError) as caught:
            scene(path, aoi=no_vectors)
        assert caught.value.id == "E-aoi"
        assert "GeoPackage" in caught.value.fix
        assert "flags" not in caught.value.why  # GDAL's own words help nobody
    with pytest.raises(InputError, match="does not exist") as caught:
        scene(path, aoi=tmp_path / "far.gpkg")
    assert caught.value.where == "--aoi"
    assert "far.geojson" in caught.value.fix
    with pytest.raises(InputError) as caught:
        scene(write(tmp_path / "b.tif", texture(), crs=None), aoi=far)
    assert caught.value.id == "E-aoi-crs"
    assert "--crs" in caught.value.fix


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "int64", "uint64"]
)
def test_warped_pictures_of_every_type_know_where_they_are(tmp_path: Path, dtype: str) -> None:
    mask = valid(write(tmp_path / "a.tif", (texture(100, 100) % 100).astype(dtype)), dst_crs="EPSG:25833")
    assert mask[40:60, 40:60].all()
    assert not mask[0, 0]
    assert 0.6 < mask.mean() < 0.99


def test_warped_internal_masks_and_palettes(tmp_path: Path) -> None:
    inner = np.full((100, 100), 255, np.uint8)
    inner[:50] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "m.tif", texture(100, 100), after=lambda out: out.write_mask(inner))
    assert 0.3 < valid(path, dst_crs="EPSG:25833").mean() < 0.55
    indices = (texture(100, 100, 1) % 4).astype(np.uint8)
    colours = {0: (10, 20, 30, 255), 1: (200, 100, 50, 255), 2: (0, 255, 0, 255), 3: (1, 2, 3, 255)}
    path = write(
        tmp_path / "p.tif", indices, photometric="PALETTE", after=lambda out: out.write_colormap(1, colours)
    )
    pixels = read(path, dst_crs="EPSG:25833")
    found = set(map(tuple, pixels.data[:, pixels.valid].T.tolist()))
    assert found == {colour[:3] for colour in colours.values()}, "colour numbers are not interpolated"


def test_near_infrared_tagged_as_alpha_cannot_be_warped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(100, 100, 4), alpha="YES")
    notices = Notices()
    with pytest.raises(InputError) as caught:
        scene(path, notices, dst_crs="EPSG:25833")
    assert caught.value.id == "E-warp-alpha"
    assert "-b 1 -b 2 -b 3" in caught.value.fix


def test_a_part_of_a_picture_is_scaled_like_the_whole(tmp_path: Path) -> None:
    """Maps of neighbouring parts meet only if both were made with the radiometry of the whole picture."""
    data = np.concatenate([texture(200, 150) // 4, texture(200, 150) // 4 + 150], axis=2)
    path = write(tmp_path / "a.tif", data)
    dark = Window(0, 0, 100, 100)
    assert scene(path, scale="auto", window=dark).radiometry == scene(path, scale="auto").radiometry
