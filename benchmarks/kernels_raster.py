"""Band scaling, histogram and overview kernels beside NumPy and GDAL: equal results, and how much faster.

    python benchmarks/kernels_raster.py

Both sides run in one thread on the same arrays (3 x 2048 x 2048; overviews 4096 x 4096); best of five.
"Overviews, GDAL" goes from file to file: all levels of a work file, by rasterio's ``build_overviews`` and by
rsov.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from rsov.kernels.overview import halve_mode
from rsov.kernels.resample import area_average
from rsov.kernels.scaling import apply_linear, apply_lut, count_values
from rsov.raster.overviews import level_sizes, with_overviews
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 2048
LEVELS_SIDE = 4096
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


def patches(side: int) -> np.ndarray:
    """Labels like a map's: patches of 16 px, one pixel in fifty another class, no data in a corner."""
    rng = np.random.default_rng(1)
    labels = np.kron(rng.integers(1, 5, (side // 16, side // 16), np.uint8), np.ones((16, 16), np.uint8))
    labels[rng.random(labels.shape) < 0.02] = 4
    labels[: side // 4, : side // 4] = 0
    return labels


def halving() -> tuple[float, float]:
    labels = patches(LEVELS_SIDE)
    out = np.empty((LEVELS_SIDE // 2, LEVELS_SIDE // 2), np.uint8)

    def rival() -> np.ndarray:
        """The first of the most frequent known ones: votes of each of the four for the others."""
        four = [labels[i::2, j::2] for i in (0, 1) for j in (0, 1)]
        votes = np.stack([sum((one == other).view(np.uint8) for other in four) * (one != 0) for one in four])
        return np.choose(votes.argmax(0), four)

    halve_mode(labels, out)
    assert (out == rival()).all()
    return best(rival), best(lambda: halve_mode(labels, out))


def overviews(kind: Literal["mode", "average"]) -> tuple[float, float]:
    labels = patches(LEVELS_SIDE)
    grid = Grid(LEVELS_SIDE, LEVELS_SIDE, Affine.identity(), None)
    with tempfile.TemporaryDirectory() as folder:
        with WorkRaster(Path(folder) / "labels.tif", grid, "uint8") as work:
            work.write(grid.window, labels)
        factors = [2**n for n in range(1, len(level_sizes(LEVELS_SIDE, LEVELS_SIDE)) + 1)]

        def rival() -> None:
            work.path.with_suffix(".tif.ovr").unlink(missing_ok=True)
            beside = rasterio.Env(TIFF_USE_OVR="YES", COMPRESS_OVERVIEW="ZSTD", ZSTD_LEVEL_OVERVIEW="1")
            with beside, rasterio.open(work.path, "r+") as dataset:
                dataset.build_overviews(factors, Resampling[kind])

        theirs = best(rival)
        work.path.with_suffix(".tif.ovr").unlink()
        return theirs, best(lambda: with_overviews(work.path, kind, lambda: None))


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    rng = np.random.default_rng(0)
    rows = [(f"scale {dtype}", *scaling(rng, dtype)) for dtype in ("uint8", "uint16", "int16", "float32")]
    rows += [(f"histogram {dtype}", *histogram(rng, dtype)) for dtype in ("uint8", "uint16")]
    rows.append(("area average 4 x 4", *averaging(rng)))
    rows.append(("halve by mode", *halving()))
    rows += [(f"overviews by {kind}, GDAL", *overviews(kind)) for kind in ("mode", "average")]
    print(f"{'kernel':<27} {'rival ms':>9} {'rsov ms':>9} {'ratio':>6}")
    for name, rival, ours in rows:
        print(f"{name:<27} {rival * 1e3:9.1f} {ours * 1e3:9.1f} {rival / ours:6.1f}")


if __name__ == "__main__":
    main()
