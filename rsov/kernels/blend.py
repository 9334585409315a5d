"""Weighted sums of overlapping tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit

F32 = NDArray[np.float32]


@njit
def add_tile(total: F32, weights: F32, scores: F32, wy: F32, wx: F32, row: int, col: int) -> None:
    """Add a tile's scores, weighted by a separable window, into running sums.

    total [C, H, W] and weights [H, W] are changed; scores [C, h, w], wy [h], wx [w]; the tile's upper left
    cell is (row, col) of the sums, and what lies beyond them is left out. All arrays are C-contiguous.
    """
    channels, height, width = scores.shape
    top, bottom = max(0, -row), min(height, total.shape[1] - row)
    left, right = max(0, -col), min(width, total.shape[2] - col)
    count = right - left
    if count <= 0:
        return
    across = wx[left:right]
    window = np.empty(count, np.float32)
    for y in range(top, bottom):
        down = wy[y]
        weight = weights[row + y, col + left : col + right]
        for x in range(count):
            window[x] = down * across[x]
            weight[x] += window[x]
        for c in range(channels):
            sums, line = total[c, row + y, col + left : col + right], scores[c, y, left:right]
            for x in range(count):
                sums[x] += line[x] * window[x]
