"""Rings of closed regions: taken out of the vertex store, measured, moved to the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit
from rsov.kernels.area import across
from rsov.kernels.trace import LIST, MARK, N_FREE, NEXT, Q_HEAD, TWIN, Store, X, Y

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

SEEN, TAKEN, DROPPED = 1, 2, 4
"""Bits of a vertex's mark; ``DROPPED`` is set by the simplification."""


@njit
def _separate(head: int, vertices: I32) -> None:
    """Cross over where a region meets itself at a corner: one ring that touches itself becomes two rings."""
    v = head
    while v >= 0:
        twin = vertices[v, TWIN]
        if twin >= 0:
            if vertices[twin, MARK] & SEEN:
                vertices[v, NEXT], vertices[twin, NEXT] = vertices[twin, NEXT], vertices[v, NEXT]
            vertices[v, MARK] |= SEEN
        v = vertices[v, LIST]


@njit
def _doubled_area(ring: I32) -> int:
    total = 0
    for i in range(ring.shape[0] - 1):
        total += np.int64(ring[i, 0]) * ring[i + 1, 1] - np.int64(ring[i + 1, 0]) * ring[i, 1]
    return total


@njit
def _walk(store: Store, start: int, xy: I32, size: int) -> int:
    """Write a ring's points from ``start`` on to ``xy[size:]``, the first one twice; returns the new size.

    The vertices go to the free stack. Nothing is allocated before all rings are out, so they stay readable.
    """
    vertices, begin = store.vertices, size
    v = start
    while not vertices[v, MARK] & TAKEN:
        vertices[v, MARK] |= TAKEN
        if not vertices[v, MARK] & DROPPED:
            xy[size, 0], xy[size, 1] = vertices[v, X], vertices[v, Y]
            size += 1
        twin = vertices[v, TWIN]
        if twin >= 0:
            vertices[twin, TWIN] = -1
            vertices[v, TWIN] = -1
        store.free[store.n[N_FREE]] = v
        store.n[N_FREE] += 1
        v = vertices[v, NEXT]
    xy[size, 0], xy[size, 1] = xy[begin, 0], xy[begin, 1]
    return size + 1


@njit
def extract(store: Store, count: int, xy: I32, rings: I64, parts: I64) -> None:
    """Take the rings of the first ``count`` closed regions out of the store and free their vertices.

    Args:
        store: the store of the scan.
        count: how many of the closed regions to take.
        xy: (vertices and rings, 2) filled with pixel corners (x, y); the first point of a ring repeated.
        rings: (rings + 1,) filled with offsets into ``xy``.
        parts: (count + 1,) filled with offsets into ``rings``; the outer ring of a region is its first.
    """
    vertices = store.vertices
    size, ring = 0, 0
    rings[0] = 0
    parts[0] = 0
    for k in range(count):
        v = store.closed[k, Q_HEAD]
        _separate(v, vertices)
        outer = ring
        while v >= 0:
            if not vertices[v, MARK] & TAKEN:
                size = _walk(store, v, xy, size)
                if _doubled_area(xy[rings[ring] : size]) > 0:
                    outer = ring
                ring += 1
                rings[ring] = size
            v = vertices[v, LIST]
        if outer > parts[k]:
            _move_to_front(xy, rings, parts[k], outer)
        parts[k + 1] = ring


@njit
def _move_to_front(xy: I32, rings: I64, first: int, outer: int) -> None:
    begin, start, end = rings[first], rings[outer], rings[outer + 1]
    length = end - start
    ring = xy[start:end].copy()
    for i in range(start - 1, begin - 1, -1):
        xy[i + length, 0], xy[i + length, 1] = xy[i, 0], xy[i, 1]
    xy[begin : begin + length] = ring
    for r in range(outer, first, -1):
        rings[r] = rings[r - 1] + length


