"""Raster zoo: where a picture lies and how large its pixels are (robustness.md, Z01-Z19, Z49, Z50, Z55, Z57)."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC

from rsov.errors import InputError, UsageError
from rsov.jobs.options import PredictOptions
from rsov.raster.area import pixel_area
from rsov.types import Grid, Notices, Window
from tests.support.rasters import UTM, ids, read, scene, texture, write

LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'


def test_Z01_crs_missing_but_transform_present(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(), crs=None)
    notices = Notices()
    opened = scene(path, notices)
    assert opened.gsd == (0.5, 0.5)
    assert opened.grid.crs is None
    assert opened.grid.transform == UTM
    assert ids(notices) == ["W-no-crs"]
    assert "metres" in opened.info()["gsd_from"]
    assert pixel_area(opened.grid, Window(0, 0, 1, 1)) is None
    stated = scene(path, crs="EPSG:32632")
    assert stated.grid.crs == CRS.from_epsg(32632)


def test_Z01_degrees_without_crs_are_not_taken_as_metres(tmp_path: Path) -> None:
    notices = Notices()
    opened = scene(
        write(tmp_path / "a.tif", texture(), crs=None, transform=Affine(1e-5, 0, 9, 0, -1e-5, 50)), notices
    )
    assert opened.gsd is None
    assert ids(notices) == ["W-no-gsd"]
    assert opened.work.native


def test_Z02_no_georeference_at_all(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write(path, texture(), driver="PNG", crs=None, transform=None)
    notices = Notices()
    opened = scene(path, notices)
    assert opened.gsd is None
    assert opened.work.native
    assert ids(notices) == ["W-no-gsd"]
    assert opened.grid.transform == Affine.identity()
    assert scene(path, gsd=0.1).work.width == math.ceil(64 / 5)


def test_Z03_geographic_crs_gsd_in_metres_at_the_centre(tmp_path: Path) -> None:
    opened = scene(
        write(tmp_path / "a.tif", texture(), crs="EPSG:4326", transform=Affine(1e-5, 0, 9, 0, -1e-5, 60))
    )
    geod = Geod(ellps="WGS84")
    lat = 60 - 32e-5
    east = geod.inv(9, lat, 9 + 1e-5, lat)[2]
    north = geod.inv(9, lat, 9, lat + 1e-5)[2]
    assert opened.gsd == pytest.approx((east, north), rel=1e-6)
    area = (
        abs(
            geod.polygon_area_perimeter(
                [9, 9.01, 9.01, 9], [lat - 0.005, lat - 0.005, lat + 0.005, lat + 0.005]
            )[0]
        )
        / 1e6
    )
    assert pixel_area(opened.grid, Window(0, 0, 64, 64)) == pytest.approx(area, rel=1e-5)


def test_Z04_geographic_crs_with_metre_coordinates(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        scene(write(tmp_path / "a.tif", texture(), crs="EPSG:4326", transform=UTM))
    assert caught.value.id == "E-input-degrees"
    assert "metres" in caught.value.why


@pytest.mark.parametrize(("top", "step"), [(90.2, 0.1), (90.5, 1e-3), (91.2, 1.1), (-88.9, 0.1)])
def test_Z04_degrees_beyond_a_pole_are_refused(tmp_path: Path, top: float, step: float) -> None:
    """By more than the pixel that grids of the whole world reach beyond it; as a picture and as --like."""
    rows = 20 if step < 1 else 1
    place = Affine(step, 0, 10, 0, -step, top)
    path = write(tmp_path / "a.tif", texture(rows, 20), crs="EPSG:4326", transform=place)
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-input-degrees"
    place = Affine(0.01, 0, 10, 0, -0.01, 89.9 if top > 0 else -89.8)
    picture = write(tmp_path / "p.tif", texture(20, 20), crs="EPSG:4326", transform=place)
    with pytest.raises(InputError) as caught:
        scene(picture, like=path)
    assert caught.value.id == "E-like"


@pytest.mark.parametrize(
    ("epsg", "x", "y", "foot"),
    [
        (2263, 980_000, 200_000, 1200 / 3937),
        (2225, 6_000_000, 2_000_000, 1200 / 3937),
        (2222, 700_000, 900_000, 0.3048),
    ],
)
def test_Z05_feet(tmp_path: Path, epsg: int, x: float, y: float, foot: float) -> None:
    opened = scene(
        write(tmp_path / "a.tif", texture(), crs=f"EPSG:{epsg}", transform=Affine(2, 0, x, 0, -2, y))
    )
    assert opened.gsd == pytest.approx((2 * foot, 2 * foot), rel=5e-4)
    assert pixel_area(opened.grid, opened.grid.window) == pytest.approx((2 * foot) ** 2, rel=1e-3)


def test_Z06_custom_crs_without_a_code(tmp_path: Path) -> None:
    local = scene(write(tmp_path / "a.tif", texture(), crs=LOCAL))
    assert local.gsd == (0.5, 0.5)
    assert local.grid.crs is not None
    assert local.grid.crs.to_epsg() is None
    assert pixel_area(local.grid, local.grid.window) == pytest.approx(0.25)
    assert "site grid" in local.info()["crs"]
    custom = "+proj=tmerc +lat_0=0 +lon_0=27.3 +k=1 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"
    opened = scene(
        write(tmp_path / "b.tif", texture(), crs=custom, transform=Affine(0.5, 0, 1000, 0, -0.5, -2_800_000))
    )
    assert pyproj.CRS(opened.grid.crs.to_wkt()).equals(pyproj.CRS(custom), ignore_axis_order=True)
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=1e-4)


def test_Z07_compound_crs(tmp_path: Path) -> None:
    opened = scene(write(tmp_path / "a.tif", texture(), crs="EPSG:32632+5773"))
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert pixel_area(opened.grid, opened.grid.window) == pytest.approx(0.25, rel=2e-3)


@pytest.mark.parametrize(("lon", "lat"), [(37, -1), (-71, -33)])
def test_Z08_axis_order_kenya_and_chile(tmp_path: Path, lon: float, lat: float) -> None:
    """Longitude is x: the pixel is as wide as at its latitude, not at its longitude."""
    opened = scene(
        write(tmp_path / "a.tif", texture(), crs="EPSG:4326", transform=Affine(1e-5, 0, lon, 0, -1e-5, lat))
    )
    assert opened.gsd is not None
    assert opened.gsd[0] / opened.gsd[1] == pytest.approx(math.cos(math.radians(lat)), rel=1e-2)


def test_Z09_rotated_transform(tmp_path: Path) -> None:
    transform = Affine.translation(500_000, 5_600_000) * Affine.rotation(30) * Affine.scale(0.5, -0.5)
    data = texture()
    path = write(tmp_path / "a.tif", data, transform=transform)
    opened = scene(path)
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert opened.grid.transform.almost_equals(transform)
    assert (read(path).data == data).all()
    assert pixel_area(opened.grid, opened.grid.window) == pytest.approx(0.25, rel=2e-3)
    part = scene(path, window=Window(10, 20, 30, 15))
    assert part.output_grid.transform @ (0, 0) == pytest.approx(transform * (10, 20))


@pytest.mark.parametrize("flip", [(0.5, 0.5), (-0.5, -0.5), (-0.5, 0.5)], ids=["Z10", "Z11", "both"])
def test_Z10_Z11_south_up_and_mirrored(tmp_path: Path, flip: tuple[float, float]) -> None:
    transform = Affine(flip[0], 0, 500_000, 0, flip[1], 5_600_000)
    data = texture()
    path = write(tmp_path / "a.tif", data, transform=transform)
    opened = scene(path)
    assert opened.output_grid.transform == transform
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert (read(path).data == data).all(), "pixels stay as stored"
    left, bottom, right, top = rasterio.transform.array_bounds(64, 64, transform)
    inside = (min(left, right) + 4, min(bottom, top) + 4, max(left, right) - 4, max(bottom, top) - 4)
    assert scene(path, bounds=inside).output_grid.shape == (48, 48)


@pytest.mark.parametrize("pixel", [math.nan, math.inf])
def test_Z12_impossible_pixel_size(tmp_path: Path, pixel: float) -> None:
    with pytest.raises(InputError) as caught:
        scene(write(tmp_path / "a.tif", texture(), transform=Affine(pixel, 0, 500_000, 0, -0.5, 5_600_000)))
    assert caught.value.id == "E-input-transform"


def with_points(path: Path, count: int = 4) -> np.ndarray:
    corners = [(0, 0), (0, 64), (64, 0), (64, 64)][:count]
    points = [
        GroundControlPoint(row=r, col=c, x=500_000 + c * 0.5, y=5_600_000 - r * 0.5) for r, c in corners
    ]
    data = texture()
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8", photometric="RGB"
    ) as out:
        out.write(data)
        out.gcps = (points, CRS.from_epsg(32632))
    return data


def test_Z13_control_points_only(tmp_path: Path) -> None:
    path = tmp_path / "g.tif"
    data = with_points(path)
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-gcp"
    assert "--gcp warp|keep|ignore" in caught.value.fix
    notices = Notices()
    ignored = scene(path, notices, gcp="ignore")
    assert ignored.grid.crs is None
    assert ids(notices) == ["W-no-gsd"]
    assert (read(path, gcp="ignore").data == data).all()
    kept = scene(path, gcp="keep")
    assert len(kept.place.gcps) == 4
    assert kept.place.gcps_crs == CRS.from_epsg(32632)


def test_Z13_control_points_warped(tmp_path: Path) -> None:
    path = tmp_path / "g.tif"
    data = with_points(path)
    opened = scene(path, gcp="warp")
    assert opened.grid.crs == CRS.from_epsg(32632)
    assert opened.grid.transform @ (0, 0) == pytest.approx((500_000, 5_600_000))
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=2e-2)
    pixels = read(path, gcp="warp")
    assert pixels.valid[2:-2, 2:-2].all()
    assert np.abs(pixels.data[:, 5:-5, 5:-5].astype(int) - data[:, 5:-5, 5:-5]).mean() < 8


def test_Z14_camera_model_only(tmp_path: Path) -> None:
    path = tmp_path / "r.tif"
    coefficients = [0.0] * 20
    rpc = RPC(err_bias=0, err_rand=0, height_off=0, height_scale=1, lat_off=50, lat_scale=1, line_den_coeff=[1.0, *coefficients[1:]],
              line_num_coeff=coefficients, line_off=0, line_scale=1, long_off=9, long_scale=1, samp_den_coeff=[1.0, *coefficients[1:]],
              samp_num_coeff=coefficients, samp_off=0, samp_scale=1)  # fmt: skip
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=3,
        dtype="uint8",
        photometric="RGB",
        crs="EPSG:4326",
    ) as out:
        out.write(texture())
        out.rpcs = rpc
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-rpc"
    ignored = scene(path, gcp="ignore")
    assert ignored.grid.crs is None
    assert ignored.gsd is None


def test_Z15_pixel_is_point_is_shifted_to_the_corner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.tif"
    transform = Affine(10, 0, 500_000, 0, -10, 5_600_000)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=8,
        height=8,
        count=3,
        dtype="uint8",
        crs="EPSG:32632",
        transform=transform,
    ) as out:
        out.write(texture(8, 8))
        out.update_tags(AREA_OR_POINT="Point")
    import tifffile

    with tifffile.TiffFile(path) as file:
        assert file.pages[0].tags["ModelTiepointTag"].value[3] == 500_005, "the file speaks of pixel centres"
    assert scene(path).grid.transform == transform

    assert os.environ["GTIFF_POINT_GEO_IGNORE"] == "FALSE"


def test_Z16_scene_over_the_antimeridian(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", texture(), crs="EPSG:32660", transform=Affine(0.5, 0, 833_970, 0, -0.5, 100_000)
    )
    opened = scene(path)
    assert opened.gsd == pytest.approx((0.5, 0.5), rel=2e-3)
    crop = scene(path, bounds=(179.9, -1, -179.9, 1), bounds_crs="EPSG:4326")
    assert crop.grid.shape == (64, 64)
    PredictOptions(bounds=(179.9, -1, -179.9, 1), bounds_crs="EPSG:4326")  # no error there either
    with pytest.raises(UsageError):
        scene(path, bounds=(834_000, 99_000, 833_970, 100_000), bounds_crs="EPSG:32660")


@pytest.mark.parametrize("epsg", [3413, 3031])
def test_Z17_poles(tmp_path: Path, epsg: int) -> None:
    opened = scene(
        write(tmp_path / "a.tif", texture(), crs=f"EPSG:{epsg}", transform=Affine(0.5, 0, -16, 0, -0.5, 16))
    )
    scale = 0.97 if epsg == 3413 else 0.9727
    assert opened.gsd == pytest.approx((0.5 / scale, 0.5 / scale), rel=0.02)
    area = pixel_area(opened.grid, opened.grid.window)
    assert area == pytest.approx(opened.gsd[0] * opened.gsd[1], rel=0.02)


def test_Z18_web_mercator_of_the_whole_world(tmp_path: Path) -> None:
    """A grid of the globe in degrees, poles included, is cut at 85.05 degrees when warped to Web Mercator."""
    path = write(
        tmp_path / "w.tif", texture(90, 180), crs="EPSG:4326", transform=Affine(2, 0, -180, 0, -2, 90)
    )
    opened = scene(path, dst_crs="EPSG:3857")
    top = opened.grid.transform @ (0, 0)
    bottom = opened.grid.transform @ (0, opened.grid.height)
    assert top[1] < 20_100_000
    assert bottom[1] > -20_500_000
    assert opened.grid.width < 500


@pytest.mark.parametrize("latitude", [0, 45, 60])
def test_Z19_web_mercator_gsd(tmp_path: Path, latitude: float) -> None:
    """True scale of Web Mercator on the ellipsoid: cos(lat) within its half percent."""
    y = 6378137 * math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    opened = scene(
        write(tmp_path / "a.tif", texture(), crs="EPSG:3857", transform=Affine(1, 0, 1e6, 0, -1, y))
    )
    assert opened.gsd == pytest.approx((math.cos(math.radians(latitude)),) * 2, rel=7e-3)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("jgw", "0.5\n0\n0\n-0.5\n500000.25\n5599999.75\n"),
        ("wld", "0.5\n0\n0\n-0.5\n500000.25\n5599999.75"),
        ("jgw", "0,5\n0,0\n0,0\n-0,5\n500000,25\n5599999,75\n"),
    ],
)
def test_Z49_world_files(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / "photo.jpg"
    write(path, texture(), driver="JPEG", crs=None, transform=None)
    (tmp_path / f"photo.{suffix}").write_text(text)
    notices = Notices()
    opened = scene(path, notices, crs="EPSG:32632")
    assert opened.grid.transform.almost_equals(UTM)
    assert opened.info()["georeference"] == "world file"
    assert ids(notices) == []


@pytest.mark.parametrize("text", ["0\n0\n0\n0\n500000\n5600000\n", "nan\n0\n0\nnan\n1\n1\n"])
def test_Z49_a_bad_world_file_is_refused_or_ignored_with_a_warning(tmp_path: Path, text: str) -> None:
    path = tmp_path / "photo.jpg"
    write(path, texture(), driver="JPEG", crs=None, transform=None)
    (tmp_path / "photo.jgw").write_text(text)
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.code == 3


def test_Z50_aux_xml_beside_does_not_change_the_georeference(tmp_path: Path) -> None:
    contradiction = (
        "<PAMDataset><SRS>EPSG:4326</SRS><GeoTransform>1, 2, 0, 3, 0, -2</GeoTransform>"
        '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    path = write(tmp_path / "a.tif", texture())
    Path(f"{path}.aux.xml").write_text(contradiction)
    opened = scene(path)
    assert opened.grid.transform == UTM
    assert opened.grid.crs == CRS.from_epsg(32632)
    assert opened.info()["georeference"] == "file"
    assert opened.all_valid
    bare = write(tmp_path / "b.tif", texture(), crs=None, transform=None)
    Path(f"{bare}.aux.xml").write_text(contradiction)
    told = Notices()
    assert scene(bare, notices=told).info()["georeference"] == "none"
    (message,) = [item.message for item in told.items if item.id == "W-aux-unused"]
    assert "b.tif.aux.xml beside it may say is not read" in message
    assert not list(tmp_path.glob("*.tif.aux.xml.*"))


def test_Z55_non_square_pixels_become_square_for_the_model_and_back(tmp_path: Path) -> None:
    data = np.repeat(texture(32, 64), 1, axis=1)
    path = write(tmp_path / "a.tif", data, transform=Affine(0.5, 0, 500_000, 0, -1.0, 5_600_000))
    opened = scene(path)
    assert opened.gsd == pytest.approx((0.5, 1.0), rel=1e-3)
    assert (opened.work.width, opened.work.height) == (64, 64)
    assert opened.work_gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert opened.output_grid.shape == (32, 64)
    with opened.open_reader() as reader:
        assert reader.read(Window(0, 0, 64, 64)).data.shape == (3, 64, 64)
        assert reader.valid(Window(0, 0, 64, 32)).all()


def test_Z57_acquisition_time_is_in_the_report(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif",
        texture(),
        after=lambda out: out.update_tags(
            TIFFTAG_DATETIME="2024:06:01 10:20:30", ACQUISITION_DATE="2024-06-01"
        ),
    )
    info = scene(path).info()
    assert info["times"] == {"TIFFTAG_DATETIME": "2024:06:01 10:20:30", "ACQUISITION_DATE": "2024-06-01"}
    assert json.loads(json.dumps(info)) == info
    assert "times" not in scene(write(tmp_path / "b.tif", texture())).info()


def test_stated_gsd_stands_above_the_file_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    notices = Notices()
    opened = scene(path, notices, gsd=0.1)
    assert opened.gsd == pytest.approx((0.1, 0.1), rel=1e-3)
    assert ids(notices) == ["W-gsd"]
    near = Notices()
    scene(path, near, gsd=0.51)
    assert ids(near) == []
    with pytest.raises(UsageError):
        scene(path, gsd=-1)


def test_stated_crs_stands_above_the_file_with_a_warning(tmp_path: Path) -> None:
    notices = Notices()
    assert scene(write(tmp_path / "a.tif", texture()), notices, crs="EPSG:32633").grid.crs == CRS.from_epsg(
        32633
    )
    assert ids(notices) == ["W-crs"]
    with pytest.raises(UsageError):
        scene(tmp_path / "a.tif", crs="EPSG:nonsense")


def test_pixel_area_follows_the_place(tmp_path: Path) -> None:
    grid = Grid(3600, 1800, Affine(0.1, 0, -180, 0, -0.1, 90), CRS.from_epsg(4326))
    geod = Geod(ellps="WGS84")
    for row in (900, 300, 1799):
        lat = 90 - 0.1 * row
        lats = [lat - 0.05, lat - 0.05, lat + 0.05, lat + 0.05]
        area = abs(geod.polygon_area_perimeter([9, 9.1, 9.1, 9], lats)[0])
        assert pixel_area(grid, Window(1800, row, 0, 0)) == pytest.approx(area, rel=1e-4), row
