"""Simplification of the borders in a band of rows: corners are taken off, both sides at once."""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit
from rsov.kernels.rings import DROPPED
from rsov.kernels.trace import CORNER, EAST, MARK, NEXT, NODE, NORTH, SOUTH, WEST, X, Y

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

KEY_BITS = 32
"""A queue entry is the doubled area above the corner's number: one integer, in a total order."""


class Graph(NamedTuple):
    """The borders of a band: corners of the lattice, numbered row by row, and which are neighbours."""

    corners: I32
    """(n, 2) x, y."""
    links: I32
    """(n, 4) neighbours along N, E, S, W as the borders are now; -1 = none."""
    free: Bools
    """Corners that may go."""
    gone: Bools
    rows: I64
    """Offsets of the rows from ``top`` to ``bottom``."""
    top: int
    bottom: int


@njit
def _place_corners(vertices: I32, made: I32, seam: I32, top: int) -> I32:
    """Number the corners of the band row by row, those of its upper seam first."""
    corners = np.empty((seam.size + made.size, 2), np.int32)
    count = seam.size
    for k in range(count):
        corners[k, 0], corners[k, 1] = seam[k], top
    for v in made:
        x, y = vertices[v, X], vertices[v, Y]
        if y == top and seam.size:
            vertices[v, CORNER] = np.searchsorted(seam, x)
            continue
        if count == 0 or corners[count - 1, 0] != x or corners[count - 1, 1] != y:
            corners[count, 0], corners[count, 1] = x, y
            count += 1
        vertices[v, CORNER] = count - 1
    return corners[:count]


@njit
def _graph(vertices: I32, made: I32, seam: I32, top: int, bottom: int) -> Graph:
    """Join neighbouring corners and find those that may go: turns between two regions off the seams."""
    corners = _place_corners(vertices, made, seam, top)
    count = corners.shape[0]
    links = np.full((count, 4), -1, np.int32)
    free = np.ones(count, np.bool_)
    for v in made:
        k, w = vertices[v, CORNER], vertices[v, NEXT]
        if vertices[v, MARK] & NODE or vertices[v, Y] == top or vertices[v, Y] == bottom:
            free[k] = False
        if w < 0 or vertices[w, Y] < top:
            continue
        other = vertices[w, CORNER]
        dx, dy = vertices[w, X] - vertices[v, X], vertices[w, Y] - vertices[v, Y]
        direction = (EAST if dx > 0 else WEST) if dy == 0 else SOUTH if dy > 0 else NORTH
        links[k, direction] = other
        links[other, (direction + 2) & 3] = k
    free[: seam.size] = False
    levels = np.arange(top, bottom + 2).astype(np.int32)
    rows = np.searchsorted(corners[:, 1].copy(), levels).astype(np.int64)
    return Graph(corners, links, free, np.zeros(count, np.bool_), rows, top, bottom)


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
    return int((corners[b, 0] - ax) * (y - ay) - (corners[b, 1] - ay) * (x - ax))


@njit
def _key(graph: Graph, k: int) -> int:
    u, w = _neighbours(graph.links, k)
    return (abs(_cross(graph.corners, u, w, graph.corners[k, 0], graph.corners[k, 1])) << KEY_BITS) | k


@njit
def _span(corners: I32, triangle: tuple[int, int, int], y: int) -> tuple[float, float]:
    """Where a row passes through a triangle."""
    left, right = np.inf, -np.inf
    for side in range(3):
        a, b = triangle[side], triangle[(side + 1) % 3]
        ya, yb = corners[a, 1], corners[b, 1]
        xa, xb = float(corners[a, 0]), float(corners[b, 0])
        if ya == yb == y:
            left, right = min(left, xa, xb), max(right, xa, xb)
        elif ya != yb and min(ya, yb) <= y <= max(ya, yb):
            x = xa + (xb - xa) * (y - ya) / (yb - ya)
            left, right = min(left, x), max(right, x)
    return left, right


