"""Security of inputs: drivers, side files, VRTs, workers, settings (robustness.md, S-env, S06-S13, S35-S38)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import rasterio

from rsov.cli import main
from rsov.errors import InputError, RsovError, UsageError
from rsov.raster.env import ALLOWED_DRIVERS, SKIPPED_DRIVERS, forbidden_drivers, mistyped_value, prepare_gdal
from rsov.types import Notices, Window
from tests.support.rasters import ids, read, scene, texture, valid, write

ROOT = Path(__file__).resolve().parent.parent


def child(code: str, *arguments: str, **environ: str) -> str:
    """Standard output of a fresh interpreter, none of this one's GDAL settings inherited."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GDAL_", "OGR_", "CPL_", "GTIFF_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "GDAL_SKIP" not in done.stderr
    return done.stdout.strip()


DRIVERS = """
import rsov.raster, rasterio, fiona
from rsov.raster.env import ALLOWED_DRIVERS
with rasterio.Env() as env: print(sorted(set(env.drivers()) - ALLOWED_DRIVERS))
with fiona.Env() as env: print(sorted(set(env.drivers()) - ALLOWED_DRIVERS))
try:
    import pyogrio
    print(sorted(set(pyogrio.list_drivers()) - ALLOWED_DRIVERS))
except ImportError:  # no dependency of rsov, but where it is installed it must obey too
    print([])
with rasterio.Env() as env: print(sorted({"GTiff", "COG", "PNG", "JPEG", "MEM", "JP2OpenJPEG"} - set(env.drivers())))
with fiona.Env() as env: print(sorted({"GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile"} - set(env.drivers())))
"""


def test_S_env_only_allowed_drivers_are_registered_in_every_gdal() -> None:
    assert child(DRIVERS).split("\n") == ["[]"] * 5


def test_S_env_stands_above_an_inherited_environment() -> None:
    code = "import rsov.raster, os; print(os.environ['GDAL_VRT_ENABLE_PYTHON'], os.environ['GDAL_PAM_ENABLED'], os.environ['GDAL_SKIP'][:4], os.environ['GDAL_CACHEMAX'])"
    inherited = {
        "GDAL_VRT_ENABLE_PYTHON": "YES",
        "GDAL_PAM_ENABLED": "YES",
        "GDAL_SKIP": "PNG",
        "GDAL_CACHEMAX": "33",
    }
    assert child(code, **inherited) == "NO NO AAIG 33"


def test_S_env_lists_do_not_overlap() -> None:
    assert not ALLOWED_DRIVERS & set(SKIPPED_DRIVERS)
    assert forbidden_drivers() == ()


MRF = """<MRF_META><CachedSource><Source>{source}</Source></CachedSource>
<Raster><Size x="64" y="64" c="3"/><PageSize x="64" y="64" c="3"/></Raster>
<DataFile>{data}</DataFile><IndexFile>{data}.idx</IndexFile></MRF_META>"""


def test_S06_a_hostile_overview_file_is_never_opened(tmp_path: Path) -> None:
    data = texture(512, 512)
    path = write(tmp_path / "s.tif", data)
    other = write(tmp_path / "other.tif", np.zeros((3, 64, 64), np.uint8))
    trap = tmp_path / "created_by_attack"
    Path(f"{path}.ovr").write_text(MRF.format(source=other, data=trap))
    pixels = read(path, work_gsd=2.0)
    assert pixels.data.min() > 50
    assert (read(path).data == data).all()
    assert not list(tmp_path.glob("created_by_attack*"))


def test_S06_a_tif_that_is_mrf_text_is_refused(tmp_path: Path) -> None:
    path, trap = tmp_path / "s.tif", tmp_path / "created_by_attack"
    path.write_text(MRF.format(source="x.tif", data=trap))
    with pytest.raises(InputError, match="MRF"):
        scene(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "text", [MRF.format(source="x", data="y"), "<VRTDataset rasterXSize='64' rasterYSize='64'/>"]
)
def test_S06_a_mask_file_that_is_no_tiff_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "s.tif", texture())
    Path(f"{path}.msk").write_text(text)
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-sidecar"


def test_S07_overviews_named_in_aux_xml_are_ignored(tmp_path: Path) -> None:
    data = texture(256, 256)
    path = write(tmp_path / "s.tif", data)
    other = write(tmp_path / "other.tif", np.zeros((3, 128, 128), np.uint8))
    Path(f"{path}.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{other}</MDI></Metadata></PAMDataset>'
    )
    assert read(path, work_gsd=2.0).data.min() > 50
    assert (read(path).data == data).all()


