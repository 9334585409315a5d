"""Simplification of the borders in a band of rows: corners are taken off, both sides at once."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit
from rsov.kernels.rings import DROPPED
from rsov.kernels.trace import CORNER, MARK, NEXT, NODE, X, Y

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

KEY_BITS = 32
"""A queue entry is the doubled area above the corner's number: one integer, in a total order."""


@njit
def _place_corners(vertices: I32, made: I32, kept: int, seam: I32, top: int, corners: I32) -> int:
    """Number the corners of the band row by row, those of its upper seam first; returns how many."""
    count = seam.size
    for k in range(count):
        corners[k, 0], corners[k, 1] = seam[k], top
    for i in range(kept):
        vertices[made[i], CORNER] = np.searchsorted(seam, vertices[made[i], X])
    for i in range(kept, made.size):
        v = made[i]
        x, y = vertices[v, X], vertices[v, Y]
        if i == kept or corners[count - 1, 0] != x or corners[count - 1, 1] != y:
            corners[count, 0], corners[count, 1] = x, y
            count += 1
        vertices[v, CORNER] = count - 1
    return count


@njit
def _link(vertices: I32, made: I32, top: int, bottom: int, corners: I32, links: I32, free: Bools) -> None:
    """Join neighbouring corners (N, E, S, W) and find those that may go: a turn between two regions."""
    for v in made:
        k = vertices[v, CORNER]
        if vertices[v, MARK] & NODE:
            free[k] = False
        w = vertices[v, NEXT]
        if w < 0 or vertices[w, Y] < top:
            continue
        other = vertices[w, CORNER]
        dx, dy = vertices[w, X] - vertices[v, X], vertices[w, Y] - vertices[v, Y]
        direction = (1 if dx > 0 else 3) if dy == 0 else (2 if dy > 0 else 0)
        links[k, direction] = other
        links[other, (direction + 2) & 3] = k
    for k in range(corners.shape[0]):
        if corners[k, 1] == top or corners[k, 1] == bottom:
            free[k] = False


@njit
def _neighbours(links: I32, k: int) -> tuple[int, int]:
    """The two corners beside a corner of degree two."""
    first, second = -1, -1
    for d in range(4):
        if links[k, d] >= 0:
            if first < 0:
                first = links[k, d]
            else:
                second = links[k, d]
    return first, second


@njit
def _cross(corners: I32, a: int, b: int, x: int, y: int) -> int:
    ax, ay = np.int64(corners[a, 0]), np.int64(corners[a, 1])
    return (corners[b, 0] - ax) * (y - ay) - (corners[b, 1] - ay) * (x - ax)


@njit
def _key(corners: I32, links: I32, k: int) -> int:
    u, w = _neighbours(links, k)
    return (abs(_cross(corners, u, w, corners[k, 0], corners[k, 1])) << KEY_BITS) | k


@njit
def _is_clear(corners: I32, rows: I64, gone: Bools, top: int, k: int, u: int, w: int) -> bool:
    """Whether no other corner lies in the closed triangle (u, k, w)."""
    low = min(corners[k, 1], corners[u, 1], corners[w, 1])
    high = max(corners[k, 1], corners[u, 1], corners[w, 1])
    turn = 1 if _cross(corners, u, k, corners[w, 0], corners[w, 1]) >= 0 else -1
    for y in range(low, high + 1):
        left, right = 1e18, -1e18  # where the three sides pass this row
        for a, b in ((u, k), (k, w), (w, u)):
            ya, yb = corners[a, 1], corners[b, 1]
            xa, xb = float(corners[a, 0]), float(corners[b, 0])
            if ya == yb:
                if ya == y:
                    left, right = min(left, xa, xb), max(right, xa, xb)
            elif min(ya, yb) <= y <= max(ya, yb):
                x = xa + (xb - xa) * (y - ya) / (yb - ya)
                left, right = min(left, x), max(right, x)
        begin, end = rows[y - top], rows[y - top + 1]
        i = begin + np.searchsorted(corners[begin:end, 0], np.int32(np.floor(left)))
        while i < end and corners[i, 0] <= right + 1:
            if not gone[i] and i not in (k, u, w):
                px, py = corners[i, 0], corners[i, 1]
                if (
                    turn * _cross(corners, u, k, px, py) >= 0
                    and turn * _cross(corners, k, w, px, py) >= 0
                    and turn * _cross(corners, w, u, px, py) >= 0
                ):
                    return False
            i += 1
    return True


@njit
def _replace(links: I32, k: int, old: int, new: int) -> None:
    for d in range(4):
        if links[k, d] == old:
            links[k, d] = new


@njit
def drop_corners(
    vertices: I32, made: I32, kept: int, seam: I32, top: int, bottom: int, doubled_area: int
) -> I32:
    """Mark the vertices of a band that simplification takes away (Visvalingam and Whyatt 1993).

    The corner with the smallest triangle goes first, while its area is within the limit. A corner
    stays where its triangle holds another corner or where its neighbours are neighbours already:
    so no two borders ever cross or touch, no ring collapses, and every region keeps its holes
    (de Berg, van Kreveld and Schirra 1998). Corners where three or more regions meet and those of the
    band's first and last row stay. Both sides of a border see the same corners go.

    Args:
        vertices: the store of the scan.
        made: vertices of the band in the order in which the scan made them; the first ``kept`` belong to the seam.
        kept: how many of them lie on the upper seam.
        seam: columns of all corners of the upper seam, ascending, those of closed regions too.
        top: row of the upper seam.
        bottom: row of the lower seam.
        doubled_area: twice the largest area of a triangle to take away, in pixels, below 2**31.

    Returns:
        Columns of all corners of the lower seam.
    """
    corners = np.empty((seam.size + made.size, 2), np.int32)
    count = _place_corners(vertices, made, kept, seam, top, corners)
    corners = corners[:count]
    if count == 0:
        return seam[:0]
    links = np.full((count, 4), -1, np.int32)
    free = np.ones(count, np.bool_)
    gone = np.zeros(count, np.bool_)
    _link(vertices, made, top, bottom, corners, links, free)
    rows = np.searchsorted(corners[:, 1], np.arange(top, bottom + 2).astype(np.int32)).astype(np.int64)
    keys = np.full(count, -1, np.int64)
    limit = ((doubled_area + 1) << KEY_BITS) - 1
    queue = [np.int64(k) for k in range(0)]
    for k in range(count):
        if free[k]:
            keys[k] = _key(corners, links, k)
            if keys[k] <= limit:
                queue.append(keys[k])
    heapq.heapify(queue)
    while len(queue) > 0:
        key = heapq.heappop(queue)
        k = key & ((1 << KEY_BITS) - 1)
        if gone[k] or key != keys[k]:
            continue
        u, w = _neighbours(links, k)
        # A chord along a seam could meet one from the other band there.
        joined = corners[u, 1] == corners[w, 1] and (corners[u, 1] == top or corners[u, 1] == bottom)
        for d in range(4):
            joined = joined or links[u, d] == w
        if joined or not _is_clear(corners, rows, gone, top, k, u, w):
            continue
        gone[k] = True
        _replace(links, u, k, w)
        _replace(links, w, k, u)
        for side in (u, w):
            if free[side]:
                keys[side] = _key(corners, links, side)
                if keys[side] <= limit:
                    heapq.heappush(queue, keys[side])
    for v in made:
        if gone[vertices[v, CORNER]]:
            vertices[v, MARK] |= DROPPED
    return corners[rows[bottom - top] :, 0].copy()
