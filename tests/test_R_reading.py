"""Reading: overviews, changes while reading, threads, names, pages, VRTs, codecs (robustness.md, R17-R35)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.enums import Resampling

from rsov.errors import InputError, ResourceError, UsageError
from rsov.raster.vrt import MAX_NESTING
from rsov.types import Notices, Window
from tests.support.rasters import UTM, ids, read, scene, texture, write

if TYPE_CHECKING:
    from rsov.raster.scene import Scene


def wrong_overviews(path: Path, external: bool) -> None:
    """Overviews of another picture: black ones."""
    with rasterio.Env(TIFF_USE_OVR="YES" if external else "NO"), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.nearest)
    target = Path(f"{path}.ovr") if external else path
    pages = tifffile.TiffFile(target)
    levels = pages.pages if external else pages.pages[1:]
    raw = bytearray(target.read_bytes())
    for page in levels:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            raw[offset : offset + count] = bytes(count)
    target.write_bytes(raw)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("work_gsd", [0.5, 2.0, 4.0])
def test_R17_wrong_overviews_are_never_used(tmp_path: Path, external: bool, work_gsd: float) -> None:
    data = texture(512, 512)
    path = write(tmp_path / "o.tif", data, tiled=True, blockxsize=128, blockysize=128)
    before = read(path, work_gsd=work_gsd).data
    auto = scene(path, scale="auto").radiometry
    wrong_overviews(path, external)
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4, 8]
        assert file.read(out_shape=(3, 64, 64)).max() == 0, "the overviews are wrong"
    assert (read(path, work_gsd=work_gsd).data == before).all()
    assert scene(path, scale="auto").radiometry == auto


def opened_for_reading(path: Path) -> Scene:
    write(path, texture(1024, 1024), tiled=True, blockxsize=256, blockysize=256)
    return scene(path)


def test_R18_truncated_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    opened = opened_for_reading(path)
    with opened.open_reader() as reader:
        reader.read(Window(0, 0, 256, 256))
        os.truncate(path, path.stat().st_size // 3)
        with pytest.raises(InputError) as caught:
            reader.read(Window(700, 700, 256, 256))
    assert caught.value.id == "E-input-changed"


def test_R19_rewritten_in_place_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    opened = opened_for_reading(path)
    opened.check_unchanged()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(1000))
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError) as caught:
        opened.check_unchanged()
    assert caught.value.id == "E-input-changed"
    with pytest.raises(InputError), opened.open_reader() as reader:  # a reader opened later
        reader.read(Window(0, 0, 16, 16))


def test_R20_replaced_by_rename_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    opened = opened_for_reading(path)
    with opened.open_reader() as reader:
        first = reader.read(Window(0, 0, 64, 64))
        write(
            tmp_path / "b.tif", texture(1024, 1024, seed=9), tiled=True, blockxsize=256, blockysize=256
        ).replace(path)
        later = reader.read(Window(800, 800, 64, 64))
    assert (first.data == texture(1024, 1024)[:, :64, :64]).all()
    assert (later.data == texture(1024, 1024)[:, 800:864, 800:864]).all(), "the handle reads the old file"
    opened.check_unchanged()
    assert ids(opened.notices) == ["W-input-replaced"]


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.tif",
        "https://example.org/a.tif",
        "s3://bucket/a.tif",
        "gs://b/a.tif",
        "HTTP://EXAMPLE.ORG/a.tif",
        "file:///etc/passwd",
    ],
)
def test_R21_to_R25_remote_paths_are_refused_until_remote_inputs_exist(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        scene(Path(address))
    assert caught.value.id == "E-input-remote"
    assert caught.value.what.startswith(address.replace(":///", "://")), "the address as it was typed"


def test_R26_threads_have_a_handle_each_and_read_the_same(tmp_path: Path) -> None:
    data = texture(1024, 1024)
    path = write(
        tmp_path / "t.tif", data, tiled=True, blockxsize=64, blockysize=64, compress="DEFLATE", nodata=5
    )
    opened = scene(path, cache=1)  # nothing remembered: every read decodes
    windows = [
        Window(int(c), int(r), 100, 80) for c, r in np.random.default_rng(1).integers(0, 900, (200, 2))
    ]

    def work(part: list[Window]) -> list[np.ndarray]:
        with opened.open_reader() as reader:
            return [reader.read(window).data for window in part]

    with opened.open_reader() as reader:
        serial = [reader.read(window).data for window in windows]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, [windows] * 8))
    for result in results:
        assert all((a == b).all() for a, b in zip(result, serial, strict=True))


def test_R26_readers_after_fork(tmp_path: Path) -> None:
    """A scene opened before a fork gives the right pixels in the child, which opens its own handle."""
    path = write(tmp_path / "t.tif", texture(256, 256), compress="DEFLATE")
    opened = scene(path)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with opened.open_reader() as reader:
                code = 0 if (reader.read(Window(0, 0, 256, 256)).data == texture(256, 256)).all() else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "name",
    ["two words.tif", "größe_猫.tif", "a:b.tif", "100%.tif", "a#b.tif", "a?b.tif", "-leading.tif", "new\nline.tif", "zip+x!y.tif", "NETCDF:x.tif",
     "x" * 251 + ".tif", b"latin-\xe9.tif", "=cmd.tif", "it's \"quoted\".tif", "!bang.tif", "*star.tif", "~home.tif", "back\\slash.tif"],
)  # fmt: skip
def test_R27_every_legal_name_works(tmp_path: Path, name: str | bytes) -> None:
    plain = write(tmp_path / "plain.tif", texture())
    path = tmp_path / os.fsdecode(name)
    plain.rename(path)
    assert (read(path).data == texture()).all()
    assert scene(path).info()["path"] == str(path)


def test_R27_relative_names_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "plain.tif", texture()).rename(tmp_path / "NETCDF:x.tif")
    monkeypatch.chdir(tmp_path)
    assert (read(Path("NETCDF:x.tif")).data == texture()).all()


@pytest.mark.parametrize(
    "text",
    ["/vsimem/a.tif", "/vsicurl/http://127.0.0.1/a.tif", "GTIFF_DIR:2:f.tif", 'NETCDF:"a.nc":v', "<VRTDataset/>", "vrt://a.tif?bands=1", '{"type": "x"}',
     "/vsizip/a.zip/a.tif", "/vsizip//vsicurl/http://x/a.zip", "/vsicurl?url=http://x&header_file=/etc/passwd"],
)  # fmt: skip
def test_R28_connection_strings_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        scene(Path(text))
    assert caught.value.id in ("E-input-connection", "E-input-remote")


def test_R28_S36_options_inside_a_path_never_reach_gdal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasterio, "open", lambda *_, **__: pytest.fail("GDAL was asked"))
    with pytest.raises(UsageError):
        scene(Path("/vsicurl?url=http://127.0.0.1:1/x.tif&header_file=/etc/passwd"))


def multipage(path: Path) -> list[np.ndarray]:
    pages = [np.moveaxis(texture(32, 40, seed=n), 0, -1) for n in range(3)]
    with tifffile.TiffWriter(path) as out:
        for page in pages:
            out.write(page, photometric="rgb")
        out.write(pages[0][::4, ::4], photometric="rgb", subfiletype=1)
    return pages


def test_R29_multipage_reads_page_one_with_a_warning(tmp_path: Path) -> None:
    pages = multipage(tmp_path / "p.tif")
    notices = Notices()
    assert (read(tmp_path / "p.tif", notices=notices).data == np.moveaxis(pages[0], -1, 0)).all()
    assert "W-multipage" in ids(notices)
    assert "3 pages" in notices.items[0].message, "the thumbnail is no page"


def test_R29_subdataset_chooses_a_page(tmp_path: Path) -> None:
    pages = multipage(tmp_path / "p.tif")
    notices = Notices()
    for number in (1, 2, 3):
        found = read(tmp_path / "p.tif", notices=notices, subdataset=number).data
        assert (found == np.moveaxis(pages[number - 1], -1, 0)).all()
    assert "W-multipage" not in ids(notices)
    with pytest.raises(UsageError):
        scene(tmp_path / "p.tif", subdataset=4)


def vrt_of(sources: list[str], size: int = 64) -> str:
    """A VRT that puts pictures side by side."""
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{b}"><ColorInterp>{c}</ColorInterp>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{s}</SourceFilename><SourceBand>{b}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{size}" ySize="{size}"/>'
            f'<DstRect xOff="{n * size}" yOff="0" xSize="{size}" ySize="{size}"/></SimpleSource>'
            for n, s in enumerate(sources)
        )
        + "</VRTRasterBand>"
        for b, c in ((1, "Red"), (2, "Green"), (3, "Blue"))
    )
    return f'<VRTDataset rasterXSize="{size * len(sources)}" rasterYSize="{size}"><SRS>EPSG:32632</SRS><GeoTransform>500000,0.5,0,5600000,0,-0.5</GeoTransform>{bands}</VRTDataset>'


def test_R30_vrt_with_a_missing_source(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", texture())
    path = tmp_path / "m.vrt"
    path.write_text(vrt_of(["a.tif", "nope.tif"]))
    with pytest.raises(InputError, match="virtual raster"):
        scene(path)
    with pytest.raises(InputError) as caught:
        scene(path, allow_vrt=True)
    assert "nope.tif" in caught.value.where


def test_R30_vrt_with_a_truncated_source(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif", texture())
    source.write_bytes(source.read_bytes()[:3000])
    (tmp_path / "m.vrt").write_text(vrt_of(["a.tif"]))
    with pytest.raises(InputError, match="cut off"):
        scene(tmp_path / "m.vrt", allow_vrt=True)


def test_allowed_vrt_reads_its_sources(tmp_path: Path) -> None:
    for n in range(2):
        write(tmp_path / f"{n}.tif", texture(seed=n))
    path = tmp_path / "m.vrt"
    path.write_text(vrt_of(["0.tif", "1.tif"]))
    expected = np.concatenate([texture(seed=0), texture(seed=1)], 2)
    assert (read(path, allow_vrt=True).data == expected).all()


def test_R31_vrt_that_refers_to_itself_or_is_nested_deep(tmp_path: Path) -> None:
    (tmp_path / "self.vrt").write_text(vrt_of(["self.vrt"]))
    with pytest.raises(InputError) as caught:
        scene(tmp_path / "self.vrt", allow_vrt=True)
    assert caught.value.id == "E-vrt-nested"
    write(tmp_path / "0.tif", texture())
    (tmp_path / "1.vrt").write_text(vrt_of(["0.tif"]))
    for n in range(2, 51):
        (tmp_path / f"{n}.vrt").write_text(vrt_of([f"{n - 1}.vrt"]))
    assert (read(tmp_path / f"{MAX_NESTING}.vrt", allow_vrt=True).data == texture()).all()
    with pytest.raises(InputError, match="nested more than"):
        scene(tmp_path / "50.vrt", allow_vrt=True)


CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
from pathlib import Path
import numpy as np
from tests.support.rasters import scene
from rsov.types import Window
opened = scene(Path(sys.argv[1]), allow_vrt=True)
with opened.open_reader() as a, opened.open_reader() as b:
    for start in range(0, opened.work.width, 4096):
        a.read(Window(start, 0, 4096, 16)); b.read(Window(start, 0, 4096, 8))
print("good")
"""


