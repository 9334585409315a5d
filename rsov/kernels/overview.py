"""The next coarser level of a raster, and whether one is what it should be.

A level has a pixel for 2 x 2 finer ones; a last odd row or column counts twice. The checks judge a level by
what it has to be, not by making it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsov.kernels._jit import njit

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


@njit
def halve_mode(labels: NDArray[Any], result: NDArray[Any]) -> None:
    """Most frequent known label of 2 x 2 pixels, the first of equals; 0 (unknown) only where all four are.

    labels [H, W] of an integer type; written: result [ceil(H / 2), ceil(W / 2)].
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


@njit
def _known(values: tuple[Any, ...], unknown: int) -> tuple[int, int]:
    """Sum and number of those that are not ``unknown``."""
    total = count = 0
    for value in values:
        if value != unknown:
            total += int(value)
            count += 1
    return total, count


@njit
def halve_mean(scores: NDArray[Any], unknown: int, result: NDArray[Any]) -> None:
    """Mean of the known ones of 2 x 2 pixels, halves rounded up; ``unknown`` only where all four are.

    scores [H, W] of an unsigned type; written: result [ceil(H / 2), ceil(W / 2)].
    """
    bottom, right = scores.shape[0] - 1, scores.shape[1] - 1
    for y in range(result.shape[0]):
        above, below = scores[2 * y], scores[min(2 * y + 1, bottom)]
        for x in range(result.shape[1]):
            left, next_to_it = 2 * x, min(2 * x + 1, right)
            four = (above[left], above[next_to_it], below[left], below[next_to_it])
            total, count = _known(four, unknown)
            result[y, x] = (2 * total + count) // (2 * count) if count else unknown


@njit
def is_mode(labels: NDArray[Any], level: NDArray[Any]) -> bool:
    """Whether no known label is more frequent in 2 x 2 pixels than that of ``level``, which is one of them.

    labels [H, W], level [ceil(H / 2), ceil(W / 2)]; unknown (0) only where all four are.
    """
    bottom, right = labels.shape[0] - 1, labels.shape[1] - 1
    for y in range(level.shape[0]):
        above, below = labels[2 * y], labels[min(2 * y + 1, bottom)]
        for x in range(level.shape[1]):
            left, next_to_it = 2 * x, min(2 * x + 1, right)
            a, b, c, d = above[left], above[next_to_it], below[left], below[next_to_it]
            value = level[y, x]
            if a == value and b == value and c == value and d == value:  # nearly everywhere
                continue
            found = int(a == value) + int(b == value) + int(c == value) + int(d == value)
            if value == 0:
                return False
            if found < 2:
                others = int(a == b) + int(a == c) + int(a == d) + int(b == c) + int(b == d) + int(c == d)
                unknown = int(a == 0) + int(b == 0) + int(c == 0) + int(d == 0)
                # The one pixel of that label is in no pair: pairs are of others, or of unknown pixels.
                if found == 0 or others > unknown * (unknown - 1) // 2:
                    return False
    return True


@njit
def is_mean(scores: NDArray[Any], unknown: int, level: NDArray[Any]) -> bool:
    """Whether ``level`` is no further than a half from the mean of the known ones of 2 x 2 pixels.

    scores [H, W], level [ceil(H / 2), ceil(W / 2)]; ``unknown`` only where all four are.
    """
    bottom, right = scores.shape[0] - 1, scores.shape[1] - 1
    for y in range(level.shape[0]):
        above, below = scores[2 * y], scores[min(2 * y + 1, bottom)]
        for x in range(level.shape[1]):
            left, next_to_it = 2 * x, min(2 * x + 1, right)
            four = (above[left], above[next_to_it], below[left], below[next_to_it])
            total, count = _known(four, unknown)
            shown = int(level[y, x])
            if (shown == unknown) != (count == 0) or 2 * abs(shown * count - total) > count:
                return False
    return True