def vrt(source: str, extra: str = "", band: str = "", kind: str = "SimpleSource") -> str:
    return (
        f'<VRTDataset rasterXSize="64" rasterYSize="64">{extra}'
        + "".join(
            f'<VRTRasterBand dataType="Byte" band="{n}" {band}><{kind}><SourceFilename relativeToVRT="0">{source}</SourceFilename>'
            f"<SourceBand>{n}</SourceBand></{kind}></VRTRasterBand>"
            for n in (1, 2, 3)
        )
        + "</VRTDataset>"
    )


RAW = (
    '<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
    '<SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename><ImageOffset>0</ImageOffset></VRTRasterBand></VRTDataset>'
)


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("name", ["a.vrt", "a.tif"])
def test_S08_vrt_raw_band(tmp_path: Path, allow: bool, name: str) -> None:
    path = tmp_path / name
    path.write_text(RAW)
    with pytest.raises(InputError) as caught:
        scene(path, allow_vrt=allow, bands=(1, 1, 1))
    assert caught.value.id == ("E-vrt-element" if allow else "E-vrt")


def test_S08_inline_vrt_is_no_path() -> None:
    with pytest.raises(UsageError):
        scene(Path(RAW))


def test_S08_sources_outside_the_folder_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    write(outside / "o.tif", texture())
    (inside / "link.tif").symlink_to(outside / "o.tif")
    for source in (str(outside / "o.tif"), "../out/o.tif", str(inside / "link.tif"), "/etc/passwd"):
        (inside / "a.vrt").write_text(
            vrt(source).replace(
                'relativeToVRT="0"', 'relativeToVRT="1"' if source.startswith("..") else 'relativeToVRT="0"'
            )
        )
        with pytest.raises(InputError) as caught:
            scene(inside / "a.vrt", allow_vrt=True)
        assert caught.value.id == "E-vrt-source"
        assert source in caught.value.where


def test_S08_sources_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mrf").write_text(MRF.format(source="x", data="y"))
    (tmp_path / "a.vrt").write_text(vrt(str(tmp_path / "x.mrf")))
    with pytest.raises(InputError, match="MRF"):
        scene(tmp_path / "a.vrt", allow_vrt=True)


class Counter(BaseHTTPRequestHandler):
    hits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Counter.hits.append(self.path)
        self.send_error(404)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        pass


