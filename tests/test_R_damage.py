"""Reading: files that are cut, damaged, not pictures, or too large (robustness.md, R01-R16)."""

from __future__ import annotations

import hashlib
import math
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine

from rsov.errors import ExitCode, InputError, ResourceError, RsovError, UsageError
from rsov.jobs.predict import predict
from rsov.types import Notices, Window
from tests.support.models import ColourSegmenter
from tests.support.rasters import UTM, ids, read, scene, texture, valid, write


def cut(path: Path, share: float = 0.5) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_R01_truncated_strip(tmp_path: Path) -> None:
    path = write(tmp_path / "strip.tif", texture(512, 512))
    (tmp_path / "whole.tif").write_bytes(path.read_bytes())
    cut(path)
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-input-truncated"
    assert path.name in caught.value.what
    with tifffile.TiffFile(tmp_path / "whole.tif") as file:
        page = file.pages[0]
        ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    size = path.stat().st_size
    strip = next(n for n, end in enumerate(ends) if end > size)
    assert f"file has {size} bytes" in caught.value.where
    assert f"up to byte {max(ends)} " in caught.value.where
    assert f"block row {strip}, column 0 at byte {page.dataoffsets[strip]})" in caught.value.where


def test_R02_truncated_cog_is_refused_before_any_window(tmp_path: Path) -> None:
    path = tmp_path / "cog.tif"
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=1024,
        height=1024,
        count=3,
        dtype="uint8",
        crs="EPSG:32632",
        transform=UTM,
        compress="DEFLATE",
    ) as out:
        out.write(texture(1024, 1024))
    cut(path)
    with rasterio.open(path) as file:  # GDAL opens it
        assert file.count == 3
    with pytest.raises(InputError, match="cut off"):
        scene(path)


def test_R03_truncated_png(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    write(path, texture(200, 200), driver="PNG", crs=None, transform=None)
    assert read(path).data.shape == (3, 200, 200)
    with pytest.raises(InputError) as caught:
        scene(cut(path))
    assert caught.value.id == "E-input-truncated"


def test_R03_png_with_a_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    write(path, texture(200, 200), driver="PNG", crs=None, transform=None)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match="cut off or damaged"):
        scene(path)


def test_R04_truncated_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    write(path, texture(200, 200), driver="JPEG", crs=None, transform=None)
    assert read(path).data.shape == (3, 200, 200)
    with pytest.raises(InputError) as caught:
        scene(cut(path))
    assert "no end marker" in caught.value.where


