"""Rings of closed regions: taken out of the vertex store, measured, moved to the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit
from rsov.kernels.trace import (
    LIST,
    MARK,
    N_FREE,
    NEXT,
    Q_HEAD,
    TWIN,
    X,
    Y,
)

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
def extract(
    closed: I64, count: int, vertices: I32, free: I32, n: I64, xy: I32, rings: I64, parts: I64
) -> None:
    """Take the rings of the first ``count`` closed regions out of the store and free their vertices.

    Args:
        closed: (n, fields) queue of the scan.
        count: how many of them to take.
        vertices, free, n: the store.
        xy: (sum of vertices and list lengths, 2) filled with pixel corners (x, y); first point of a ring repeated.
        rings: (rings + 1,) filled with offsets into ``xy``.
        parts: (count + 1,) filled with offsets into ``rings``; the outer ring of a region is its first.
    """
    size, ring = 0, 0
    rings[0] = 0
    parts[0] = 0
    for k in range(count):
        _separate(closed[k, Q_HEAD], vertices)
        first_ring, outer = ring, -1
        v = closed[k, Q_HEAD]
        while v >= 0:
            if not vertices[v, MARK] & TAKEN:
                begin, doubled_area = size, 0
                u = v
                while not vertices[u, MARK] & TAKEN:
                    vertices[u, MARK] |= TAKEN
                    if not vertices[u, MARK] & DROPPED:
                        xy[size, 0], xy[size, 1] = vertices[u, X], vertices[u, Y]
                        if size > begin:
                            doubled_area += np.int64(xy[size - 1, 0]) * xy[size, 1]
                            doubled_area -= np.int64(xy[size, 0]) * xy[size - 1, 1]
                        size += 1
                    twin = vertices[u, TWIN]
                    if twin >= 0:
                        vertices[twin, TWIN] = -1
                        vertices[u, TWIN] = -1
                    free[n[N_FREE]] = u  # nothing is allocated before the end, so the fields stay readable
                    n[N_FREE] += 1
                    u = vertices[u, NEXT]
                xy[size, 0], xy[size, 1] = xy[begin, 0], xy[begin, 1]
                doubled_area += np.int64(xy[size - 1, 0]) * xy[size, 1]
                doubled_area -= np.int64(xy[size, 0]) * xy[size - 1, 1]
                size += 1
                if doubled_area > 0:
                    outer = ring
                ring += 1
                rings[ring] = size
            v = vertices[v, LIST]
        if outer > first_ring:
            _move_to_front(xy, rings, first_ring, outer)
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
def _metric(tensor: F64, x: float, y: float, step_x: float, step_y: float) -> tuple[float, float, float]:
    """Metric tensor (E, F, G) at a pixel place, bilinear between the nodes of the table."""
    fx, fy = x / step_x, y / step_y
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
def _density(e: float, f: float, g: float) -> float:
    return np.sqrt(max(e * g - f * f, 0.0))


@njit
def measure(
    xy: I32, rings: I64, parts: I64, tensor: F64, width: int, height: int, area: F64, perim: F64
) -> None:
    """Area and length of border of each region on the ground.

    The area is the integral of the pixel area over the triangles (first point, edge), each by the
    rule of the three edge midpoints, which is exact for a density of second degree; an edge's length
    is the integral of its speed by Simpson's rule.

    Args:
        xy, rings, parts: as from :func:`extract`.
        tensor: (rows, columns, 3) metric E, F, G of pixel steps in m2 at nodes spread evenly over the raster.
        width, height: size of the raster.
        area, perim: (regions,) filled with m2 and m.
    """
    step_x, step_y = width / (tensor.shape[1] - 1), height / (tensor.shape[0] - 1)
    for k in range(parts.size - 1):
        ox, oy = float(xy[rings[parts[k]], 0]), float(xy[rings[parts[k]], 1])
        total, length = 0.0, 0.0
        for ring in range(parts[k], parts[k + 1]):
            x0, y0 = float(xy[rings[ring], 0]), float(xy[rings[ring], 1])
            e0, f0, g0 = _metric(tensor, x0, y0, step_x, step_y)
            spoke = _density(*_metric(tensor, (x0 + ox) / 2, (y0 + oy) / 2, step_x, step_y))
            for i in range(rings[ring] + 1, rings[ring + 1]):
                x1, y1 = float(xy[i, 0]), float(xy[i, 1])
                dx, dy = x1 - x0, y1 - y0
                e1, f1, g1 = _metric(tensor, x1, y1, step_x, step_y)
                em, fm, gm = _metric(tensor, (x0 + x1) / 2, (y0 + y1) / 2, step_x, step_y)
                a = np.sqrt(max(e0 * dx * dx + 2 * f0 * dx * dy + g0 * dy * dy, 0.0))
                b = np.sqrt(max(em * dx * dx + 2 * fm * dx * dy + gm * dy * dy, 0.0))
                c = np.sqrt(max(e1 * dx * dx + 2 * f1 * dx * dy + g1 * dy * dy, 0.0))
                length += (a + 4 * b + c) / 6
                next_spoke = _density(*_metric(tensor, (x1 + ox) / 2, (y1 + oy) / 2, step_x, step_y))
                doubled = (x0 - ox) * (y1 - oy) - (x1 - ox) * (y0 - oy)
                total += doubled / 6 * (spoke + next_spoke + _density(em, fm, gm))
                x0, y0, e0, f0, g0, spoke = x1, y1, e1, f1, g1, next_spoke
        area[k] = abs(total)
        perim[k] = length


@njit
def to_ground(xy: I32, rings: I64, transform: F64, out: F64) -> None:
    """Pixel corners to CRS coordinates, outer rings counterclockwise there.

    Args:
        xy, rings: as from :func:`extract`.
        transform: a, b, c, d, e, f of the affine.
        out: (points, 2) filled.
    """
    a, b, c, d, e, f = transform
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