def test_S09_no_server_is_ever_contacted(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Counter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a.tif"
    texts = {
        "a.vrt": vrt(f"/vsicurl/{url}"),
        "b.vrt": vrt(url),
        "c.vrt": vrt(f"/vsicurl?url={url}&amp;header_file=/etc/passwd"),
        "d.tif": f"<GDAL_WMS><Service name='TMS'><ServerUrl>{url}</ServerUrl></Service></GDAL_WMS>",
        "e.tif": f'{{"type": "FeatureCollection", "stac_version": "1.0.0", "links": [{{"href": "{url}"}}]}}',
        "f.tif": f"<GDALTileIndexDataset><IndexDataset>/vsicurl/{url}</IndexDataset></GDALTileIndexDataset>",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        for allow in (False, True):
            with pytest.raises(InputError) as caught:
                scene(tmp_path / name, allow_vrt=allow)
            assert caught.value.code == 3
    path = write(tmp_path / "g.tif", texture())
    for suffix in (".ovr", ".aux.xml"):
        Path(f"{path}{suffix}").write_text(texts["a.vrt"])
    read(path, work_gsd=2.0)
    server.shutdown()
    assert Counter.hits == []


def test_S11_vrt_with_python_code(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    write(tmp_path / "s.tif", texture())
    code = f"<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionType>f</PixelFunctionType><PixelFunctionCode>open({str(marker)!r},'w')</PixelFunctionCode>"
    text = vrt(str(tmp_path / "s.tif"), band='subClass="VRTDerivedRasterBand"').replace(
        "<SimpleSource>", code + "<SimpleSource>"
    )
    (tmp_path / "a.vrt").write_text(text)
    for allow in (False, True):
        with pytest.raises(InputError):
            scene(tmp_path / "a.vrt", allow_vrt=allow)
    assert not marker.exists()
    assert os.environ["GDAL_VRT_ENABLE_PYTHON"] == "NO"


@pytest.mark.parametrize(
    "part",
    ['<VRTRasterBand subClass="VRTProcessedDataset"/>', "<PixelFunctionArguments a='1'/>", "<ProcessingSteps/>", "<OpenOptions><OOI key='a'>b</OOI></OpenOptions>",
     "<GDALWarpOptions/>", "<PansharpeningOptions/>", "<Group name='/'/>"],
)  # fmt: skip
def test_S12_derived_and_processed_vrts_are_refused(tmp_path: Path, part: str) -> None:
    write(tmp_path / "s.tif", texture())
    (tmp_path / "a.vrt").write_text(vrt(str(tmp_path / "s.tif"), extra=part))
    with pytest.raises(InputError) as caught:
        scene(tmp_path / "a.vrt", allow_vrt=True)
    assert caught.value.id == "E-vrt-element"


@pytest.mark.parametrize(
    "head",
    ['<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>', '<!DOCTYPE x SYSTEM "file:///etc/passwd">', '<!ENTITY x SYSTEM "http://127.0.0.1:9">'],
)  # fmt: skip
def test_S13_xml_bombs_and_external_entities(tmp_path: Path, head: str) -> None:
    start = time.monotonic()
    (tmp_path / "a.vrt").write_text(
        f"<?xml version='1.0'?>{head}<VRTDataset rasterXSize='1' rasterYSize='1'>&c;</VRTDataset>"
    )
    with pytest.raises(InputError):
        scene(tmp_path / "a.vrt", allow_vrt=True)
    assert time.monotonic() - start < 1


def test_S13_a_bomb_in_utf_16_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_bytes(
        b"<VRTDataset/>" + '<!DOCTYPE l [<!ENTITY a "ha">]><VRTDataset/>'.encode("utf-16")
    )
    with pytest.raises(InputError):
        scene(tmp_path / "a.vrt", allow_vrt=True)


def test_S35_fuzzed_files_never_kill_the_process(tmp_path: Path) -> None:
    """Random damage in each kind of file, in a child: it ends with codes, not with a signal."""
    code = """
import sys
from pathlib import Path
from typing import ClassVar
import numpy as np
from rsov.errors import RsovError
from tests.support.rasters import read
rng = np.random.default_rng(35)
for name in sys.argv[1:]:
    good = Path(name).read_bytes()
    for _ in range(60):
        raw = bytearray(good)
        for place in rng.integers(0, len(raw), rng.integers(1, 12)):
            raw[place] = rng.integers(0, 256)
        Path(name).write_bytes(raw)
        try:
            read(Path(name))
        except RsovError as error:
            assert error.code in (2, 3, 7), error
print("alive")
"""
    data = texture(48, 48)
    files = [
        write(tmp_path / "a.tif", data, compress="JPEG", photometric="YCBCR"),
        write(tmp_path / "b.tif", data, compress="LZW", predictor=2),
        write(tmp_path / "c.tif", data, compress="WEBP"),
        write(tmp_path / "d.png", data, driver="PNG", crs=None, transform=None),
        write(tmp_path / "e.jpg", data, driver="JPEG", crs=None, transform=None),
    ]
    assert child(code, *map(str, files)) == "alive"


def test_S35_isolated_decoding_survives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rsov.raster.preflight_isolate as isolate

    path = write(tmp_path / "a.tif", texture(), tiled=True, blockxsize=16, blockysize=16, compress="DEFLATE")
    assert (read(path, isolate=True).data == texture()).all()
    real = subprocess.run

    def crashing(_: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return real([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], **options)  # type: ignore[call-overload,no-any-return]  # any options

    monkeypatch.setattr(isolate.subprocess, "run", crashing)
    with pytest.raises(InputError) as caught:
        scene(path, isolate=True)
    assert caught.value.id == "E-input-crash"


def test_S35_isolated_decoding_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rsov.raster.preflight_isolate as isolate

    path = write(tmp_path / "a.tif", texture())
    monkeypatch.setattr(isolate, "_START_S", 0.0)
    with pytest.raises(InputError) as caught:
        scene(path, isolate=True)
    assert caught.value.id == "E-input-slow"


def test_S35_the_command_reaches_isolated_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rsov.raster.preflight_isolate as isolate

    path = write(tmp_path / "a.tif", texture())
    monkeypatch.setattr(isolate, "_START_S", 0.0)
    line = ["predict", str(path), "--prompts", "forest", "-o", f"{tmp_path}/", "--dry-run"]
    assert main([*line, "--isolate"]) == 3
    assert "E-input-slow" in capsys.readouterr().err


def test_S35_isolated_decoding_finds_any_damaged_block(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", texture(256, 256), tiled=True, blockxsize=16, blockysize=16, compress="DEFLATE"
    )
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_9_9", "TIFF", bidx=1))
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 40] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        scene(path, isolate=True)
    assert caught.value.id == "E-input-block"
    bad = ~valid(path, isolate=True, on_bad_block="nodata")
    assert bad[144:160, 144:160].all()
    assert bad.sum() == 16 * 16


def test_S36_options_inside_a_vrt_source(tmp_path: Path) -> None:
    for source in (
        "/vsicurl?url=http://127.0.0.1/x.tif&amp;header_file=/etc/passwd",
        "/vsizip//vsicurl/http://x/a.zip",
        "vrt://a.tif?bands=1",
        "/vsitar/a.tar/a.tif",
    ):
        (tmp_path / "a.vrt").write_text(vrt(source))
        with pytest.raises(InputError) as caught:
            scene(tmp_path / "a.vrt", allow_vrt=True)
        assert caught.value.id == "E-vrt-source"


WORKERS = """
import multiprocessing, sys
def names(_):
    import rsov.raster, rasterio
    with rasterio.Env() as env:
        return sorted(env.drivers())
if __name__ == "__main__":
    from rsov.raster.env import ALLOWED_DRIVERS
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(set(pool.map(names, [0])[0]) <= ALLOWED_DRIVERS)
"""


def test_S37_workers_have_the_settings(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    assert (
        child(
            "import subprocess, sys; subprocess.run([sys.executable, sys.argv[1]], check=True)", str(script)
        )
        == "True\nTrue"
    )


LATE = """
import sys
import rasterio
with rasterio.Env() as env: before = len(env.drivers())
from pathlib import Path
from typing import ClassVar
from tests.support.rasters import ids, scene
from rsov.types import Notices
notices = Notices()
opened = scene(Path(sys.argv[1]), notices)
print(before > 100, ids(notices), opened.all_valid)
"""


def test_S37_gdal_loaded_before_rsov_means_no_side_files(tmp_path: Path) -> None:
    """A valid mask file beside the picture is not used then, and neither is a hostile one."""
    path = write(tmp_path / "a.tif", texture())
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.zeros((64, 64), np.uint8))
    assert not scene(path).all_valid
    assert child(LATE, str(path)) == "True ['W-gdal-loaded'] True"


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "NETWORK_OR_LOCAL", True), ("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "ALL", False),
     ("GDAL_VRT_ENABLE_PYTHON", "NEVER", True), ("GDAL_VRT_ENABLE_PYTHON", "TRUSTED_MODULES", False), ("GDAL_PAM_ENABLED", "nope", True),
     ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY", True), ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR", False)],
)  # fmt: skip
def test_S38_mistyped_security_values(name: str, value: str, wrong: bool) -> None:
    fault = mistyped_value({name: value})
    assert (fault is not None) == wrong
    if fault is not None:
        assert fault.code == 2
        assert f"{name}={value}" in fault.where


