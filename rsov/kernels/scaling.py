"""Samples to 8 bits, and histograms: one pass over the data, no temporaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.kernels._jit import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit
def apply_lut(data: NDArray[Any], lut: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """``out[b, y, x] = lut[b, data[b, y, x]]`` for unsigned samples (B, h, w); lut (B, N), N > samples."""
    bands, height, width = data.shape
    for b in range(bands):
        table = lut[b]
        for y in range(height):
            row = data[b, y]
            target = out[b, y]
            for x in range(width):
                target[x] = table[row[x]]


@njit
def apply_linear(
    data: NDArray[Any], gain: NDArray[np.float64], offset: NDArray[np.float64], out: NDArray[np.uint8]
) -> None:
    """``out = clip(round(data * gain + offset), 0, 255)`` per band (B, h, w); NaN becomes 0."""
    bands, height, width = data.shape
    for b in range(bands):
        g, o = gain[b], offset[b] + 0.5
        for y in range(height):
            row = data[b, y]
            target = out[b, y]
            for x in range(width):
                value = row[x] * g + o
                if not value > 0.0:
                    value = 0.0
                elif value > 255.0:
                    value = 255.0
                target[x] = np.uint8(value)


@njit
def count_values(data: NDArray[Any], valid: NDArray[np.bool_], counts: NDArray[np.int64]) -> None:
    """Add the histogram of the valid pixels of all bands to ``counts`` (N,).

    ``data`` (B, h, w) unsigned and below N, ``valid`` (h, w). Four partial histograms keep equal
    neighbours from waiting for each other's counter.
    """
    bands, height, width = data.shape
    partial = np.zeros((4, counts.shape[0]), np.int64)
    whole = width - width % 4
    for y in range(height):
        keep = valid[y]
        for b in range(bands):
            row = data[b, y]
            for x in range(0, whole, 4):
                partial[0, row[x]] += keep[x]
                partial[1, row[x + 1]] += keep[x + 1]
                partial[2, row[x + 2]] += keep[x + 2]
                partial[3, row[x + 3]] += keep[x + 3]
            for x in range(whole, width):
                partial[0, row[x]] += keep[x]
    for n in range(counts.shape[0]):
        counts[n] += partial[0, n] + partial[1, n] + partial[2, n] + partial[3, n]


@njit
def fill_invalid(data: NDArray[np.uint8], valid: NDArray[np.bool_], colour: NDArray[np.uint8]) -> None:
    """Paint the invalid pixels of (B, h, w) with ``colour`` (B,), in place."""
    bands, height, width = data.shape
    for b in range(bands):
        paint = colour[b]
        for y in range(height):
            row = data[b, y]
            keep = valid[y]
            for x in range(width):
                if not keep[x]:
                    row[x] = paint
