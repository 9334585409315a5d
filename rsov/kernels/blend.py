"""Weighted sums of overlapping tiles, and their normalisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit

F32 = NDArray[np.float32]


@njit
def add_tile(total: F32, weights: F32, scores: F32, wy: F32, wx: F32, row: int, col: int) -> None:
    """Add a tile's scores, weighted by a separable window, into running sums.

    total [C, H, W] and weights [H, W] are changed; scores [C, h, w] (any strides), wy [h], wx [w]; the tile's upper
    left cell is (row, col) of the sums, and what lies beyond them is left out.
    """
    channels, height, width = scores.shape
    top, bottom = max(0, -row), min(height, total.shape[1] - row)
    left, right = max(0, -col), min(width, total.shape[2] - col)
    for y in range(top, bottom):
        for x in range(left, right):
            weights[row + y, col + x] += wy[y] * wx[x]
        for c in range(channels):
            for x in range(left, right):
                total[c, row + y, col + x] += scores[c, y, x] * (wy[y] * wx[x])


@njit
def normalise(total: F32, weights: F32, out: F32) -> None:
    """The first rows of the sums divided by their weights into out [C, n, W]; 0 where nothing was added."""
    channels, rows, width = out.shape
    for y in range(rows):
        for c in range(channels):
            for x in range(width):
                weight = weights[y, x]
                out[c, y, x] = total[c, y, x] / weight if weight > 0 else np.float32(0)
