"""The area of pixels where it changes from place to place, and what each label covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsov.kernels._jit import njit

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray


@njit
def across(table: NDArray[np.float64], x: float, y: float, step: tuple[float, float]) -> float:
    """Integral of the pixel area along the line ``y``, from the first column's edge to ``x``.

    Args:
        table: (rows, columns, 2), 2 at least of each: at nodes spread evenly over the raster, edges included,
            the area of a pixel, which is bilinear between them, and its integral to there from the left.
        x: pixel place.
        y: the same.
        step: pixels between nodes, in x and y.
    """
    i = min(max(int(x / step[0]), 0), table.shape[1] - 2)
    j = min(max(int(y / step[1]), 0), table.shape[0] - 2)
    right, v = x - i * step[0], y / step[1] - j
    above, below = table[j], table[j + 1]
    before = above[i, 1] + v * (below[i, 1] - above[i, 1])
    first = above[i, 0] + v * (below[i, 0] - above[i, 0])
    last = above[i + 1, 0] + v * (below[i + 1, 0] - above[i + 1, 0])
    return float(before + right * (first + right / step[0] * (last - first) / 2))


@njit
def add_labels(
    labels: NDArray[Any],
    row: int,
    table: NDArray[np.float64],
    step: tuple[float, float],
    pixels: NDArray[np.int64],
    area: NDArray[np.float64],
) -> None:
    """Add the pixels and the area of each label, a run of equal ones at a time.

    The area is that along the middle line of each row. Rows stand alone, so sums do not depend on how rows
    come in blocks.

    Args:
        labels: (h, width) unsigned and below N; rows from ``row`` on of a raster.
        row: the first of them.
        table: as for :func:`across`.
        step: the same.
        pixels: (N,) added to.
        area: (N,) added to, in the unit of the table.
    """
    width = labels.shape[1]
    for y in range(labels.shape[0]):
        start, before = 0, 0.0
        for x in range(1, width + 1):
            if x == width or labels[y, x] != labels[y, start]:
                now = across(table, x, row + y + 0.5, step)
                pixels[labels[y, start]] += x - start
                area[labels[y, start]] += now - before
                start, before = x, now