def test_S38_opening_stops_at_a_mistyped_value(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    code = "import sys\nfrom pathlib import Path\nfrom rsov.errors import RsovError\nfrom tests.support.rasters import scene\ntry:\n    scene(Path(sys.argv[1]))\nexcept RsovError as error:\n    print(int(error.code), error.id)"
    assert (
        child(code, str(path), GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="NETWORK_OR_LOCAL") == "2 E-gdal-value"
    )


def test_preparing_twice_changes_nothing() -> None:
    environ: dict[str, str] = {}
    prepare_gdal(environ)
    first = dict(environ)
    prepare_gdal(environ)
    assert environ == first


def test_nothing_is_written_beside_inputs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture())
    before = sorted(p.name for p in tmp_path.iterdir())
    opened = scene(path, Notices(), scale="auto")
    with opened.open_reader() as reader:
        reader.read(Window(0, 0, 64, 64))
    assert ids(opened.notices) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_errors_are_of_the_tree(tmp_path: Path) -> None:
    for bad in (tmp_path, tmp_path / "x", Path("/vsimem/x"), Path("http://x")):
        with pytest.raises(RsovError):
            scene(bad)


_CHILD = """
import sys, time
from rsov.raster.preflight_isolate import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells a child that its parent ended")
def test_S35_an_isolated_decoder_ends_with_the_run_that_started_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, _CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    assert child.exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while child.exists() and "State:\tZ" not in child.joinpath("status").read_text():
        assert time.monotonic() < until, "the child lives on"
        time.sleep(0.05)
