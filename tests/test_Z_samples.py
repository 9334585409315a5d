"""Raster zoo: what samples mean (robustness.md, Z20-Z23, Z33-Z39, Z48, Z51, Z56)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.enums import ColorInterp

from rsov.errors import InputError, UsageError
from rsov.raster.radiometry import (
    HIGH_TARGET,
    LOW_TARGET,
    MAX_GAIN,
    SETTLING_PIXELS,
    estimate,
    parse_rule,
    percentile_pair,
)
from rsov.types import Notices
from tests.support.rasters import ids, read, scene, texture, valid, write

if TYPE_CHECKING:
    from pathlib import Path


def stretched(data: np.ndarray, lo: float, hi: float, cap: float = np.inf) -> np.ndarray:
    """The documented scale, written with NumPy."""
    gain = min((HIGH_TARGET - LOW_TARGET) / (hi - lo), cap)
    return np.floor(np.clip(data.astype(float) * gain + 127.5 - gain * (lo + hi) / 2 + 0.5, 0, 255)).astype(
        np.uint8
    )


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_Z20_every_real_type_is_scaled_by_one_rule(tmp_path: Path, dtype: str) -> None:
    data = texture(64, 64, top=120).astype(dtype)
    if np.dtype(dtype).kind in "if":
        data = (data - 60).astype(dtype)
    path = write(tmp_path / "a.tif", data)
    opened = scene(path, scale="auto")
    lo, hi = np.percentile(data, [0.5, 99.5], method="inverted_cdf").astype(float)
    if np.dtype(dtype).kind == "u":  # values of 0..255: a small picture is stretched less
        lo, hi = np.average([[lo, hi], [0, 255]], axis=0, weights=[64 * 64, SETTLING_PIXELS])
    assert opened.radiometry.lo[0] == pytest.approx(lo)
    assert opened.radiometry.hi[0] == pytest.approx(hi)
    cap = np.inf if dtype.startswith("float") else MAX_GAIN
    difference = read(path, scale="auto").data.astype(int) - stretched(data, float(lo), float(hi), cap)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
    assert opened.info()["dtype"] == dtype


def test_Z20_scale_rules(tmp_path: Path) -> None:
    data = texture(dtype="uint16", top=3000)
    path = write(tmp_path / "a.tif", data)
    assert (read(path, scale="none").data == np.minimum(data, 255)).all()
    found = read(path, scale="100,2100").data
    assert (found == np.floor(np.clip((data - 100.0) * 255 / 2000 + 0.5, 0, 255))).all()
    lo, hi = np.percentile(data, [2, 98], method="inverted_cdf")
    assert (read(path, scale="p2,p98").data == stretched(data, float(lo), float(hi))).all()
    assert scene(path, scale="p2,p98").info()["radiometry"]["rule"] == "p2,p98"
    for wrong in ("banana", "5", "9,1", "p5,80", "p50,p200", "nan,1"):
        with pytest.raises(UsageError):
            scene(path, scale=wrong)


def test_Z20_int8_is_signed(tmp_path: Path) -> None:
    data = np.full((3, 16, 16), -100, np.int8)
    data[:, :8] = 100
    pixels = read(write(tmp_path / "a.tif", data), scale="auto").data
    assert pixels[0, 0, 0] > pixels[0, 15, 0]


@pytest.mark.parametrize("dtype", ["float16"])
def test_Z21_half_floats(tmp_path: Path, dtype: str) -> None:
    data = np.random.default_rng(0).random((32, 32, 3)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb")
    pixels = read(tmp_path / "a.tif", scale="0,1").data
    assert np.abs(pixels - np.moveaxis(data, -1, 0).astype(float) * 255).max() <= 0.51
    assert scene(tmp_path / "a.tif").decoder.raw.bands.dtype in {
        "float32",
        "float16",
    }  # before and since GDAL 3.11


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_Z22_complex_is_refused(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", width=8, height=8, count=3, dtype=dtype):
        pass
    with pytest.raises(InputError) as caught:
        scene(path)
    assert caught.value.id == "E-input-complex"
    assert "intensity" in caught.value.fix


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_Z23_few_bits(tmp_path: Path, bits: int) -> None:
    data = (texture() % (1 << bits)).astype(np.uint8)
    path = write(tmp_path / "a.tif", data, nbits=bits)
    opened = scene(path, scale="auto")
    assert opened.info()["bits"] == bits
    assert opened.decoder.raw.bands.max_value == (1 << bits) - 1
    assert len(np.unique(read(path, scale="auto").data)) == 1 << bits


def test_Z23_twelve_bits(tmp_path: Path) -> None:
    data = texture(dtype="uint16", top=4095)
    path = write(tmp_path / "a.tif", data, nbits=12)
    assert scene(path).decoder.raw.bands.max_value == 4095
    assert read(path, scale="auto").data.std() > 50


def eight_bands(tmp_path: Path) -> tuple[Path, np.ndarray]:
    data = texture(bands=8)
    names = ["coastal", "blue", "green", "yellow", "red", "rededge", "NIR1", "NIR2"]

    def describe(out: rasterio.io.DatasetWriter) -> None:
        for n, name in enumerate(names, 1):
            out.set_band_description(n, name)

    return write(tmp_path / "a.tif", data, photometric="MINISBLACK", after=describe), data


def test_Z33_choosing_bands(tmp_path: Path) -> None:
    path, data = eight_bands(tmp_path)
    for bands in ((5, 3, 2), ("red", "green", "blue"), ("RED", 3, "2")):
        assert (read(path, bands=bands).data == data[[4, 2, 1]]).all()
    assert (read(path).data == data[[4, 2, 1]]).all(), "names of colours are known"
    assert (read(path, sensor="worldview").data == data[[4, 2, 1]]).all()
    assert (read(path, sensor="planetscope8").data == data[[4, 2, 1]]).all(), "names before numbers"
    for wrong in ((9, 1, 2), ("purple", 1, 2), (0, 1, 2), (-1, 1, 2)):
        with pytest.raises(UsageError) as caught:
            scene(path, bands=wrong)
        assert "5 red" in caught.value.where
    with pytest.raises(UsageError):
        scene(path, bands=(1, 2))
    with pytest.raises(UsageError) as caught:
        scene(path, sensor="hubble")
    assert "sentinel2" in caught.value.fix


def test_Z33_bands_without_names_are_taken_in_order_with_a_warning(tmp_path: Path) -> None:
    data = texture(bands=8)
    notices = Notices()
    path = write(tmp_path / "a.tif", data, photometric="MINISBLACK")
    assert (read(path, notices=notices).data == data[:3]).all()
    assert "W-bands" in ids(notices)
    assert (read(path, sensor="sentinel2").data == data[[3, 2, 1]]).all()


def test_Z33_colour_interpretation_orders_bgr(tmp_path: Path) -> None:
    data = texture()
    path = write(tmp_path / "a.tif", data)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    assert (read(path).data == data[::-1]).all()


@pytest.mark.parametrize("bands", [1, 2])
def test_Z34_grey_is_repeated_only_on_request(tmp_path: Path, bands: int) -> None:
    data = texture(bands=bands)
    path = write(tmp_path / "a.tif", data, alpha="YES") if bands == 2 else write(tmp_path / "a.tif", data)
    with pytest.raises(UsageError) as caught:
        scene(path)
    assert caught.value.id == "E-bands-few"
    assert "--bands 1,1,1" in caught.value.fix
    assert (read(path, bands=(1, 1, 1), alpha="no").data == data[[0, 0, 0]]).all()


def test_Z35_palette_is_expanded(tmp_path: Path) -> None:
    indices = (texture(bands=1) % 4).astype(np.uint8)
    colours = {0: (10, 20, 30, 255), 1: (200, 100, 50, 255), 2: (0, 255, 0, 255), 3: (1, 2, 3, 255)}
    path = write(
        tmp_path / "a.tif", indices, photometric="PALETTE", after=lambda out: out.write_colormap(1, colours)
    )
    expected = np.array([colours[n][:3] for n in range(4)], np.uint8)[indices[0]].transpose(2, 0, 1)
    assert (read(path).data == expected).all()
    assert read(path).valid.all()


def test_Z35_transparent_palette_entries_are_invalid(tmp_path: Path) -> None:
    indices = (texture(bands=1) % 4).astype(np.uint8)[0]
    image = Image.fromarray(indices, "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0, 1, 2, 3])
    image.save(tmp_path / "a.png", transparency=bytes([255, 255, 0, 255]))
    assert (read(tmp_path / "a.png").valid == (indices != 2)).all()
    assert (valid(tmp_path / "a.png") == (indices != 2)).all()


@pytest.mark.parametrize("read_first", [False, True])
def test_Z35_transparent_palette_entries_are_invalid_beside_a_mask(tmp_path: Path, read_first: bool) -> None:
    indices, inner = (texture(bands=1) % 4).astype(np.uint8), np.full((64, 64), 255, np.uint8)
    inner[:9] = 0

    def more(out: rasterio.io.DatasetWriter) -> None:
        out.write_colormap(1, {n: (n, 20, 30, 0 if n == 2 else 255) for n in range(4)})
        out.write_mask(inner)

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        path = write(tmp_path / "a.tif", indices, photometric="PALETTE", nodata=2, after=more)
    opened = scene(path)
    assert (opened.decoder.raw.bands.mask.kind, opened.decoder.raw.bands.opaque is None) == ("mask", False)
    with opened.open_reader() as reader:
        if read_first:
            reader.read(opened.output_grid.window)
        found = reader.valid(opened.output_grid.window)
    assert (found == ((indices[0] != 2) & (inner > 0))).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_percentiles_of_0_and_100_are_the_least_and_greatest_values(dtype: str) -> None:
    values = np.arange(50, 90).astype(dtype) * (1 if dtype == "uint8" else 100)
    assert percentile_pair(values, 0, 100) == (values.min(), values.max())


def test_Z36_miniswhite_is_turned_over(tmp_path: Path) -> None:
    grey = texture(bands=1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey[0], photometric="miniswhite")
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        raw = file.read(1)
    pixels = read(path, bands=(1, 1, 1)).data
    assert (pixels == 255 - raw).all()
    plain = write(tmp_path / "b.tif", 255 - raw[None], crs=None, transform=None)
    assert (
        read(path, bands=(1, 1, 1), scale="auto").data == read(plain, bands=(1, 1, 1), scale="auto").data
    ).all()


def test_Z37_cmyk_jpeg_is_rgb_and_noted(tmp_path: Path) -> None:
    smooth = np.linspace(40, 200, 64).astype(np.uint8)
    rgb = Image.fromarray(
        np.stack(np.broadcast_arrays(smooth[:, None], smooth[None], np.uint8(90)), -1).astype(np.uint8)
    )
    rgb.convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    pixels = read(tmp_path / "a.jpg").data
    assert np.abs(pixels.astype(int) - np.moveaxis(np.asarray(rgb), -1, 0)).mean() < 6
    assert scene(tmp_path / "a.jpg").info()["colour_space"] == "CMYK"


def test_Z38_ycbcr_jpeg_in_tiff_is_rgb(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(40, 200, 64).astype(np.uint8), (3, 64, 64)).copy()
    path = write(tmp_path / "a.tif", smooth, compress="JPEG", photometric="YCBCR", jpeg_quality=95)
    assert np.abs(read(path).data.astype(int) - smooth).max() <= 4


def test_Z39_scale_and_offset_are_applied_once(tmp_path: Path) -> None:
    data = texture(dtype="uint16", top=3000)

    def reflectance(out: rasterio.io.DatasetWriter) -> None:
        out.scales, out.offsets = (0.0001,) * 3, (-0.1,) * 3

    path = write(tmp_path / "a.tif", data, after=reflectance)
    values = data * 0.0001 - 0.1
    expected = np.floor(np.clip(values / 0.2 * 255 + 0.5, 0, 255))
    assert np.abs(read(path, scale="0,0.2").data.astype(int) - expected).max() <= 1
    plain = write(tmp_path / "b.tif", data)
    assert (read(path, scale="auto").data == read(plain, scale="auto").data).all(), (
        "a linear scale cannot change the picture"
    )
    lo = np.percentile(values, 0.5, method="inverted_cdf")
    assert scene(path, scale="auto").radiometry.lo[0] == pytest.approx(lo)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize(("scale", "offset"), [(0.0001, 0.0), (0.05, -3.0), (40.0, 7.0)])
def test_Z39_one_scale_for_all_bands_does_not_change_the_picture(
    tmp_path: Path, dtype: str, scale: float, offset: float
) -> None:
    """Reflectances of 0 to 1 in 16 bits are no picture of 8 bits, which few pixels would leave all grey."""

    def units(out: rasterio.io.DatasetWriter) -> None:
        out.scales, out.offsets = (scale,) * 3, (offset,) * 3

    data = texture(dtype=dtype, top=250 if dtype == "uint8" else 3000)
    scaled = read(write(tmp_path / "a.tif", data, after=units), scale="auto").data.astype(int)
    plain = read(write(tmp_path / "b.tif", data), scale="auto").data
    assert np.abs(scaled - plain).max() <= 1, "rounding"
    assert np.ptp(scaled) > 200


def test_Z39_different_scales_per_band(tmp_path: Path) -> None:
    data = texture(dtype="uint16", top=2000)

    def units(out: rasterio.io.DatasetWriter) -> None:
        out.scales = (1.0, 2.0, 0.5)

    path = write(tmp_path / "a.tif", data, after=units)
    values = data * np.array([1.0, 2.0, 0.5])[:, None, None]
    assert np.abs(read(path, scale="0,4000").data - values / 4000 * 255).max() <= 0.51


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("scales", "offsets"),
    [
        ((np.nan, 1, 1), (0, 0, 0)),
        ((1, np.inf, 1), (0, 0, 0)),
        ((1, 1, 1), (0, 0, -np.inf)),
        ((1e308, 1, 1), (0, 0, 0)),
        ((1e308, 1e308, 1e308), (0, 0, 0)),
        ((1e-320, 1e-320, 1e-320), (0, 0, 0)),
        ((1, 1, 1), (1e308, -1e308, 0)),
    ],
)
def test_Z39_scales_that_cannot_be_computed_with_are_refused(
    tmp_path: Path, dtype: str, scales: tuple[float, ...], offsets: tuple[float, ...]
) -> None:
    """Else the map is of a picture that is all black or all grey."""

    def units(out: rasterio.io.DatasetWriter) -> None:
        out.scales, out.offsets = scales, offsets

    data = texture(dtype=dtype)
    path = write(tmp_path / "a.tif", data, after=units)
    with pytest.raises(InputError) as caught:
        scene(path, scale="auto")
    assert caught.value.id == "E-input-scale"
    assert "--scale none" in caught.value.fix
    with pytest.raises((InputError, UsageError)):
        scene(path, scale="0,255")
    assert (read(path, scale="none").data == data).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
def test_Z48_constant_image(tmp_path: Path, dtype: str) -> None:
    pixels = read(write(tmp_path / "a.tif", np.full((3, 64, 64), 128, dtype)), scale="auto")
    assert (pixels.data == pixels.data[0, 0, 0]).all()
    assert pixels.data[0, 0, 0] in (127, 128)
    assert pixels.valid.all()


def test_Z48_a_picture_of_one_value_is_told(tmp_path: Path) -> None:
    """Else an all-black file without nodata becomes a map of water, and nobody is told."""
    for colour in ((0, 0, 0), (128, 128, 128), (10, 200, 40)):
        alike = np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, 64, 64)).copy()
        notices = Notices()
        scene(write(tmp_path / "a.tif", alike), notices, scale="auto")
        assert ids(notices) == ["W-no-contrast"]
        assert str(colour) in notices.items[0].message
    notices = Notices()
    scene(write(tmp_path / "a.tif", np.zeros((3, 64, 64), np.uint8), nodata=0), notices)
    assert ids(notices) == ["W-no-valid"]
    alike[1, 63, 63] += 1
    notices = Notices()
    scene(write(tmp_path / "a.tif", alike), notices)
    assert ids(notices) == []


def test_Z51_band_names_are_passed_on_as_they_are(tmp_path: Path) -> None:
    def describe(out: rasterio.io.DatasetWriter) -> None:
        for n, name in enumerate(("=cmd()", "größe", "a\x1b[31mb"), 1):
            out.set_band_description(n, name)

    names = scene(write(tmp_path / "a.tif", texture(), after=describe)).info()["band_names"]
    assert names[:2] == ["=cmd()", "größe"]
    assert read(tmp_path / "a.tif", bands=("=cmd()", "größe", 3)).data.shape == (3, 64, 64)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_Z56_eight_bit_values_in_a_wider_type(tmp_path: Path, dtype: str) -> None:
    for top in (250, 40):
        narrow, wide = texture(top=top), texture(top=top).astype(dtype)
        a = read(write(tmp_path / "a.tif", narrow), scale="auto").data
        b = read(write(tmp_path / "b.tif", wide), scale="auto").data
        assert np.abs(a.astype(int) - b).max() <= 1
    eleven = read(write(tmp_path / "c.tif", texture(dtype="uint16", top=2047)), scale="auto").data
    assert eleven.std() > 50, "not divided by 65535"


def test_flat_pictures_are_not_stretched_to_noise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(top=9))
    assert scene(path, scale="p0.5,p99.5").radiometry.gain[0] == MAX_GAIN
    assert np.ptp(read(path, scale="p0.5,p99.5").data) == MAX_GAIN * 3
    assert np.ptp(read(path, scale="auto").data) == 3, "so small a picture says little"
    large = estimate(texture(top=9).reshape(3, -1), parse_rule("auto"), (1,) * 3, (0,) * 3, 255, pixels=4e7)
    assert large.gain[0] == MAX_GAIN


def test_invalid_pixels_have_the_mean_colour(tmp_path: Path) -> None:
    data = texture()
    data[:, :10] = 0
    path = write(tmp_path / "a.tif", data, nodata=0)
    pixels = read(path)
    mean = data[:, 10:].reshape(3, -1).mean(1)
    assert np.abs(pixels.data[:, 0, 0] - mean).max() <= 0.5
    assert (pixels.data[:, :10] == pixels.data[:, :1, :1]).all()


def test_bands_of_different_types_in_a_vrt_are_read_together(tmp_path: Path) -> None:
    bands = [texture(40, 40, 1, seed=n, dtype=kind) for n, kind in enumerate(("uint8", "uint32", "float32"))]
    rows = ""
    for number, (band, kind) in enumerate(zip(bands, ("Byte", "UInt32", "Float32"), strict=True), 1):
        write(tmp_path / f"{number}.tif", band)
        rows += (
            f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{number}.tif</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand>"
        )
    path = tmp_path / "mixed.vrt"
    path.write_text(f'<VRTDataset rasterXSize="40" rasterYSize="40">{rows}</VRTDataset>')
    pixels = read(path, allow_vrt=True)
    assert pixels.valid.all()
    assert (pixels.data == np.concatenate(bands).astype(np.uint8)).all()
