"""From scores on the coarse score grid to labels, confidence and probabilities of output pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

STEPS = 250
"""Confidence and probabilities are stored as 0..250 for 0..1; 255 is no data."""
NO_VALUE = 255

_F = np.float32
_LOG2_E = np.float32(1.4426950408889634)
_LOWEST = np.float32(-80.0)  # exp(-80) is far below half a step, and 2^n stays a normal float32


@njit
def _exp(x: np.float32) -> np.float32:
    """e^x for x <= 0 within 1e-6: 2^f by a polynomial (Cephes, exp2f) times 2^n by the exponent's bits."""
    z = max(x, _LOWEST) * _LOG2_E
    n = np.floor(z)
    f = z - n
    p = _F(1.8775767e-3)
    p = p * f + _F(8.9893397e-3)
    p = p * f + _F(5.5826318e-2)
    p = p * f + _F(2.4015361e-1)
    p = p * f + _F(6.9315308e-1)
    p = p * f + _F(9.9999994e-1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return np.float32(p * power)


@njit
def _interpolate(
    sums: F32,
    inverse: F32,
    first: int,
    lo: int,
    t: np.float32,
    xlo: NDArray[np.uint32],
    xt: F32,
    row: F32,
    out: F32,
) -> None:
    """One output row of every channel: down on the cells from ``first`` (row), then across (out)."""
    channels, height, columns = sums.shape
    hi = min(lo + 1, height - 1)
    width = min(row.size - 1, columns - first)
    over, under = inverse[lo, first:], inverse[hi, first:]
    for c in range(channels):
        above, below, line = sums[c, lo, first:], sums[c, hi, first:], out[c]
        for j in range(width):
            score = above[j] * over[j]
            row[j] = score + t * (below[j] * under[j] - score)
        row[width] = row[width - 1]
        for x in range(xlo.size):
            j = xlo[x]
            left = row[j]
            line[x] = left + xt[x] * (row[j + np.uint32(1)] - left)


@njit
def _winner(line: F32, best: F32, arg: NDArray[np.int32]) -> None:
    """Largest score of each pixel and its channel; the first of equals."""
    best[:] = line[0]
    arg[:] = 0
    for c in range(1, line.shape[0]):
        other = line[c]
        for x in range(best.size):
            more = other[x] > best[x]
            best[x] = other[x] if more else best[x]
            arg[x] = c if more else arg[x]


@njit
def _shares(line: F32, best: F32, total: F32) -> None:
    """Sum over the channels of e^(score - best): the winner's softmax is its inverse."""
    total[:] = _F(0)
    for c in range(line.shape[0]):
        one = line[c]
        for x in range(best.size):
            total[x] += _exp(one[x] - best[x])


@njit
def decide(
    sums: F32,
    inverse: F32,
    ylo: NDArray[np.uint32],
    yt: F32,
    xlo: NDArray[np.uint32],
    xt: F32,
    valid: NDArray[np.bool_],
    thresholds: F32,
    none_id: int,
    labels: NDArray[np.uint8],
    confidence: U8,
    probs: U8,
) -> None:
    """Bilinear scores at the output pixels, their arg-max and softmax.

    Scores are sums [C, n, w] * inverse [n, w], channel 0 = none; (ylo [H], yt [H]) and (xlo [W], xt [W]) are
    lower cell and fraction of each output row and column. valid is [H, W], or [0, 0] where all pixels are.
    thresholds is [C], softmax values below which the winner gives way to none. Written: labels [H, W] (0 =
    invalid), confidence [H, W] or [0, 0], probs [C - 1, H, W] or [0, 0, 0].
    """
    channels = sums.shape[0]
    height, out_width = labels.shape
    first = xlo[0]
    columns = xlo - first
    masked, with_confidence, with_probs = valid.size > 0, confidence.size > 0, probs.size > 0
    with_thresholds = thresholds.max() > 0
    row = np.empty(columns[-1] + 3, np.float32)
    line = np.empty((channels, out_width), np.float32)
    best, total = np.empty(out_width, np.float32), np.empty(out_width, np.float32)
    arg = np.empty(out_width, np.int32)
    for y in range(height):
        _interpolate(sums, inverse, first, ylo[y], yt[y], columns, xt, row, line)
        _winner(line, best, arg)
        if with_confidence or with_probs or with_thresholds:
            _shares(line, best, total)
        if with_confidence:
            for x in range(out_width):
                confidence[y, x] = np.uint8(_F(STEPS) / total[x] + _F(0.5))
        if with_probs:
            for c in range(1, channels):
                for x in range(out_width):
                    share = _exp(line[c, x] - best[x]) / total[x]
                    probs[c - 1, y, x] = np.uint8(_F(STEPS) * share + _F(0.5))
        if with_thresholds:
            for x in range(out_width):
                if _F(1) / total[x] < thresholds[arg[x]]:
                    arg[x] = 0
        for x in range(out_width):
            labels[y, x] = none_id if arg[x] == 0 else arg[x]
        if masked:
            for x in range(out_width):
                if not valid[y, x]:
                    labels[y, x] = 0
                    if with_confidence:
                        confidence[y, x] = NO_VALUE
                    if with_probs:
                        probs[:, y, x] = NO_VALUE
