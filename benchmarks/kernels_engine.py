"""Blending and deciding against NumPy: same results, times of one thread in the same run.

NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks.kernels_engine
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.engine.blend import window_weights
from rsov.engine.lattice import AxisMap
from rsov.kernels import blend
from rsov.kernels.decide import decide
from tests.support import numpy_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS = 5
CELLS = 256
"""A tile of 1024 px at stride 4."""
UPSAMPLING = 4
REPEATS = 7


def best(function: Callable[[], Any]) -> float:
    """Least seconds of processor time of some calls, the first left out."""
    function()
    times = []
    for _ in range(REPEATS):
        since = time.thread_time()
        function()
        times.append(time.thread_time() - since)
    return min(times)


def line(name: str, ours: float, theirs: float, megapixels: float) -> None:
    print(
        f"{name:34s} numba {1e3 * ours:7.2f} ms ({megapixels / ours:5.0f} Mpx/s)   "
        f"numpy {1e3 * theirs:7.2f} ms   {theirs / ours:5.1f} times as fast"
    )


def add_tile() -> None:
    random = np.random.default_rng(0)
    scores = random.standard_normal((CHANNELS, CELLS, CELLS)).astype(np.float32)
    weights = window_weights(CELLS, 32)
    sums = [
        (np.zeros((CHANNELS, 300, 2500), np.float32), np.zeros((300, 2500), np.float32)) for _ in range(2)
    ]
    blend.add_tile(*sums[0], scores, weights, weights, 10, 700)
    numpy_kernels.add_tile(*sums[1], scores, weights, weights, 10, 700)
    np.testing.assert_array_equal(sums[0][0], sums[1][0])
    ours = best(lambda: blend.add_tile(*sums[0], scores, weights, weights, 10, 700))
    theirs = best(lambda: numpy_kernels.add_tile(*sums[1], scores, weights, weights, 10, 700))
    line("add a tile", ours, theirs, CELLS * CELLS / 1e6)


def deciding(with_confidence: bool, scale: float) -> None:
    random = np.random.default_rng(0)
    scores = (random.standard_normal((CHANNELS, 226, 258)) * 3).astype(np.float32)
    height, width = 512, 1024
    y, x = AxisMap(scale, 0.0, 226).table(0, height, 0), AxisMap(scale, 0.0, 258).table(0, width, 0)
    labels, thresholds = np.empty((height, width), np.uint8), np.zeros(CHANNELS, np.float32)
    confidence = np.empty((height, width) if with_confidence else (0, 0), np.uint8)
    ones = np.ones(scores.shape[1:], np.float32)
    valid, probs = np.empty((0, 0), np.bool_), np.empty((0, 0, 0), np.uint8)

    def rival() -> tuple[Any, Any]:
        if with_confidence:
            return numpy_kernels.decide(scores, *y, *x, valid, thresholds, 255)[:2]
        winner = numpy_kernels.interpolate(scores, *y, *x).argmax(0)
        return np.where(winner == 0, 255, winner).astype(np.uint8), confidence

    ours = best(lambda: decide(scores, ones, *y, *x, valid, thresholds, 255, labels, confidence, probs))
    theirs = best(rival)
    expected = rival()
    np.testing.assert_array_equal(labels, expected[0])
    if with_confidence:
        assert np.abs(confidence.astype(int) - expected[1].astype(int)).max() <= 1
    what = "labels and confidence" if with_confidence else "labels"
    line(f"decide {what}, x{1 / scale:.3g}", ours, theirs, height * width / 1e6)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    add_tile()
    for with_confidence in (False, True):
        for scale in (1 / UPSAMPLING, 0.137):
            deciding(with_confidence, scale)


if __name__ == "__main__":
    main()
