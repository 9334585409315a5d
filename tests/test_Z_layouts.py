"""Raster zoo: how pixels lie in a file, and how large it is (robustness.md, Z40-Z46, M22, M25)."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from rsov.errors import InputError, ResourceError
from rsov.raster.preflight import check_source
from rsov.raster.scene import _mirrored
from rsov.raster.scene_options import ReadOptions
from rsov.types import Notices, Window
from tests.support.rasters import UTM, read, scene, texture, valid, write

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
        check_source(path, ReadOptions(), Notices())  # by the directory alone, before anything is read


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
    assert opened.filled < 1e-3
    assert scene(write(tmp_path / "whole.tif", texture())).filled == 1
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


def test_one_large_uncompressed_strip_is_read_by_rows(tmp_path: Path) -> None:
    data = texture(2000, 3000)
    path = write(tmp_path / "a.tif", data, blockysize=2000)
    assert (read(path, Window(2500, 1900, 500, 100), memory=1 << 20).data == data[:, 1900:, 2500:]).all()


def test_M25_only_used_bands_cost_memory(tmp_path: Path) -> None:
    """A band-interleaved file of 200 bands is read through three of them."""
    path = tmp_path / "many.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=256,
        height=256,
        count=200,
        dtype="uint16",
        interleave="band",
        tiled=True,
        blockxsize=128,
        blockysize=128,
    ) as out:
        for band in (100, 150, 200):
            out.write(texture(256, 256, 1, band, "uint16")[0], band)
    opened = scene(path, bands=(200, 150, 100))
    with opened.open_reader() as reader:
        data = reader.read(Window(0, 0, 256, 256)).data
        raw, _ = opened.decoder.raw.read(reader._dataset(), Window(0, 0, 256, 256))
    assert raw.shape == (3, 256, 256)
    assert (data[0] == texture(256, 256, 1, 200, "uint16")[0]).all()


@pytest.mark.parametrize("layout", ["band", "pixel"])
def test_M25_unused_bands_count_only_where_they_lie_in_the_blocks_of_the_used_ones(
    tmp_path: Path, layout: str
) -> None:
    """Pixel-interleaved blocks hold all bands and are decoded whole; what is kept of them are the used ones."""
    peaks = []
    for count in (3, 8, 64):
        data = texture(256, 256, count)
        path = write(
            tmp_path / f"{count}.tif", data, interleave=layout, compress="DEFLATE",
            tiled=True, blockxsize=128, blockysize=128,
        )  # fmt: skip
        needed = 4 * 128 * 128 * (count if layout == "pixel" else 1)
        with pytest.raises(ResourceError):
            scene(path, bands=(1, 2, 3), memory=needed - 1)
        assert (read(path, bands=(1, 2, 3)).data == data[:3]).all()  # and kernels are compiled
        opened = scene(path, bands=(1, 2, 3), memory=needed)
        with opened.open_reader() as reader:
            tracemalloc.start()
            reader.read(Window(0, 0, 256, 256))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert max(peaks) < 1.1 * min(peaks)