def test_R04_jpeg_warnings_are_errors(tmp_path: Path) -> None:
    """A JPEG whose end marker is there but whose data are short: libjpeg only warns."""
    path = tmp_path / "p.jpg"
    write(path, texture(300, 300), driver="JPEG", crs=None, transform=None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.id == "E-input-block"


def test_R05_checksum_finds_a_flipped_bit(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.tif", texture())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(path, input_sha256=digest).any_valid
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    read(path)  # cannot be seen without a checksum
    with pytest.raises(InputError) as caught:
        scene(path, input_sha256=digest)
    assert caught.value.id == "E-input-sha256"


def test_R05_a_checksum_may_lie_in_a_file_or_beside_the_input(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.tif", texture())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    listing = tmp_path / "sums.txt"
    listing.write_text(f"{'0' * 64}  other.tif\n{digest} *plain.tif\n")
    assert read(path, input_sha256=str(listing)).any_valid
    (tmp_path / "plain.tif.sha256").write_text(f"{'0' * 64}  plain.tif\n")
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-input-sha256"
    assert read(path, input_sha256=digest).any_valid  # what is asked for counts, not what lies beside
    listing.write_text("no digest here")
    for wrong in ("zz", str(tmp_path / "missing"), str(listing)):
        with pytest.raises(UsageError):
            scene(path, input_sha256=wrong)


def damaged_deflate(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """256 x 256, 64 px blocks; the block at row 1, column 2 cannot be inflated."""
    data = texture(256, 256)
    path = write(tmp_path / "d.tif", data, tiled=True, blockxsize=64, blockysize=64, compress="DEFLATE")
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_1", "TIFF", bidx=1))
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 64] = bytes(64)
    path.write_bytes(raw)
    return path, data


def test_R06_bit_flip_in_deflate_names_the_block(tmp_path: Path) -> None:
    path, _ = damaged_deflate(tmp_path)
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.id == "E-input-block"
    assert "block row 1, column 2" in caught.value.what
    assert "--on-bad-block nodata" in caught.value.fix


def test_R06_bad_block_as_nodata_is_counted(tmp_path: Path) -> None:
    path, data = damaged_deflate(tmp_path)
    opened = scene(path, on_bad_block="nodata")
    with opened.open_reader() as reader:
        pixels = reader.read(Window(0, 0, 256, 256))
        output = reader.valid(Window(0, 0, 256, 256))
    expected = np.ones((256, 256), bool)
    expected[64:128, 128:192] = False
    assert (pixels.valid == expected).all()
    assert (output == expected).all()
    assert (pixels.data[:, expected] == data[:, expected]).all()
    assert opened.info()["bad_blocks"] == [[64, 128]]


@pytest.mark.parametrize("place", ["internal", "beside"])
def test_R06_a_damaged_block_of_the_mask_is_nodata(tmp_path: Path, place: str) -> None:
    data, path = texture(256, 256), tmp_path / "m.tif"
    inner = np.full((256, 256), 255, np.uint8)
    inner[:, :10] = 0
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=place == "internal"):
        write(path, data, **tiles, after=lambda out: out.write_mask(inner))
    holder = path if place == "internal" else Path(f"{path}.msk")
    page = tifffile.TiffFile(holder).pages[-1]
    raw = bytearray(holder.read_bytes())
    raw[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]] = b"\xff" * page.databytecounts[0]
    holder.write_bytes(raw)
    with pytest.raises(InputError):
        read(path)
    opened = scene(path, on_bad_block="nodata")
    with opened.open_reader() as reader:
        pixels = reader.read(Window(0, 0, 256, 256))
    height, width = page.tilelength or page.rowsperstrip, page.tilewidth or page.imagewidth
    expected = inner > 0
    expected[:height, :width] = False
    assert expected.any()
    assert (pixels.valid == expected).all()
    assert opened.info()["bad_blocks"][0] == [0, 0]


@pytest.mark.parametrize("trouble", ["no more handles", "removed"])
def test_R06_trouble_of_the_system_is_no_damage(tmp_path: Path, trouble: str) -> None:
    resource = pytest.importorskip("resource")
    path, _ = damaged_deflate(tmp_path)
    opened = scene(path, on_bad_block="nodata")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with opened.view.open() as ds:
        if trouble == "removed":
            path.unlink()
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            with pytest.raises(InputError) as caught:
                opened.decoder.decode(ds, Window(0, 0, 256, 256))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.id == ("E-input-changed" if trouble == "removed" else "E-input-unreadable")
    assert trouble == "removed" or "ulimit -n" in caught.value.fix


def test_R06_a_map_with_damaged_blocks_warns(tmp_path: Path) -> None:
    path, _ = damaged_deflate(tmp_path)
    options = {"background": "none", "vector_format": (), "on_bad_block": "nodata"}
    result = predict(path, "forest,road", out=tmp_path, model=ColourSegmenter(), **options).map
    assert [each.message for each in result.warnings if each.id == "W-bad-blocks"] == [
        f"{path.name}: 1 damaged block is no data"
    ]


def test_R07_bit_flip_in_the_directory_ends_with_a_code(tmp_path: Path) -> None:
    pristine = write(tmp_path / "flip.tif", texture(16, 16)).read_bytes()
    path = tmp_path / "flipped.tif"
    for bit in np.random.default_rng(7).choice(400 * 8, 150, replace=False):
        raw = bytearray(pristine)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        try:
            pixels = read(path)
        except RsovError as error:
            assert error.code in (2, 3, 7), bit  # noqa: PT017 - either outcome is right
        else:
            assert pixels.data.shape[0] == 3


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), 0.0])
def test_R07_impossible_pixel_sizes(tmp_path: Path, pixel: float) -> None:
    path = write(tmp_path / "t.tif", texture())
    raw = path.read_bytes()
    assert struct.pack("<d", 0.5) * 2 in raw
    path.write_bytes(raw.replace(struct.pack("<d", 0.5), struct.pack("<d", pixel), 1))
    with pytest.raises(InputError, match="impossible pixel size"):
        scene(path)


