"""Raster zoo: block layouts, sizes, and the grids that options ask for (robustness.md, Z40-Z46, M22)."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import reproject
from skimage.measure import block_reduce

from rsov.errors import InputError, ResourceError, UsageError
from rsov.raster.scene import _mirrored
from rsov.raster.workgrid import choose_scale, work_grid
from rsov.types import Grid, Notices, Window
from tests.support.rasters import UTM, ids, read, scene, texture, valid, write

if TYPE_CHECKING:
    from pathlib import Path


def test_Z40_band_interleaved_gives_the_same(tmp_path: Path) -> None:
    data = texture(300, 280)
    a = write(tmp_path / "a.tif", data, interleave="band", compress="DEFLATE")
    b = write(tmp_path / "b.tif", data, interleave="pixel", compress="DEFLATE")
    assert (read(a).data == read(b).data).all()
    assert (read(a).data == data).all()


def test_Z41_bigtiff_with_data_beyond_4_gib(tmp_path: Path) -> None:
    """A sparse file on disk: the only tile that is read lies behind byte 2^32."""
    path = tmp_path / "big.tif"
    options = {
        "width": 65536,
        "height": 65536,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": 4096,
        "blockysize": 4096,
    }
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        **options,
        bigtiff="YES",
        sparse_ok=True,
        crs="EPSG:32632",
        transform=UTM,
        photometric="RGB",
        nodata=0,
    ) as out:
        out.write(texture(64, 64), window=((0, 64), (0, 64)))
    move_block(path, (5 << 30) + 4096)
    assert path.stat().st_size > 5 << 30
    pixels = read(path, Window(0, 0, 64, 64))
    assert (pixels.data == texture(64, 64)).all()
    assert pixels.valid.all()


def move_block(path: Path, target: int) -> None:
    """Move the first block of the file to ``target`` (a hole in between) and point the directory there."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[324]
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
        place = tag.valueoffset
        width = 8 if file.is_bigtiff else 4
    with path.open("r+b") as raw:
        raw.seek(offset)
        block = raw.read(count)
        raw.seek(target)
        raw.write(block)
        raw.seek(place)
        raw.write(target.to_bytes(width, "little"))


def test_Z42_classic_tiff_at_the_4_gib_edge(tmp_path: Path) -> None:
    path = tmp_path / "edge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=1024, height=1024, count=3, dtype="uint8", tiled=True, blockxsize=512, blockysize=512,
        sparse_ok=True, crs="EPSG:32632", transform=UTM, photometric="RGB", nodata=0, bigtiff="NO",
    ) as out:  # fmt: skip
        out.write(texture(512, 512), window=((0, 512), (0, 512)))
    move_block(path, (1 << 32) - 512 * 512 * 3)
    assert path.stat().st_size == 1 << 32
    assert (read(path, Window(0, 0, 512, 512)).data == texture(512, 512)).all()
    with path.open("r+b") as file:
        file.truncate((1 << 32) - 1)
    with pytest.raises(InputError, match="cut off"):
        scene(path)


BLOCKS = st.one_of(
    st.just({"tiled": False, "blockysize": 1}),
    st.builds(lambda rows: {"tiled": False, "blockysize": rows}, st.integers(1, 120)),
    st.builds(
        lambda w, h: {"tiled": True, "blockxsize": 16 * w, "blockysize": 16 * h},
        st.integers(1, 20),
        st.integers(1, 20),
    ),
)


