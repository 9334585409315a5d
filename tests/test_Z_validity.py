"""Raster zoo: which pixels are valid (robustness.md, Z24-Z32, Z47)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.enums import ColorInterp

from rsov.errors import UsageError
from rsov.types import Notices
from tests.support.rasters import ids, read, scene, texture, valid, write


def test_Z24_nan_and_inf_are_invalid_beside_nodata(tmp_path: Path) -> None:
    data = texture().astype("float32")
    data[0, 0, 0], data[1, 0, 1], data[2, 0, 2], data[:, 0, 3] = np.nan, np.inf, -np.inf, -9999
    path = write(tmp_path / "a.tif", data, nodata=-9999)
    expected = np.ones((64, 64), bool)
    expected[0, :4] = False
    assert (read(path).valid == expected).all()
    assert (valid(path) == expected).all()
    unscaled = write(tmp_path / "b.tif", data)
    expected[0, 3] = True
    assert (valid(unscaled) == expected).all()


def test_Z25_nodata_nan(tmp_path: Path) -> None:
    data = texture().astype("float32")
    data[:, :5] = np.nan
    mask = valid(write(tmp_path / "a.tif", data, nodata=np.nan))
    assert not mask[:5].any()
    assert mask[5:].all()


def test_Z26_nodata_that_the_type_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    extra = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(path, np.moveaxis(texture(), 0, -1), photometric="rgb", extratags=extra)
    notices = Notices()
    opened = scene(path, notices)
    assert "W-nodata-range" in ids(notices)
    assert opened.all_valid
    notices = Notices()
    assert valid(write(tmp_path / "b.tif", texture(), nodata=0.5), notices).all()
    assert "W-nodata-range" in ids(notices)


@pytest.mark.parametrize("nodata", [-3.4028235e38, -3.4e38, 1e20, -1.27e30])
def test_Z27_rounded_float_nodata(tmp_path: Path, nodata: float) -> None:
    data = texture().astype("float32")
    data[:, :, :7] = np.float32(nodata)
    mask = valid(write(tmp_path / "a.tif", data, nodata=nodata))
    assert not mask[:, :7].any()
    assert mask[:, 7:].all()


def per_band_nodata(tmp_path: Path) -> tuple[Path, np.ndarray]:
    data = texture()
    data[0, 0], data[1, 1], data[2, 2], data[0, 3], data[:, 4] = 0, 255, 7, 255, np.array([[0], [255], [7]])
    write(tmp_path / "s.tif", data)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{b}"><NoDataValue>{n}</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">s.tif</SourceFilename><SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>'
        for b, n in ((1, 0), (2, 255), (3, 7))
    )
    (tmp_path / "n.vrt").write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{bands}</VRTDataset>')
    return tmp_path / "n.vrt", data


def test_Z28_nodata_per_band(tmp_path: Path) -> None:
    path, data = per_band_nodata(tmp_path)
    hits = np.stack([data[0] == 0, data[1] == 255, data[2] == 7])
    notices = Notices()
    assert (valid(path, notices, allow_vrt=True) == ~hits.any(0)).all()
    assert "W-nodata-per-band" in ids(notices)
    assert (valid(path, allow_vrt=True, mask_rule="all") == ~hits.all(0)).all()


def test_Z29_real_values_that_look_like_nodata(tmp_path: Path) -> None:
    data = texture()
    data[:, np.random.default_rng(3).random((64, 64)) < 0.05] = 0
    notices = Notices()
    scene(write(tmp_path / "a.tif", data, nodata=0), notices)
    assert "W-nodata-holes" in ids(notices)
    assert "--nodata none" in next(n.message for n in notices.items if n.id == "W-nodata-holes")
    for value, roofs in ((0, "black"), (255, "white"), (7, "")):
        notices = Notices()
        scene(write(tmp_path / "c.tif", np.where(data == 0, value, data), nodata=value), notices)
        said = next(n.message for n in notices.items if n.id == "W-nodata-holes")
        assert f"nodata ({value})" in said
        assert [word for word in ("black", "white") if word in said] == [roofs] * bool(roofs)
    collar = texture()
    collar[:, :20] = 0
    notices = Notices()
    scene(write(tmp_path / "b.tif", collar, nodata=0), notices)
    assert ids(notices) == []
    assert valid(tmp_path / "a.tif", nodata=()).all()


def test_Z29_a_black_frame_that_nothing_declares_is_told(tmp_path: Path) -> None:
    data = texture()
    data[:, :20] = 0
    frame = write(tmp_path / "a.tif", data)
    for options, told in (({}, ["W-nodata-undeclared"]), ({"nodata": (0.0,)}, []), ({"nodata": ()}, [])):
        notices = Notices()
        scene(frame, notices, **options)
        assert ids(notices) == told
    notices = Notices()
    scene(write(tmp_path / "b.tif", np.maximum(data, 1)), notices)
    assert ids(notices) == [], "dark is not black"


def test_Z30_almost_black_that_a_mask_leaves_beside_the_picture_is_told(tmp_path: Path) -> None:
    """Where JPEG blurred a black frame, the pixels of exact black end before it does."""
    data = texture(128, 128, top=60) + 60
    data[:, :, :50] = 0
    inside = np.where((data > 0).all(0), 255, 0).astype(np.uint8)
    path = write(tmp_path / "clean.tif", data, after=lambda out: out.write_mask(inside))
    notices = Notices()
    scene(path, notices)
    assert ids(notices) == []
    inside[:, 47:] = 255
    data[:, :, 47:50] = 9
    path = write(tmp_path / "blurred.tif", data, after=lambda out: out.write_mask(inside))
    scene(path, notices)
    assert ids(notices) == ["W-nodata-fringe"]
    advice = re.search(r"--nodata (\d+) --nodata-tolerance (\d+) --mask-rule all", notices.items[0].message)
    notices = Notices()
    kept = valid(path, notices, nodata=(int(advice[1]),), nodata_tolerance=int(advice[2]), mask_rule="all")
    assert (kept == (data > 50).all(0)).all()
    assert ids(notices) == []


def test_Z30_dark_ground_and_frames_of_another_colour_are_no_fringe(tmp_path: Path) -> None:
    white = texture(128, 128)
    white[:, :, 50:53] = 2
    for ground, nodata in ((texture(128, 128, top=16), 0), (white, 255)):
        ground[:, :, :50] = nodata
        notices = Notices()
        scene(write(tmp_path / "a.tif", ground, nodata=nodata), notices, mask_rule="all")
        assert ids(notices) == []


def test_Z30_jpeg_artefacts_around_nodata(tmp_path: Path) -> None:
    data = texture(128, 128)
    data[:, :, :50] = 0
    path = write(
        tmp_path / "a.tif", data, compress="JPEG", nodata=0, tiled=True, blockxsize=64, blockysize=64
    )
    with rasterio.open(path) as file:
        assert (file.read()[:, :, :48] != 0).any() or (file.read()[:, :, 48:50] != 0).any(), (
            "JPEG changed nodata pixels"
        )
    strict, tolerant = (
        valid(path, mask_rule="all"),
        valid(path, mask_rule="all", nodata_tolerance=40),
    )
    assert strict[:, :50].sum() > 100
    assert tolerant[:, :50].sum() <= 2
    assert tolerant[:, 50:].mean() > 0.99, "the picture itself stays"


def masks(tmp_path: Path) -> dict[str, Path]:
    data = texture()
    inner = np.zeros((64, 64), np.uint8)
    inner[:, 10:] = 255
    paths = {}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        paths["internal"] = write(tmp_path / "i.tif", data, after=lambda out: out.write_mask(inner))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        paths["msk"] = write(tmp_path / "m.tif", data, after=lambda out: out.write_mask(inner))
    rgba = np.concatenate([data, inner[None]])
    paths["alpha"] = write(tmp_path / "a.tif", rgba, alpha="YES")
    rgba[:3, :5] = 0
    paths["alpha and nodata"] = write(tmp_path / "an.tif", rgba, alpha="YES", nodata=0)
    return paths


@pytest.mark.parametrize("kind", ["internal", "msk", "alpha", "alpha and nodata"])
def test_Z31_masks_and_alpha(tmp_path: Path, kind: str) -> None:
    path = masks(tmp_path)[kind]
    assert Path(f"{tmp_path / 'm.tif'}.msk").exists()
    expected = np.ones((64, 64), bool)
    expected[:, :10] = False
    pixels = read(path)
    assert (pixels.valid == expected).all()
    assert (valid(path) == expected).all()
    assert (pixels.data[:, expected] == texture()[:, expected]).all() or kind == "alpha and nodata"
    assert scene(path).info()["mask"] == ("alpha" if "alpha" in kind else "mask")


def test_Z31_half_transparent_pixels(tmp_path: Path) -> None:
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[0, :4] = 0, 127, 128, 254
    path = write(tmp_path / "a.tif", np.concatenate([texture(), alpha[None]]), alpha="YES")
    assert valid(path)[0, :4].tolist() == [False, False, True, True]


def test_Z31_mask_band_before_alpha_and_nodata(tmp_path: Path) -> None:
    rgba = np.concatenate([texture(), np.zeros((1, 64, 64), np.uint8)])
    inner = np.full((64, 64), 255, np.uint8)
    inner[:9] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "a.tif", rgba, nodata=7, after=lambda out: out.write_mask(inner), alpha="NO")
    mask = valid(path)
    assert not mask[:9].any()
    assert mask[9:].all()


def test_Z31_alpha_of_one_bit_and_of_eight_bits_in_sixteen(tmp_path: Path) -> None:
    for dtype, opaque in (("uint8", 1), ("uint16", 255), ("uint16", 65535)):
        alpha = np.full((1, 64, 64), opaque, dtype)
        alpha[0, :7] = 0
        path = write(
            tmp_path / f"{dtype}{opaque}.tif",
            np.concatenate([texture(dtype=dtype), alpha]),
            photometric="RGB",
            alpha="YES",
        )
        mask = valid(path)
        assert not mask[:7].any()
        assert mask[7:].all(), opaque


def test_Z32_near_infrared_tagged_as_alpha(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(bands=4), photometric="MINISBLACK")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    notices = Notices()
    assert valid(path, notices).all()
    assert "W-alpha-data" in ids(notices)
    quiet = Notices()
    assert not valid(path, quiet, alpha="yes").all()
    assert valid(path, quiet, alpha="no").all()
    assert ids(quiet) == []


@pytest.mark.parametrize(
    ("case", "options", "told"),
    [
        ("NO", {}, "no band marked as alpha"),
        ("YES", {"nodata": (0,)}, "--nodata goes first"),
        ("YES", {"bands": (1, 2, 4)}, "one of its colours"),
    ],
)
def test_Z32_an_alpha_that_is_asked_for_and_cannot_be_used_is_refused(
    tmp_path: Path, case: str, options: dict[str, Any], told: str
) -> None:
    path = write(tmp_path / "a.tif", texture(bands=4), photometric="RGB", alpha=case)
    with pytest.raises(UsageError, match=told) as caught:
        scene(path, alpha="yes", **options)
    assert caught.value.id == "E-alpha"


def test_Z32_feathered_alpha_is_still_alpha(tmp_path: Path) -> None:
    alpha = np.full((1, 256, 256), 255, np.uint8)
    alpha[0, :100], alpha[0, 100] = 0, np.arange(256)
    notices = Notices()
    mask = valid(write(tmp_path / "a.tif", np.concatenate([texture(256, 256), alpha]), alpha="YES"), notices)
    assert ids(notices) == []
    assert not mask[:100].any()


def test_Z47_all_nodata(tmp_path: Path) -> None:
    notices = Notices()
    path = write(tmp_path / "a.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    pixels = read(path, notices=notices, scale="auto")
    assert not pixels.any_valid
    assert not valid(path).any()
    assert "W-no-valid" in ids(notices)
    floats = write(tmp_path / "b.tif", np.full((3, 64, 64), np.nan, np.float32))
    assert not read(floats, scale="auto").any_valid