@pytest.mark.parametrize(
    ("epsg", "x", "y"),
    [
        (32632, 9e6, 5.6e6),
        (32632, 500_000, 99e6),
        (32632, 1.6e6, 5.6e6),
        (2263, 300_000, 2e6),
        (3031, 0, 8e6),
    ],
)
def test_R07_coordinates_far_outside_of_the_area_of_the_crs_are_told(
    tmp_path: Path, epsg: int, x: float, y: float
) -> None:
    notices = Notices()
    place = Affine(0.5, 0, x, 0, -0.5, y)
    scene(write(tmp_path / "t.tif", texture(), crs=f"EPSG:{epsg}", transform=place), notices)
    assert ids(notices) == ["W-crs-area"]
    assert "--crs" in notices.items[0].message


def test_R07_a_projection_without_an_area_must_lead_there_and_back(tmp_path: Path) -> None:
    crs, notices = "+proj=tmerc +lon_0=9 +k=0.9996 +x_0=500000 +ellps=GRS80 +type=crs", Notices()
    for y, told in ((5_600_000, []), (99e6, ["W-crs-area"])):
        place = Affine(0.5, 0, 500_000, 0, -0.5, y)
        scene(write(tmp_path / "t.tif", texture(), crs=crs, transform=place), notices)
        assert ids(notices) == told


def test_R07_a_map_far_outside_of_the_area_of_its_crs_is_told(tmp_path: Path) -> None:
    path, notices = write(tmp_path / "aachen.tif", texture()), Notices()
    scene(path, notices, dst_crs="EPSG:3031")
    assert ids(notices) == ["W-crs-area"]
    assert "--dst-crs" in notices.items[0].message


@pytest.mark.parametrize("side", [5e-9, 1e-3, 5e4])
def test_R07_pixels_that_no_picture_of_the_ground_has_are_told(tmp_path: Path, side: float) -> None:
    notices = Notices()
    scene(write(tmp_path / "t.tif", texture(), transform=Affine(side, 0, 5e5, 0, -side, 5.6e6)), notices)
    assert "W-pixel-size" in ids(notices)


@pytest.mark.parametrize(
    ("epsg", "x", "y", "side"),
    [
        (32632, 500_000, 5_600_000, 0.002),
        (25832, 797_000, 5_820_000, 0.5),  # Berlin in the zone beside its own
        (32660, 833_970, 100_000, 0.5),  # across 180 degrees
        (4326, 190, 50, 1e-5),
        (3413, -16, 16, 0.5),  # a pole
        (3857, 1e6, 1e7, 0.5),
        (21100, 3_900_000, 900_000, 0.5),  # longitudes count from Jakarta
    ],
)
def test_R07_plausible_places_are_not_told(
    tmp_path: Path, epsg: int, x: float, y: float, side: float
) -> None:
    notices = Notices()
    place = Affine(side, 0, x, 0, -side, y)
    scene(write(tmp_path / "t.tif", texture(), crs=f"EPSG:{epsg}", transform=place), notices)
    assert not {"W-crs-area", "W-pixel-size"} & set(ids(notices))


def test_R07_real_pictures_are_where_they_say(shared: Path) -> None:
    pictures = sorted((shared / "data" / "orthos").glob("*.tif"))
    assert pictures
    for path in pictures:
        notices = Notices()
        scene(path, notices)
        assert not {"W-crs-area", "W-pixel-size"} & set(ids(notices)), path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<html><body>404</body></html>", "<html"),
        (b"hello, this is text", "not an image"),
    ],
)
def test_R08_files_that_are_no_pictures(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "ortho.tif"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-input-kind"
    assert says in str(caught.value)


def test_R09_png_named_tif_is_read_by_content(tmp_path: Path) -> None:
    data = texture(40, 50)
    path = tmp_path / "picture.tif"
    write(path, data, driver="PNG", crs=None, transform=None)
    assert (read(path).data == data).all()
    assert scene(path).info()["kind"] == "PNG"


def test_R09_other_kinds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match="HDF5 or NetCDF"):
        scene(path)