def mosaic(tmp_path: Path, count: int) -> Path:
    write(tmp_path / "0.tif", texture(16, 16))
    for n in range(1, count):
        shutil.copy(tmp_path / "0.tif", tmp_path / f"{n}.tif")
    (tmp_path / "m.vrt").write_text(vrt_of([f"{n}.tif" for n in range(count)], 16))
    return tmp_path / "m.vrt"


def child(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parent.parent
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(root), **environ},
    )  # fmt: skip


def test_R32_mosaic_of_2000_files_with_256_handles(tmp_path: Path) -> None:
    result = child(CHILD.format(limit=256), str(mosaic(tmp_path, 2000)))
    assert result.stdout == "good\n", result.stderr


def test_M18_64_file_handles_are_enough(tmp_path: Path) -> None:
    result = child(CHILD.format(limit=64), str(mosaic(tmp_path, 200)))
    assert result.stdout == "good\n", result.stderr


@pytest.mark.parametrize(("number", "name"), [(50002, "JPEG XL"), (34712, "JPEG 2000")])
def test_R33_codec_not_in_the_build_is_named(tmp_path: Path, number: int, name: str) -> None:
    path = tmp_path / "codec.tif"
    tifffile.imwrite(path, np.moveaxis(texture(), 0, -1), photometric="rgb")
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[259]
        raw[tag.valueoffset : tag.valueoffset + 2] = number.to_bytes(2, "little")
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.code == 3
    assert caught.value.id == "E-input-codec"
    assert name in caught.value.what


