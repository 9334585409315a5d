"""The next coarser level of a map of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsov.kernels._jit import njit

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


@njit
def halve_mode(labels: NDArray[Any], result: NDArray[Any]) -> None:
    """Most frequent known label of 2 x 2 pixels, the first of equals; 0 (unknown) only where all four are.

    labels [H, W] of an integer type; written: result [ceil(H / 2), ceil(W / 2)]. A last odd row or column
    counts twice.
    """
    bottom, right = labels.shape[0] - 1, labels.shape[1] - 1
    for y in range(result.shape[0]):
        above, below = labels[2 * y], labels[min(2 * y + 1, bottom)]
        for x in range(result.shape[1]):
            left, next_to_it = 2 * x, min(2 * x + 1, right)
            a, b, c, d = above[left], above[next_to_it], below[left], below[next_to_it]
            if a != 0 and (a in (b, c, d)):
                found = a
            elif b != 0 and (b in (c, d)):
                found = b
            elif c != 0 and c == d:
                found = c
            elif a != 0:
                found = a
            elif b != 0:
                found = b
            else:
                found = c if c != 0 else d
            result[y, x] = found
