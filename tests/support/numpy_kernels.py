"""What the engine's kernels compute, said in NumPy: oracle of the tests and rival of the benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def add_tile(total: Array, weights: Array, scores: Array, wy: Array, wx: Array, row: int, col: int) -> None:
    """See rsov.kernels.blend.add_tile."""
    _, height, width = scores.shape
    top, bottom = max(0, -row), min(height, total.shape[1] - row)
    left, right = max(0, -col), min(width, total.shape[2] - col)
    if bottom <= top or right <= left:
        return
    window = wy[top:bottom, None] * wx[None, left:right]
    total[:, row + top : row + bottom, col + left : col + right] += scores[:, top:bottom, left:right] * window
    weights[row + top : row + bottom, col + left : col + right] += window


def interpolate(scores: Array, ylo: Array, yt: Array, xlo: Array, xt: Array) -> Array:
    """Bilinear scores [C, H, W] at the output pixels."""
    below = np.minimum(ylo.astype(int) + 1, scores.shape[1] - 1)
    right = np.minimum(xlo.astype(int) + 1, scores.shape[2] - 1)
    rows = scores[:, ylo] + yt[:, None] * (scores[:, below] - scores[:, ylo])
    return rows[:, :, xlo] + xt * (rows[:, :, right] - rows[:, :, xlo])


def decide(
    scores: Array, ylo: Array, yt: Array, xlo: Array, xt: Array, valid: Array, thresholds: Array, none_id: int
) -> tuple[Array, Array, Array]:
    """Labels, confidence and probs of rsov.kernels.decide.decide."""
    at = interpolate(scores, ylo, yt, xlo, xt)
    shares = np.exp(at - at.max(0))
    shares /= shares.sum(0)
    winner = at.argmax(0)
    best = shares.max(0)
    winner[best < thresholds[winner]] = 0
    labels = np.where(winner == 0, none_id, winner)
    confidence = np.floor(250 * best + 0.5).astype(np.uint8)
    probs = np.floor(250 * shares[1:] + 0.5).astype(np.uint8)
    if valid.size:
        labels[~valid] = 0
        confidence[~valid] = 255
        probs[:, ~valid] = 255
    return labels.astype(np.uint8 if none_id == 255 else np.uint16), confidence, probs