@settings(max_examples=25, deadline=None)
@given(BLOCKS, st.integers(0, 90), st.integers(0, 90), st.sampled_from([0.25, 0.5, 1.3]), st.booleans())
def test_Z43_every_block_layout_gives_the_same_pixels(
    tmp_path_factory: pytest.TempPathFactory,
    block: dict[str, int],
    col: int,
    row: int,
    work_gsd: float,
    masked: bool,
) -> None:
    folder = tmp_path_factory.mktemp("z43")
    data = texture(113, 131)
    data[:, :20, :30] = 0
    nodata = 0 if masked else None
    reference = read(write(folder / "ref.tif", data, nodata=nodata), work_gsd=work_gsd)
    path = write(folder / "a.tif", data, nodata=nodata, compress="DEFLATE", **block)
    part = read(path, Window(col, row, 40, 40), work_gsd=work_gsd)
    if work_gsd == 0.5:
        assert (reference.data[:, 30:, 40:] == data[:, 30:, 40:]).all()
    width, height = reference.data.shape[2], reference.data.shape[1]
    inside_x, inside_y = min(40, width - col), min(40, height - row)
    if inside_x > 0 and inside_y > 0:
        expected = reference.data[:, row : row + inside_y, col : col + inside_x]
        assert (part.data[:, :inside_y, :inside_x] == expected).all()
        assert (
            part.valid[:inside_y, :inside_x] == reference.valid[row : row + inside_y, col : col + inside_x]
        ).all()
    expected_valid = (data != 0).all(0) if masked else np.ones((113, 131), bool)
    assert (valid(path, work_gsd=work_gsd) == expected_valid).all()


def test_Z43_wide_strips_and_8192_tiles(tmp_path: Path) -> None:
    data = texture(40, 9000, 1)
    for options in (
        {"tiled": False, "blockysize": 1},
        {"tiled": True, "blockxsize": 8192, "blockysize": 8192},
        {"tiled": True, "blockxsize": 240, "blockysize": 400},
    ):
        path = write(tmp_path / "a.tif", data, **options)
        pixels = read(path, Window(8100, 3, 500, 30), bands=(1, 1, 1))
        assert (pixels.data[:1] == data[:, 3:33, 8100:8600]).all()


def test_Z44_100000_squared_sparse(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    side = 100_000
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", tiled=True, blockxsize=512, blockysize=512, sparse_ok=True,
        crs="EPSG:32632", transform=UTM, nodata=0, photometric="RGB", bigtiff="YES",
    ) as out:  # fmt: skip
        out.write(texture(512, 512), window=((side - 672, side - 160), (0, 512)))
    start = time.monotonic()
    opened = scene(path)
    skipped = sum(
        opened.empty(Window(c, r, 512, 512)) is True
        for r in range(0, side, 3840)
        for c in range(0, side, 3840)
    )
    assert time.monotonic() - start < 2.5
    assert skipped > 700
    corner = scene(path, window=Window(0, side - 672, 512, 512))
    assert corner.output_grid.shape == (512, 512)
    with corner.open_reader() as reader:
        assert (reader.read(corner.region).data == texture(512, 512)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (2, 3), (3, 2), (1, 5000)])
@pytest.mark.parametrize("work_gsd", [0.125, 0.5, 2.0])
def test_Z45_smaller_than_a_tile(tmp_path: Path, shape: tuple[int, int], work_gsd: float) -> None:
    data = texture(*shape)
    path = write(tmp_path / "a.tif", data)
    opened = scene(path, work_gsd=work_gsd)
    assert opened.output_grid.shape == shape
    with opened.open_reader() as reader:
        pixels = reader.read(Window(0, 0, 64, 64))
        assert pixels.data.shape == (3, 64, 64)
        assert pixels.valid.sum() == min(64, opened.work.width) * min(64, opened.work.height)
        assert reader.valid(opened.output_grid.window).all()
    if work_gsd == 0.5:
        padded = np.pad(
            data, ((0, 0), (0, max(0, 64 - shape[0])), (0, max(0, 64 - shape[1]))), mode="symmetric"
        )
        assert (pixels.data == padded[:, :64, :64]).all()


@given(st.integers(-300, 300), st.integers(1, 200), st.integers(1, 60))
def test_Z45_mirroring_is_numpys_symmetric_padding(start: int, count: int, size: int) -> None:
    padded = np.pad(np.arange(size), 600, mode="symmetric")
    assert (_mirrored(start, count, size) == padded[600 + start : 600 + start + count]).all()