def oriented(path: Path, number: int) -> np.ndarray:
    image = Image.fromarray(np.moveaxis(texture(40, 60), 0, -1))
    exif = Image.Exif()
    exif[0x0112] = number
    image.save(path, exif=exif)
    return np.moveaxis(texture(40, 60), 0, -1)


def test_R34_exif_orientation_is_read_as_stored_with_a_warning(tmp_path: Path) -> None:
    stored = oriented(tmp_path / "o.png", 6)
    notices = Notices()
    assert (read(tmp_path / "o.png", notices=notices).data == np.moveaxis(stored, -1, 0)).all()
    assert "W-exif" in ids(notices)


@pytest.mark.parametrize("number", range(1, 9))
def test_R34_exif_orientation_is_applied_on_request(tmp_path: Path, number: int) -> None:
    from PIL import ImageOps

    oriented(tmp_path / "o.png", number)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "o.png")))
    opened = scene(tmp_path / "o.png", apply_exif_orientation=True)
    pixels = read(tmp_path / "o.png", apply_exif_orientation=True)
    assert opened.output_grid.shape == upright.shape[:2]
    assert (pixels.data == np.moveaxis(upright, -1, 0)).all()
    assert pixels.valid.all()


def test_R34_exif_orientation_never_with_a_world_file(tmp_path: Path) -> None:
    stored = oriented(tmp_path / "o.jpg", 6)
    (tmp_path / "o.jgw").write_text("0.5\n0\n0\n-0.5\n500000\n5600000\n")
    notices = Notices()
    pixels = read(tmp_path / "o.jpg", notices=notices, apply_exif_orientation=True)
    assert pixels.data.shape == (3, *stored.shape[:2])
    assert "W-exif" in ids(notices)