def test_R10_folder_pipe_socket_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "sock"))
    start = time.monotonic()
    for path, kind in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a pipe"),
        (tmp_path / "sock", "a socket"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(InputError, match=kind):
            scene(path)
    server.close()
    assert time.monotonic() - start < 1
    link = tmp_path / "link.tif"
    link.symlink_to(write(tmp_path / "real.tif", texture()))
    assert read(link).any_valid


def test_R11_missing_offers_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path / "ortho.tif", texture())
    with pytest.raises(InputError) as caught:
        scene(tmp_path / "ortho.tiff")
    assert caught.value.id == "E-input-missing"
    assert "ortho.tif" in caught.value.fix


@pytest.mark.parametrize("name", ["nofile.tif", "w.tif", "wfwfwfwf.jpg"])
def test_R11_an_ending_that_all_share_is_no_likeness(tmp_path: Path, name: str) -> None:
    write(tmp_path / "photograph.tif", texture())
    write(tmp_path / "wf.tif", texture())
    with pytest.raises(InputError) as caught:
        scene(tmp_path / name)
    assert ("wf.tif" in caught.value.fix) is (name == "w.tif")
    assert caught.value.fix


def test_R11_a_pattern_without_a_match_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file matches .*\*\.jpg") as caught:
        scene(tmp_path / "*.jpg")
    assert caught.value.id == "E-input-missing"
    assert caught.value.fix


def test_R11_no_permission(tmp_path: Path) -> None:
    """Root may read everything: another user asks then."""
    path = write(tmp_path / "ortho.tif", texture())
    path.chmod(0)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from rsov.errors import InputError; from rsov.raster.preflight import check_source\n"
        "from rsov.raster.scene_options import ReadOptions; from rsov.types import Notices\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: check_source(Path(sys.argv[1]), ReadOptions(), Notices())\n"
        "except InputError as error: print(error.id, error.what, error.why); sys.exit(40 + error.code)\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if os.geteuid() == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-c", code, str(path)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.returncode == 40 + ExitCode.INPUT, done.stderr
    assert done.stdout.startswith(f"E-input-unreadable {path} cannot be read Permission denied")


def declared(path: Path, side: int, **options: object) -> Path:
    """A file of some kilobytes that claims that many pixels a side."""
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", tiled=True, blockxsize=2048,
        blockysize=2048, sparse_ok=True, crs="EPSG:32632", transform=UTM, bigtiff="YES", **options,
    ):  # fmt: skip
        pass
    return path


def test_R12_huge_sparse_declaration_costs_nothing(tmp_path: Path) -> None:
    side = 1_000_000
    path = declared(tmp_path / "huge.tif", side, nodata=0)
    start = time.monotonic()
    with pytest.raises(InputError, match="200000000000") as caught:
        scene(path)
    assert caught.value.id == "E-input-too-large"
    assert caught.value.fix.endswith(f"--max-pixels {side**2}")
    opened = scene(path, max_pixels=side**2)
    assert opened.empty(Window(500_000, 500_000, 512, 512)) is True
    with opened.open_reader() as reader:
        assert not reader.read(Window(900_000, 7, 512, 512)).any_valid
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("side", "nodata"), [(1_000_000, 0), (50_000, None)])
def test_R12_the_plan_of_a_huge_declaration_says_tiles_and_time(
    tmp_path: Path, side: int, nodata: int | None
) -> None:
    """Without nodata, blocks that were never written are black pixels, and all of them would be read."""
    path = declared(tmp_path / "huge.tif", side, nodata=nodata)
    model = ColourSegmenter(tile=1024, overlap=128, thread_mpx=2.0)
    options = {"dry_run": True, "max_pixels": side**2, "vector_format": (), "max_memory": "8G", "jobs": 4}
    start = time.monotonic()
    found = predict(path, "forest", out=tmp_path, model=model, **options).map
    assert time.monotonic() - start < 10
    plan = found.report["plan"]
    across = math.ceil((side - 128) / (1024 - 128))
    assert across**2 <= plan["tiles"] <= 1.1 * across**2
    assert f"{plan['tiles']:,} of " in str(found)
    seconds = 0 if nodata == 0 else plan["tiles"] * plan["tile"][0] * plan["tile"][1] / (4 * 2e6)
    assert plan["seconds"] == pytest.approx(seconds, abs=0.1)
    minutes, rest = divmod(round(seconds), 60)
    assert ("time:    about " + (f"{minutes}m{rest:02d}s on" if minutes else "0s on")) in str(found)