@njit
def _metric(tensor: F64, x: float, y: float, step: tuple[float, float]) -> tuple[float, float, float]:
    """Metric tensor (E, F, G) at a pixel place, bilinear between the nodes of the table."""
    fx, fy = x / step[0], y / step[1]
    i = min(max(int(fx), 0), tensor.shape[1] - 2)
    j = min(max(int(fy), 0), tensor.shape[0] - 2)
    u, v = fx - i, fy - j
    a, b, c, d = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
    p, q, r, s = tensor[j, i], tensor[j, i + 1], tensor[j + 1, i], tensor[j + 1, i + 1]
    return (
        a * p[0] + b * q[0] + c * r[0] + d * s[0],
        a * p[1] + b * q[1] + c * r[1] + d * s[1],
        a * p[2] + b * q[2] + c * r[2] + d * s[2],
    )


@njit
def _speed(metric: tuple[float, float, float], dx: float, dy: float) -> float:
    """Ground length of a step."""
    return float(np.sqrt(max(metric[0] * dx * dx + 2 * metric[1] * dx * dy + metric[2] * dy * dy, 0.0)))


@njit
def _measure_ring(ring: I32, tensor: F64, areas: F64, step: tuple[float, float]) -> tuple[float, float]:
    """Signed area between a ring and the column of its first point (Green's theorem), and its length."""
    origin = float(ring[0, 0])
    area, length = 0.0, 0.0
    for i in range(1, ring.shape[0]):
        x0, y0 = float(ring[i - 1, 0]), float(ring[i - 1, 1])
        dx, dy = ring[i, 0] - x0, ring[i, 1] - y0
        pieces = max(1, int(np.ceil(max(abs(dx) / step[0], abs(dy) / step[1]))))
        beside, along = 0.0, 0.0
        for k in range(2 * pieces + 1):
            weight = 4 if k % 2 else 1 if k in (0, 2 * pieces) else 2
            x, y = x0 + dx * k / (2 * pieces), y0 + dy * k / (2 * pieces)
            along += weight * _speed(_metric(tensor, x, y, step), dx, dy)
            if dy != 0:
                beside += weight * (across(areas, x, y, step) - across(areas, origin, y, step))
        area += beside * dy / (6 * pieces)
        length += along / (6 * pieces)
    return area, length


@njit
def measure(
    xy: I32, rings: I64, parts: I64, tensor: F64, areas: F64, step: tuple[float, float]
) -> tuple[F64, F64]:
    """Area and length of all rings of each region on the ground.

    Both are integrals along the edges by Simpson's rule, in pieces no longer than a cell of the tables: the
    area, that of :func:`rsov.kernels.area.across`, is exact within a cell.

    Args:
        xy: points, as from :func:`extract`.
        rings: offsets of rings.
        parts: offsets of regions.
        tensor: (rows, columns, 3) metric E, F, G of pixel steps in m2 at nodes spread evenly over the raster.
        areas: (rows, columns, 2) of the same nodes, as for :func:`rsov.kernels.area.across`.
        step: pixels between nodes, in x and y.

    Returns:
        m2 and m of each region.
    """
    area, perim = np.empty(parts.size - 1), np.empty(parts.size - 1)
    for k in range(parts.size - 1):
        total, length = 0.0, 0.0
        for ring in range(parts[k], parts[k + 1]):
            found = _measure_ring(xy[rings[ring] : rings[ring + 1]], tensor, areas, step)
            total += found[0]
            length += found[1]
        area[k], perim[k] = abs(total), length
    return area, perim


@njit
def to_ground(xy: I32, rings: I64, transform: F64) -> F64:
    """Pixel corners to CRS coordinates, outer rings counterclockwise there.

    Args:
        xy: points, as from :func:`extract`.
        rings: offsets of rings.
        transform: a, b, c, d, e, f of the affine.

    Returns:
        (points, 2).
    """
    a, b, c, d, e, f = transform
    out = np.empty(xy.shape, np.float64)
    turn = (
        a * e - b * d < 0
    )  # rings run clockwise on the screen: a mirrored grid (north up is one) turns them
    for ring in range(rings.size - 1):
        begin, end = rings[ring], rings[ring + 1]
        for i in range(begin, end):
            j = begin + end - 1 - i if turn else i
            x, y = xy[i, 0], xy[i, 1]
            out[j, 0] = a * x + b * y + c
            out[j, 1] = d * x + e * y + f
    return out
