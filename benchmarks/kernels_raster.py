"""Band scaling and histogram kernels beside NumPy: equal results, and how many times as fast.

    python benchmarks/kernels_raster.py

Both sides run in one thread on the same arrays (3 x 2048 x 2048); best of five.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from rsov.kernels.resample import area_average
from rsov.kernels.scaling import apply_linear, apply_lut, count_values

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 2048
REPEATS = 5


def best(function: Callable[[], object]) -> float:
    """Shortest time in seconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def numpy_scale(data: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The rival of both scaling kernels: NumPy, float64 as the kernels."""
    return np.clip(data * gain[:, None, None] + (offset[:, None, None] + 0.5), 0, 255).astype(np.uint8)


def scaling(rng: np.random.Generator, dtype: str) -> tuple[float, float]:
    gain, offset = np.array([0.06, 0.07, 0.05]), np.array([3.0, -4.0, 5.0])
    top = 256 if dtype == "uint8" else 4000
    data = rng.integers(0, top, (3, SIDE, SIDE)).astype(dtype)
    out = np.empty(data.shape, np.uint8)
    if dtype in ("uint8", "uint16"):
        values = np.arange(256 if dtype == "uint8" else 65536)
        lut = np.floor(np.clip(values * gain[:, None] + offset[:, None] + 0.5, 0, 255)).astype(np.uint8)

        def run() -> None:
            apply_lut(data, lut, out)
    else:

        def run() -> None:
            apply_linear(data, gain, offset, out)

    run()
    assert (out == numpy_scale(data, gain, offset)).all()
    return best(lambda: numpy_scale(data, gain, offset)), best(run)


def histogram(rng: np.random.Generator, dtype: str) -> tuple[float, float]:
    size = 256 if dtype == "uint8" else 65536
    data = rng.integers(0, size, (3, SIDE, SIDE)).astype(dtype)
    valid = rng.random((SIDE, SIDE)) < 0.95
    counts = np.zeros(size, np.int64)
    count_values(data, valid, counts)
    assert (counts == np.bincount(data[:, valid].ravel(), minlength=size)).all()
    return best(lambda: np.bincount(data[:, valid].ravel(), minlength=size)), best(
        lambda: count_values(data, valid, counts)
    )


def averaging(rng: np.random.Generator) -> tuple[float, float]:
    data = rng.integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
    valid = np.ones((SIDE, SIDE), bool)
    out, good = np.empty((3, SIDE // 4, SIDE // 4), np.uint8), np.empty((SIDE // 4, SIDE // 4), bool)

    def rival() -> np.ndarray:
        blocks = data.reshape(3, SIDE // 4, 4, SIDE // 4, 4)
        return np.floor(blocks.mean((2, 4), dtype=np.float32) + 0.5).astype(np.uint8)

    def run() -> None:
        area_average(data, valid, (0, 0), (4.0, 4.0), (0, 0), out, good)

    run()
    assert np.abs(out.astype(int) - rival()).max() <= 1
    return best(rival), best(run)


def main() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"scale {dtype}", *scaling(rng, dtype)) for dtype in ("uint8", "uint16", "int16", "float32")]
    rows += [(f"histogram {dtype}", *histogram(rng, dtype)) for dtype in ("uint8", "uint16")]
    rows.append(("area average 4 x 4", *averaging(rng)))
    print(f"{'kernel':<20} {'NumPy ms':>9} {'rsov ms':>9} {'ratio':>6}")
    for name, rival, ours in rows:
        print(f"{name:<20} {rival * 1e3:9.1f} {ours * 1e3:9.1f} {rival / ours:6.1f}")


if __name__ == "__main__":
    main()