@njit
def _is_clear(graph: Graph, u: int, k: int, w: int) -> bool:
    """Whether no other corner lies in the closed triangle (u, k, w)."""
    corners = graph.corners
    low = min(corners[k, 1], corners[u, 1], corners[w, 1])
    high = max(corners[k, 1], corners[u, 1], corners[w, 1])
    turn = 1 if _cross(corners, u, k, corners[w, 0], corners[w, 1]) >= 0 else -1
    for y in range(low, high + 1):
        left, right = _span(corners, (u, k, w), y)
        i, end = graph.rows[y - graph.top], graph.rows[y - graph.top + 1]
        i += np.searchsorted(corners[i:end, 0], np.int32(np.floor(left)))
        while i < end and corners[i, 0] <= right + 1:  # rounding is outdone, the exact test follows
            x = corners[i, 0]
            if (
                not graph.gone[i]
                and i not in (k, u, w)
                and turn * _cross(corners, u, k, x, y) >= 0
                and turn * _cross(corners, k, w, x, y) >= 0
                and turn * _cross(corners, w, u, x, y) >= 0
            ):
                return False
            i += 1
    return True


@njit
def _may_go(graph: Graph, u: int, k: int, w: int) -> bool:
    """Whether ``u`` and ``w`` can become neighbours without ``k``."""
    y = graph.corners[u, 1]
    if y == graph.corners[w, 1] and y in (graph.top, graph.bottom):
        return False  # the other band may draw the same line along the seam
    for d in range(4):
        if graph.links[u, d] == w:
            return False  # a ring or the ground between two borders would collapse
    return _is_clear(graph, u, k, w)


@njit
def _remove(graph: Graph, u: int, k: int, w: int) -> None:
    graph.gone[k] = True
    for d in range(4):
        if graph.links[u, d] == k:
            graph.links[u, d] = w
        if graph.links[w, d] == k:
            graph.links[w, d] = u


@njit
def drop_corners(vertices: I32, made: I32, seam: I32, span: tuple[int, int], doubled_area: int) -> I32:
    """Mark the vertices of a band that simplification takes away (Visvalingam and Whyatt 1993).

    The corner with the smallest triangle goes first, while its area is within the limit. A corner
    stays where its triangle holds another corner or where its neighbours are neighbours already:
    so no two borders ever cross or touch, no ring collapses, and every region keeps its holes
    (de Berg, van Kreveld and Schirra 1998). Corners where three or more regions meet and those of the
    band's first and last row stay. Both sides of a border see the same corners go.

    Args:
        vertices: the store of the scan.
        made: vertices of the band in the order in which the scan made them.
        seam: columns of all corners of the upper seam, ascending, those of closed regions too.
        span: rows of the upper and the lower seam.
        doubled_area: twice the largest area of a triangle to take away, in pixels, below 2**31.

    Returns:
        Columns of all corners of the lower seam.
    """
    graph = _graph(vertices, made, seam, span[0], span[1])
    keys = np.full(graph.free.size, -1, np.int64)
    limit = ((doubled_area + 1) << KEY_BITS) - 1
    queue: list[Any] = [np.int64(k) for k in range(0)]
    for k in range(graph.free.size):
        if graph.free[k]:
            keys[k] = _key(graph, k)
            if keys[k] <= limit:
                queue.append(keys[k])
    heapq.heapify(queue)
    while len(queue) > 0:
        key = heapq.heappop(queue)
        corner = key & ((1 << KEY_BITS) - 1)
        if graph.gone[corner] or key != keys[corner]:
            continue  # replaced by a later entry
        u, w = _neighbours(graph.links, corner)
        if not _may_go(graph, u, corner, w):
            continue
        _remove(graph, u, corner, w)
        for side in (u, w):
            if graph.free[side]:
                keys[side] = _key(graph, side)
                if keys[side] <= limit:
                    heapq.heappush(queue, keys[side])
    for v in made:
        if graph.gone[vertices[v, CORNER]]:
            vertices[v, MARK] |= DROPPED
    return graph.corners[graph.rows[span[1] - span[0]] :, 0].copy()