@pytest.mark.parametrize("side", [512, 513])
def test_Z46_one_tile_and_one_pixel_more(tmp_path: Path, side: int) -> None:
    data = texture(side, side)
    path = write(tmp_path / "a.tif", data)
    opened = scene(path)
    assert opened.work.width == side
    assert opened.empty(Window(side, 0, 512, 512)) is True
    with opened.open_reader() as reader:
        last = reader.read(Window(side - 1, side - 1, 512, 512))
    assert last.valid.sum() == 1
    assert (last.data[:, 0, 0] == data[:, -1, -1]).all()
    assert (last.data[:, 1, 0] == data[:, -1, -1]).all(), "mirrored: the border pixel comes twice"


def test_M22_single_block_of_20000_squared(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=20_000, height=20_000, count=3, dtype="uint8", blockysize=20_000, compress="DEFLATE", sparse_ok=True,
        photometric="RGB", crs="EPSG:32632", transform=UTM,
    ):  # fmt: skip
        pass
    with pytest.raises(ResourceError) as caught:
        scene(path)
    assert caught.value.id == "E-input-block-size"
    assert "20000 x 20000" in caught.value.what


# --- the work grid


def average(data: np.ndarray, factor: int) -> np.ndarray:
    """scikit-image's mean over blocks."""
    return block_reduce(data.astype(np.float64), (1, factor, factor), np.mean)


def test_finer_pictures_are_area_averaged_from_full_resolution(tmp_path: Path) -> None:
    data = texture(600, 640)
    path = write(
        tmp_path / "a.tif",
        data,
        transform=Affine(0.1, 0, 500_000, 0, -0.1, 5_600_000),
        tiled=True,
        blockxsize=128,
        blockysize=128,
    )
    opened = scene(path)
    assert (opened.work.scale_x, opened.work.scale_y) == (5.0, 5.0)
    pixels = read(path)
    assert pixels.data.shape == (3, 120, 128)
    assert np.abs(pixels.data - average(data, 5)).max() <= 0.51


def test_area_average_counts_only_valid_pixels(tmp_path: Path) -> None:
    data = np.full((3, 40, 40), 200, np.uint8)
    data[:, :, :7] = 0
    path = write(tmp_path / "a.tif", data, nodata=0, transform=Affine(0.1, 0, 500_000, 0, -0.1, 5_600_000))
    pixels = read(path)
    assert pixels.valid[0].tolist() == [False, True, *[True] * 6]
    assert (pixels.data[:, :, 1:] == 200).all()
    assert valid(path).sum() == 33 * 40, "the output keeps the resolution of the input"


def test_area_average_with_a_broken_factor_keeps_the_mean(tmp_path: Path) -> None:
    data = texture(300, 300)
    path = write(tmp_path / "a.tif", data, transform=Affine(0.23, 0, 500_000, 0, -0.23, 5_600_000))
    opened = scene(path)
    assert opened.work.scale_x == pytest.approx(0.5 / 0.23, rel=1e-3)
    pixels = read(path)
    assert abs(pixels.data.shape[1] - 300 * 0.23 / 0.5) <= 1
    assert pixels.data.mean() == pytest.approx(data.mean(), abs=0.5)


def test_coarser_pictures_are_enlarged_bilinearly(tmp_path: Path) -> None:
    ramp = np.broadcast_to((np.arange(50) * 4 + 20).astype(np.uint8), (3, 30, 50)).copy()
    path = write(tmp_path / "a.tif", ramp, transform=Affine(2, 0, 500_000, 0, -2, 5_600_000))
    notices = Notices()
    opened = scene(path, notices)
    assert (opened.work.scale_x, opened.work.scale_y) == (0.5, 0.5)
    assert ids(notices) == []
    row = read(path).data[0, 5].astype(float)
    expected = np.interp((np.arange(100) + 0.5) / 2 - 0.5, np.arange(50), ramp[0, 0])
    assert np.abs(row - expected).max() <= 0.51


