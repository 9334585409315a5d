"""Resampling that obeys masks: area average (finer to coarser) and bilinear (coarser to finer).

Positions are absolute on the source and target grids, so that a target pixel has the same value
whichever part of the picture is asked for. Target pixel ``i`` covers ``[i * scale, (i + 1) * scale)`` of
the source.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsov.kernels._jit import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit
def area_average(
    source: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    origin: tuple[int, int],
    scale: tuple[float, float],
    start: tuple[int, int],
    out: NDArray[np.uint8],
    out_valid: NDArray[np.bool_],
) -> None:
    """Average the valid source pixels under each target pixel, weighted by the covered area.

    Args:
        source: (B, h, w), pixel (0, 0) lies at ``origin``; covers all that the target needs and the grid has.
        valid: (h, w).
        origin: (row, column) of ``source`` on the source grid.
        scale: (rows, columns) of the source per target pixel. Where pixels that are not square become square,
            one of them may be below 1: there a target pixel has the mean of the part that it covers.
        start: (row, column) of ``out`` on the target grid.
        out: (B, H, W), left as it is where no valid pixel lies below.
        out_valid: (H, W), true where at least half of the covered area is valid.
    """
    bands, height, width = source.shape
    columns = np.zeros((bands, width), np.float32)
    cover = np.zeros(width, np.float32)
    for i in range(out.shape[1]):
        top = (start[0] + i) * scale[0] - origin[0]
        bottom = min(top + scale[0], float(height))
        first, last = max(0, math.floor(top)), min(height, math.ceil(bottom))
        columns[:] = 0.0
        cover[:] = 0.0
        for y in range(first, last):
            weight = np.float32(min(bottom, y + 1.0) - max(top, float(y)))
            keep = valid[y]
            for x in range(width):
                cover[x] += weight * keep[x]
            for b in range(bands):
                row, total = source[b, y], columns[b]
                for x in range(width):
                    total[x] += weight * keep[x] * row[x]
        for j in range(out.shape[2]):
            left = (start[1] + j) * scale[1] - origin[1]
            right = min(left + scale[1], float(width))
            x0, x1 = max(0, math.floor(left)), min(width, math.ceil(right))
            area = np.float32(0.0)
            for x in range(x0, x1):
                area += np.float32(min(right, x + 1.0) - max(left, float(x))) * cover[x]
            whole = np.float32((bottom - max(top, 0.0)) * (right - max(left, 0.0)))
            out_valid[i, j] = area >= np.float32(0.5) * whole * np.float32(0.999999) and area > 0
            if area <= 0:
                continue
            for b in range(bands):
                total_b = np.float32(0.0)
                for x in range(x0, x1):
                    total_b += np.float32(min(right, x + 1.0) - max(left, float(x))) * columns[b, x]
                out[b, i, j] = np.uint8(min(np.float32(255.0), total_b / area + np.float32(0.5)))


@njit
def bilinear(
    source: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    origin: tuple[int, int],
    scale: tuple[float, float],
    start: tuple[int, int],
    out: NDArray[np.uint8],
    out_valid: NDArray[np.bool_],
) -> None:
    """Interpolate between the four nearest pixel centres, the valid ones only; arguments as ``area_average``.

    Beyond the outer pixel centres the outer pixels continue. A target pixel is valid if the source pixel
    that holds its centre is. ``scale`` < 1.
    """
    bands, height, width = source.shape
    for i in range(out.shape[1]):
        y = (start[0] + i + 0.5) * scale[0] - 0.5 - origin[0]
        base_y = math.floor(y)
        fy = np.float32(y - base_y)
        y0 = min(max(int(base_y), 0), height - 1)
        y1 = min(max(int(base_y) + 1, 0), height - 1)
        near_y = min(max(math.floor(y + 0.5), 0), height - 1)
        for j in range(out.shape[2]):
            x = (start[1] + j + 0.5) * scale[1] - 0.5 - origin[1]
            base_x = math.floor(x)
            fx = np.float32(x - base_x)
            x0 = min(max(int(base_x), 0), width - 1)
            x1 = min(max(int(base_x) + 1, 0), width - 1)
            near_x = min(max(math.floor(x + 0.5), 0), width - 1)
            w00 = (np.float32(1.0) - fy) * (np.float32(1.0) - fx) * valid[y0, x0]
            w01 = (np.float32(1.0) - fy) * fx * valid[y0, x1]
            w10 = fy * (np.float32(1.0) - fx) * valid[y1, x0]
            w11 = fy * fx * valid[y1, x1]
            weight = w00 + w01 + w10 + w11
            out_valid[i, j] = valid[near_y, near_x]
            if weight <= 0:
                continue
            for b in range(bands):
                value = (
                    w00 * source[b, y0, x0]
                    + w01 * source[b, y0, x1]
                    + w10 * source[b, y1, x0]
                    + w11 * source[b, y1, x1]
                )
                out[b, i, j] = np.uint8(min(np.float32(255.0), value / weight + np.float32(0.5)))