def test_R13_decompression_bomb_block(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=32768, height=32768, count=1, dtype="uint8", tiled=True, blockxsize=32768,
        blockysize=32768, compress="DEFLATE", sparse_ok=True,
    ):  # fmt: skip
        pass
    with pytest.raises(ResourceError) as caught:
        scene(path, bands=(1, 1, 1))
    assert caught.value.id == "E-input-block-size"
    assert "32768 x 32768" in caught.value.what
    assert "gdal raster convert" in caught.value.fix


def tiff(tags: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    """A little-endian TIFF with one directory of (tag, type, count, value)."""
    body = (
        struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags)) + bytes(4)
    )
    return b"II*\0" + struct.pack("<I", 8) + body + tail


def test_R14_many_bands_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bands.tif"
    path.write_bytes(
        tiff(
            [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 65535),
             (278, 4, 1, 1), (279, 4, 1, 65535)], bytes(65535)
        )
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-input-bands"


def test_R15_sparse_tiles(tmp_path: Path) -> None:
    data = texture(256, 256)
    for nodata in (0, None):
        path = tmp_path / f"sparse{nodata}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=256, height=256, count=3, dtype="uint8", tiled=True, blockxsize=64, blockysize=64,
            sparse_ok=True, crs="EPSG:32632", transform=UTM, nodata=nodata, photometric="RGB", interleave="pixel",
        ) as out:  # fmt: skip
            for row in range(0, 256, 128):
                out.write(data[:, row : row + 64, 64:128], window=((row, row + 64), (64, 128)))
        opened = scene(path)
        assert opened.info()["sparse_blocks"] == 14
        with opened.open_reader() as reader:
            pixels = reader.read(Window(0, 0, 256, 256))
        written = np.zeros((256, 256), bool)
        written[0:64, 64:128] = written[128:192, 64:128] = True
        assert (pixels.data[:, written] == data[:, written]).all()
        if nodata is None:
            assert pixels.valid.all()
            assert (pixels.data[:, ~written] == 0).all()
        else:
            assert (pixels.valid == written).all()
            assert opened.empty(Window(128, 0, 128, 256)) is True
            assert opened.empty(Window(0, 0, 128, 128)) is not True


def test_R16_no_overviews_needed(tmp_path: Path) -> None:
    """A large stripped file without overviews opens from a sample, not from a pass over it."""
    path = tmp_path / "strips.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=20_000, height=20_000, count=3, dtype="uint8", sparse_ok=True, compress="LZW",
        crs="EPSG:32632", transform=UTM,
    ):  # fmt: skip
        pass
    start = time.monotonic()
    assert scene(path).work.width == 20_000
    assert time.monotonic() - start < 3


def test_deepest_gdal_message_reaches_the_user(tmp_path: Path) -> None:
    path, _ = damaged_deflate(tmp_path)
    with pytest.raises(InputError) as caught:
        read(path)
    assert "See previous exception" not in caught.value.where
    assert caught.value.where


def test_png_chunk_lengths_beyond_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    head = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + head
        + struct.pack(">I", zlib.crc32(b"IHDR" + head))
        + struct.pack(">I", 1 << 30)
        + b"IDAT"
    )
    with pytest.raises(InputError, match="cut off"):
        scene(path)


def test_transform_with_nan_survives_gdal_and_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "n.tif", texture(), transform=Affine(float("nan"), 0, 0, 0, -1, 0))
    with pytest.raises(InputError, match="impossible pixel size"):
        scene(path)


def test_wrong_page_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        scene(write(tmp_path / "a.tif", texture()), subdataset=2)
    notices = Notices()
    assert valid(write(tmp_path / "b.tif", texture()), notices).all()
    assert ids(notices) == []
