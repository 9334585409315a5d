"""Every file of the zoo and every orthomosaic of the reference folder opens, or is refused with a code of the table."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from rsov.errors import RsovError
from rsov.types import Notices, Window
from tests.support.rasters import ids, read, scene

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RSOV_SHARED", ROOT.parent / "shared"))
MANIFEST = SHARED / "data" / "zoo" / "manifest.json"
ENTRIES = (
    [e for e in json.loads(MANIFEST.read_text()) if e["group"] != "Vector files"]
    if MANIFEST.is_file()
    else []
)
MEMORY = 500 << 20

REFUSED = {
    "albers.img": "drivers beyond GeoTIFF, JPEG, PNG, JPEG 2000 are not loaded (S-env)",
    "gcps_only.tif": "control points need --gcp (Z13), one band needs --bands (Z34)",
    "gcps_only_small.tif": "as above",
    "white-gemini-iv.vrt": "VRTs need --allow-vrt (S08)",
    "per_band_nodata.vrt": "as above",
    "unsupported_srs.tif": "a CRS that cannot be read is refused unless --crs says it (Z06)",
}
"""Files that the manifest reads and a row of robustness.md refuses; the rows stand."""


@pytest.mark.parametrize("entry", ENTRIES or [None], ids=lambda e: e["file"] if e else "absent")
def test_zoo(shared: Path, entry: dict[str, str]) -> None:
    path = shared / "data" / "zoo" / entry["file"]
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        opened = scene(path, scale="auto")
        with opened.open_reader() as reader:
            pixels = reader.read(Window(0, 0, min(600, opened.work.width), min(600, opened.work.height)))
        outcome = "read"
    except RsovError as error:
        assert error.code in (2, 3, 7)  # noqa: PT017 - either outcome is right
        assert error.fix or error.where  # noqa: PT017 - as above
        outcome = f"refused {error.id}"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024 < MEMORY
    if outcome == "read":
        assert entry["outcome"] != "error"
        assert pixels.data.dtype == np.uint8
    elif entry["outcome"] == "read":
        assert entry["file"] in REFUSED or outcome == "refused E-bands-few", outcome


GREY = [e["file"] for e in ENTRIES if e["file"].endswith(".tif")]


@pytest.mark.parametrize("name", GREY or [None])
def test_zoo_first_band_as_grey(shared: Path, name: str) -> None:
    """With --bands 1,1,1 the single-band files are read too; what is damaged is still refused."""
    try:
        opened = scene(shared / "data" / "zoo" / name, scale="auto", bands=(1, 1, 1), gcp="ignore")
        with opened.open_reader() as reader:
            reader.read(Window(0, 0, min(600, opened.work.width), min(600, opened.work.height)))
            reader.valid(Window(0, 0, min(600, opened.grid.width), min(600, opened.grid.height)))
    except RsovError as error:
        assert error.code in (2, 3, 7)  # noqa: PT017 - either outcome is right


def zoo(shared: Path, name: str, **options: object) -> object:
    return scene(shared / "data" / "zoo" / name, scale="auto", **options)


def test_zoo_gsd_of_odd_units(shared: Path) -> None:
    def gsd(name: str, **options: object) -> tuple[float, float]:
        return scene(shared / "data" / "zoo" / name, bands=(1, 1, 1), **options).gsd

    assert gsd("us_feet.tif")[0] == pytest.approx(0.6, abs=0.01)
    assert gsd("webp_strips.tif")[0] == pytest.approx(1.147, abs=0.01), (
        "Web Mercator: nominal 1.19 at 17 degrees"
    )
    assert gsd("one_pixel_km.tif")[0] > 100, "kilometres"
    assert gsd("geographic.tif")[1] == pytest.approx(0.125 * 110_574, rel=0.01)
    assert gsd("dateline.tif")[0] == pytest.approx(gsd("dateline.tif")[1], rel=0.01)
    assert np.prod(gsd("rotated.tif", gsd=0.3)) == pytest.approx(0.3**2), "pixels of 2 : 1 keep their shape"


def test_zoo_huge_sparse_file_is_refused_for_its_blocks(shared: Path) -> None:
    with pytest.raises(RsovError) as caught:
        zoo(shared, "huge_sparse.tif", bands=(1, 1, 1))
    assert caught.value.id == "E-input-block-size"


def test_zoo_masks(shared: Path) -> None:
    for name, kind in (("alpha.tif", "alpha"), ("rgb_mask.tif", "mask"), ("rgb_nodata0.tif", "nodata"), ("bgra_uint16.tif", "alpha"),
                       ("jp2_alpha_1bit.jp2", "alpha"), ("cmyk.tif", "none")):  # fmt: skip
        assert zoo(shared, name).info()["mask"] == kind, name
    assert zoo(shared, "bgra_uint16.tif").decoder.raw.bands.indexes == (3, 2, 1)
    assert not read(shared / "data/zoo/all_nodata.tif").any_valid


def test_zoo_vrts_when_allowed(shared: Path) -> None:
    with pytest.raises(RsovError) as caught:
        zoo(shared, "white-gemini-iv.vrt", allow_vrt=True)
    assert caught.value.id == "E-gcp"
    warped = zoo(shared, "white-gemini-iv.vrt", allow_vrt=True, gcp="warp")
    assert warped.gsd is not None
    with pytest.raises(RsovError) as caught:
        zoo(shared, "per_band_nodata.vrt", allow_vrt=True)
    assert caught.value.id == "E-bands-few"


def test_zoo_crs_that_cannot_be_read_is_replaced_by_a_stated_one(shared: Path) -> None:
    opened = scene(shared / "data/zoo/unsupported_srs.tif", crs="EPSG:3857", bands=(1, 1, 1))
    assert opened.grid.crs.to_epsg() == 3857
    with opened.open_reader() as reader:
        reader.read(Window(0, 0, 8, 8))


ORTHOS = sorted((SHARED / "data" / "orthos").glob("*.tif"))


@pytest.mark.parametrize("path", ORTHOS or [None], ids=lambda p: p.stem if p else "absent")
def test_orthomosaics_open(shared: Path, path: Path) -> None:
    notices = Notices()
    opened = scene(path, notices, scale="auto")
    with opened.open_reader() as reader:
        pixels = reader.read(Window(0, 0, opened.work.width, opened.work.height))
        mask = reader.valid(opened.output_grid.window)
    assert opened.gsd is not None
    assert 0.01 < min(opened.gsd) < 5.1
    assert mask.any()
    assert abs(mask.mean() - pixels.valid.mean()) < 0.03
    assert 60 < pixels.data[:, pixels.valid].mean() < 190
    assert "W-no-gsd" not in ids(notices)