def test_R35_memory_limit_ends_with_code_7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.tif", texture(256, 256))
    opened = scene(path)
    with opened.open_reader() as reader:
        handle = reader._dataset()
        monkeypatch.setattr(type(reader), "_dataset", lambda _: Exhausted(handle))
        with pytest.raises(ResourceError) as caught:
            reader.read(Window(0, 0, 256, 256))
    assert caught.value.code == 7
    assert "--tile" in caught.value.fix


class Exhausted:
    """A dataset whose reads find no memory."""

    def __init__(self, handle: object) -> None:
        self._handle = handle

    def read(self, *_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 1.00 GiB")

    def __getattr__(self, name: str) -> object:
        return getattr(self._handle, name)


LIMITED = """
import resource, sys
from pathlib import Path
from tests.support.rasters import scene
from rsov.types import Window
from rsov.errors import RsovError
opened = scene(Path(sys.argv[1]), on_bad_block=sys.argv[2])
with opened.open_reader() as reader:
    reader.read(Window(0, 0, 8, 8))
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (24 << 20),) * 2)
    try:
        reader.read(Window(0, 1024, 8192, 4096))
    except RsovError as error:
        print(int(error.code), error.id)
"""


def test_R35_real_address_space_limit(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=8192, height=8192, count=3, dtype="uint8", tiled=True, blockxsize=1024, blockysize=1024,
        compress="DEFLATE", crs="EPSG:32632", transform=UTM, photometric="RGB", interleave="pixel", sparse_ok=True,
    ) as out:  # fmt: skip
        out.write(np.ones((3, 1024, 1024), np.uint8), window=((0, 1024), (0, 1024)))
    result = child(LIMITED, str(path), "fail")
    assert result.stdout.startswith("7 E-memory"), result.stdout + result.stderr
