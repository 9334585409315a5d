"""The kernels of reading give what NumPy, SciPy and scikit-image give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import block_reduce
from skimage.transform import resize

from rsov.kernels.resample import area_average, bilinear
from rsov.kernels.scaling import apply_linear, apply_lut, count_values, fill_invalid


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_lut_is_numpys_take(dtype: str) -> None:
    rng = np.random.default_rng(0)
    size = 256 if dtype == "uint8" else 65536
    data = rng.integers(0, size, (3, 37, 41)).astype(dtype)
    lut = rng.integers(0, 256, (3, size)).astype(np.uint8)
    out = np.empty(data.shape, np.uint8)
    apply_lut(data, lut, out)
    assert (out == np.stack([np.take(lut[b], data[b]) for b in range(3)])).all()


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_linear_scale_is_numpys(dtype: str) -> None:
    rng = np.random.default_rng(1)
    data = (
        (rng.normal(60, 80, (3, 33, 35))).clip(-100 if np.dtype(dtype).kind != "u" else 0, 120).astype(dtype)
    )
    gain, offset = np.array([0.7, 3.3, 1.0]), np.array([4.0, -9.5, 0.0])
    out = np.empty(data.shape, np.uint8)
    apply_linear(data, gain, offset, out)
    expected = np.clip(
        data.astype(np.float64) * gain[:, None, None] + (offset[:, None, None] + 0.5), 0, 255
    ).astype(np.uint8)
    assert (out == expected).all()


def test_linear_scale_of_nan_and_infinity() -> None:
    data = np.array([[[np.nan, np.inf, -np.inf]]] * 3, np.float32)
    out = np.empty(data.shape, np.uint8)
    apply_linear(data, np.ones(3), np.zeros(3), out)
    assert out[0, 0].tolist() == [0, 255, 0]


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_histogram_is_numpys_bincount(height: int, width: int, share: float) -> None:
    rng = np.random.default_rng(2)
    data = rng.integers(0, 256, (3, height, width)).astype(np.uint8)
    valid = rng.random((height, width)) < share
    counts = np.zeros(256, np.int64)
    count_values(data, valid, counts)
    assert (counts == np.bincount(data[:, valid].ravel(), minlength=256)).all()


def test_fill_paints_invalid_pixels() -> None:
    data = np.zeros((3, 5, 6), np.uint8)
    valid = np.random.default_rng(3).random((5, 6)) < 0.5
    colour = np.array([1, 2, 3], np.uint8)
    fill_invalid(data, valid, colour)
    assert (data == np.where(valid, 0, colour[:, None, None])).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 20), st.integers(1, 20))
def test_area_average_of_whole_factors_is_scikit_images(fy: int, fx: int, rows: int, columns: int) -> None:
    source = np.random.default_rng(4).integers(0, 256, (3, rows * fy, columns * fx)).astype(np.uint8)
    out, valid = np.empty((3, rows, columns), np.uint8), np.empty((rows, columns), bool)
    area_average(source, np.ones(source.shape[1:], bool), (0, 0), (float(fy), float(fx)), (0, 0), out, valid)
    expected = block_reduce(source.astype(float), (1, fy, fx), np.mean)
    assert np.abs(out - expected).max() <= 0.5 + 1e-3
    assert valid.all()


@pytest.mark.parametrize("scale", [(3.7, 2.3), (3.0, 0.75), (0.375, 2.5)])
def test_area_average_of_masked_pixels_is_the_weighted_mean(scale: tuple[float, float]) -> None:
    rng = np.random.default_rng(5)
    source = rng.integers(0, 256, (3, 60, 50)).astype(np.uint8)
    keep = rng.random((60, 50)) < 0.4
    rows, columns = int(60 / scale[0]), int(50 / scale[1])
    out, valid = np.full((3, rows, columns), 77, np.uint8), np.empty((rows, columns), bool)
    area_average(source, keep, (0, 0), scale, (0, 0), out, valid)

    def weights(count: int, step: float, size: int) -> np.ndarray:
        edges = np.arange(count + 1) * step
        return np.clip(
            np.minimum(edges[1:, None], np.arange(size) + 1) - np.maximum(edges[:-1, None], np.arange(size)),
            0,
            None,
        )

    wy, wx = weights(rows, scale[0], 60), weights(columns, scale[1], 50)
    cover = wy @ keep @ wx.T
    total = np.stack([wy @ (band * keep) @ wx.T for band in source.astype(float)])
    some = cover > 1e-6
    assert np.abs(out[:, some] - (total[:, some] / cover[some])).max() <= 0.51
    assert (out[:, ~some] == 77).all()
    whole = wy.sum(1)[:, None] * wx.sum(1)
    clear = np.abs(cover / whole - 0.5) > 1e-3
    assert (valid[clear] == (cover / whole >= 0.5)[clear]).all()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_is_scikit_images(factor: int) -> None:
    source = np.random.default_rng(6).integers(0, 256, (3, 12, 15)).astype(np.uint8)
    shape = (12 * factor, 15 * factor)
    out, valid = np.empty((3, *shape), np.uint8), np.empty(shape, bool)
    bilinear(source, np.ones((12, 15), bool), (0, 0), (1 / factor, 1 / factor), (0, 0), out, valid)
    expected = np.stack(
        [resize(band.astype(float), shape, order=1, mode="edge", anti_aliasing=False) for band in source]
    )
    assert np.abs(out - expected).max() <= 0.51
    assert valid.all()


@settings(max_examples=30, deadline=None)
@given(st.floats(1.01, 9), st.integers(0, 20), st.integers(0, 20))
def test_resampling_does_not_depend_on_the_window(scale: float, row: int, col: int) -> None:
    rng = np.random.default_rng(7)
    source = rng.integers(0, 256, (3, 200, 200)).astype(np.uint8)
    keep = rng.random((200, 200)) < 0.8
    size = int(200 / scale)
    whole, whole_valid = np.zeros((3, size, size), np.uint8), np.empty((size, size), bool)
    area_average(source, keep, (0, 0), (scale, scale), (0, 0), whole, whole_valid)
    row, col = min(row, size - 1), min(col, size - 1)
    top, left = int(row * scale), int(col * scale)
    part, part_valid = (
        np.zeros((3, size - row, size - col), np.uint8),
        np.empty((size - row, size - col), bool),
    )
    area_average(
        np.ascontiguousarray(source[:, top:, left:]),
        np.ascontiguousarray(keep[top:, left:]),
        (top, left),
        (scale, scale),
        (row, col),
        part,
        part_valid,
    )
    assert (part == whole[:, row:, col:]).mean() > 0.999
    assert (part_valid == whole_valid[row:, col:]).all()