def test_enlarging_does_not_mix_in_nodata(tmp_path: Path) -> None:
    data = np.full((3, 20, 20), 90, np.uint8)
    data[:, :, :10] = 255
    pixels = read(
        write(tmp_path / "a.tif", data, nodata=255, transform=Affine(4, 0, 500_000, 0, -4, 5_600_000))
    )
    assert set(np.unique(pixels.data[:, pixels.valid])) == {90}
    assert pixels.valid.mean() == 0.5


def test_gsd_rule() -> None:
    def scale(gsd: float, work: float | None = None) -> tuple[float, list[str]]:
        notices = Notices()
        return choose_scale((gsd, gsd), 0.5, (0.25, 1.0), work, notices)[0], ids(notices)

    assert scale(0.5) == (1.0, [])
    assert scale(0.3) == (1.0, [])
    assert scale(0.2499) == (1.0, [])
    assert scale(0.9) == (1.0, [])
    assert scale(0.1) == (5.0, [])
    assert scale(2.0) == (0.5, [])
    assert scale(3.0) == (1 / 3, ["W-coarse-gsd"])
    assert scale(10.0) == (0.25, ["W-coarse-gsd"])
    assert scale(0.5, 1.0) == (2.0, [])
    assert scale(1000.0, 0.5) == (0.25, ["W-work-gsd"])
    assert choose_scale(None, 0.5, (0.25, 1.0), None, Notices()) == (1.0, 1.0)


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0.25, 40), st.integers(5, 700))
def test_work_windows_own_every_source_pixel_once(size: int, scale: float, step: int) -> None:
    work = work_grid(size, size, (scale, scale))
    edges = [0]
    for start in range(0, work.width, step):
        owned = work.owned(Window(start, 0, min(step, work.width - start), 1), size, size)
        support = work.support(Window(start, 0, min(step, work.width - start), 1), size, size)
        assert owned.col == edges[-1]
        assert support.col <= owned.col or owned.width == 0
        edges.append(owned.right)
    assert edges[-1] == size


# --- parts and output grids


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
    (tmp_path / "text.geojson").write_text("nothing")
    with pytest.raises(InputError):
        scene(path, aoi=tmp_path / "text.geojson")
    with pytest.raises(InputError):
        scene(path, aoi=tmp_path / "missing.gpkg")
    with pytest.raises(InputError) as caught:
        scene(write(tmp_path / "b.tif", texture(), crs=None), aoi=far)
    assert caught.value.id == "E-aoi-crs"


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


def test_work_gsd_without_a_known_gsd_counts_from_the_models(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", texture(), driver="PNG", crs=None, transform=None)
    assert scene(path, work_gsd=1.0).work.width == 32
    notices = Notices()
    assert scene(path, notices, work_gsd=0.01).work.width == 256
    assert "W-work-gsd" in ids(notices)


def test_one_large_uncompressed_strip_is_read_by_rows(tmp_path: Path) -> None:
    data = texture(2000, 3000)
    path = write(tmp_path / "a.tif", data, blockysize=2000)
    assert (read(path, Window(2500, 1900, 500, 100), memory=1 << 20).data == data[:, 1900:, 2500:]).all()


def test_a_part_of_a_picture_is_scaled_like_the_whole(tmp_path: Path) -> None:
    """Maps of neighbouring parts meet only if both were made with the radiometry of the whole picture."""
    data = np.concatenate([texture(200, 150) // 4, texture(200, 150) // 4 + 150], axis=2)
    path = write(tmp_path / "a.tif", data)
    dark = Window(0, 0, 100, 100)
    assert scene(path, scale="auto", window=dark).radiometry == scene(path, scale="auto").radiometry
