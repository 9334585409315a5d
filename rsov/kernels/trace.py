"""Borders of the 4-connected regions of a label raster, found row by row.

The scan holds two rows of labels and the borders of the regions that are still open. Borders are
closed rings of vertices at pixel corners, each a linked list: at a corner only the vertex before
and the vertex after have to be known, and those are carried along by column (borders that come
from above) and along the row (borders that come from the left). No arc is ever joined or copied,
and how many rows are handed over at a time cannot change the result.

Directions: a region's border runs with the region on its right (x to the right, y down), so outer
rings run clockwise on the screen. Where two regions of one label touch at a corner, each keeps to
itself; where it turns out to be one region, :func:`rsov.kernels.rings.extract` separates its rings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

X, Y, NEXT, LIST, TWIN, MARK, CORNER, V_FIELDS = 0, 1, 2, 3, 4, 5, 6, 7
"""Fields of a vertex: place, vertex after it, next in the region's list, vertex of the same label across the corner."""
PARENT, CLASS, HEAD, TAIL, VERTICES, PIXELS, CONF_SUM, CONF_PIXELS, LAST_ROW, CUT, R_FIELDS = (*range(10), 10)
"""Fields of an open region; the list (head, tail) holds at least one vertex of each of its rings."""
Q_CLASS, Q_HEAD, Q_VERTICES, Q_PIXELS, Q_CONF_SUM, Q_CONF_PIXELS, Q_CUT, Q_FIELDS = (*range(7), 7)
"""Fields of a closed region that waits for its rings to be taken out."""
N_FREE, N_SLOTS, N_CLOSED, N_DEAD, N_MADE, ROW, N_FIELDS = (*range(6), 6)
"""Counters: free vertices and region slots, closed regions, slots to free, vertices made in this band, row."""

NODE = 8
"""Bit of a vertex's mark: three or four borders meet here. The other bits belong to the ring kernels."""
OUTSIDE = -1
"""Label around the raster."""
CUT_OFFSET = 1 << 20
"""Added to the labels of the last row of a region that is cut, so that it ends there; above any uint16 label."""
CONF_NODATA = 255


@njit
def _find(regions: I64, slot: int) -> int:
    while regions[slot, PARENT] != slot:
        regions[slot, PARENT] = regions[regions[slot, PARENT], PARENT]
        slot = regions[slot, PARENT]
    return slot


@njit
def _merge(regions: I64, vertices: I32, keep: int, gone: int) -> None:
    regions[gone, PARENT] = keep
    for field in (VERTICES, PIXELS, CONF_SUM, CONF_PIXELS):
        regions[keep, field] += regions[gone, field]
    if regions[keep, HEAD] < 0:
        regions[keep, HEAD] = regions[gone, HEAD]
    else:
        vertices[regions[keep, TAIL], LIST] = regions[gone, HEAD]
    regions[keep, TAIL] = regions[gone, TAIL]


@njit
def _label_row(
    row: int, labels: I32, above: I32, ids: I32, ids_above: I32, conf: Any, regions: I64, slots: I32, dead: I32,
    vertices: I32, n: I64,
) -> None:  # fmt: skip
    """Give every run of the row its region: that of the runs it touches above, merged, or a new one."""
    end = labels.size - 1
    c = 1
    while c < end:
        label, start = labels[c], c
        region, seen = -1, -1
        while c < end and labels[c] == label:
            if label > 0 and above[c] == label and ids_above[c] != seen:
                seen = ids_above[c]
                root = _find(regions, seen)
                if region < 0:
                    region = root
                elif root != region:
                    _merge(regions, vertices, region, root)
                    dead[n[N_DEAD]] = root
                    n[N_DEAD] += 1
            c += 1
        if label <= 0:
            ids[start:c] = -1
            continue
        if region < 0:
            n[N_SLOTS] -= 1
            region = slots[n[N_SLOTS]]
            regions[region] = 0
            regions[region, PARENT] = region
            regions[region, CLASS] = label
            regions[region, HEAD] = -1
        ids[start:c] = region
        regions[region, LAST_ROW] = row
        regions[region, PIXELS] += c - start
        if conf.size:
            total, known = 0, 0
            for k in range(start - 1, c - 1):
                if conf[k] != CONF_NODATA:
                    total += conf[k]
                    known += 1
            regions[region, CONF_SUM] += total
            regions[region, CONF_PIXELS] += known


@njit
def _corner_row(
    y: int, above: I32, below: I32, ids_above: I32, ids_below: I32, down: I32, up: I32, vertices: I32, free: I32,
    regions: I64, made: I32, nodes: bool, fixed: bool, n: I64,
) -> None:  # fmt: skip
    """Place the vertices of one row of pixel corners and link them.

    ``down[c]`` is the vertex from which a border comes down in column ``c``, ``up[c]`` the one to which
    a border will go up there; ``right`` and ``left`` are the same along the row. With ``nodes`` also
    borders that pass straight where others end get a vertex, with ``fixed`` all that cross the row.
    """
    right, left = -1, -1
    quarter = np.empty(4, np.int32)  # labels around the corner after N, E, S, W: NE, SE, SW, NW
    ids = np.empty(4, np.int32)
    edge = np.empty(4, np.bool_)
    here = np.empty(4, np.int32)
    for c in range(down.size):
        nw, ne, sw, se = above[c], above[c + 1], below[c], below[c + 1]
        edge[0], edge[1], edge[2], edge[3] = nw != ne, ne != se, se != sw, sw != nw
        degree = int(edge[0]) + int(edge[1]) + int(edge[2]) + int(edge[3])
        if degree == 0:
            continue
        crosses = edge[0] and edge[2]
        if degree == 2 and ((crosses and not fixed) or (edge[1] and edge[3])):
            continue
        quarter[0], quarter[1], quarter[2], quarter[3] = ne, se, sw, nw
        ids[0], ids[1], ids[2], ids[3] = ids_above[c + 1], ids_below[c + 1], ids_below[c], ids_above[c]
        new_down, new_up, new_right, new_left = -1, -1, -1, -1
        here[:] = -1
        for first in range(4):
            if not edge[first] or quarter[first] <= 0:
                continue
            last = first + 1
            while not edge[last & 3]:
                last += 1
            span = last - first
            last &= 3
            if span == 2 and not ((nodes and degree > 2) or (fixed and crosses)):
                if first == 0:
                    new_up = up[c]
                elif first == 1:
                    new_right = right
                elif first == 2:
                    new_down = down[c]
                else:
                    new_left = left
                continue
            n[N_FREE] -= 1
            v = free[n[N_FREE]]
            here[first] = v
            vertices[v, X] = c
            vertices[v, Y] = y
            vertices[v, NEXT] = -1
            vertices[v, LIST] = -1
            vertices[v, TWIN] = -1
            vertices[v, MARK] = NODE if degree > 2 else 0
            if nodes:
                made[n[N_MADE]] = v
                n[N_MADE] += 1
            # The border comes in along `last` and goes out along `first`.
            if last == 0:
                vertices[down[c], NEXT] = v
            elif last == 1:
                new_left = v
            elif last == 2:
                new_up = v
            else:
                vertices[right, NEXT] = v
            if first == 0:
                vertices[v, NEXT] = up[c]
            elif first == 1:
                new_right = v
            elif first == 2:
                new_down = v
            else:
                vertices[v, NEXT] = left
            region = _find(regions, ids[first])
            regions[region, VERTICES] += 1
            # Every ring has a topmost edge, and the border comes up to it: such vertices are enough.
            crossing = degree == 4 and quarter[first] == quarter[(first + 2) & 3]
            if last == 2 or crossing:
                if regions[region, HEAD] < 0:
                    regions[region, HEAD] = v
                else:
                    vertices[regions[region, TAIL], LIST] = v
                regions[region, TAIL] = v
        if degree == 4:
            for first in range(2):
                if quarter[first] > 0 and quarter[first] == quarter[first + 2]:
                    vertices[here[first], TWIN] = here[first + 2]
                    vertices[here[first + 2], TWIN] = here[first]
        down[c], up[c] = new_down, new_up
        right, left = new_right, new_left


@njit
def _close_row(row: int, ids_above: I32, regions: I64, dead: I32, closed: I64, n: I64) -> None:
    """Queue the regions that ended in the row above, in order of their leftmost pixel there."""
    seen = -1
    for c in range(1, ids_above.size - 1):
        if ids_above[c] < 0 or ids_above[c] == seen:
            continue
        seen = ids_above[c]
        region = _find(regions, seen)
        if regions[region, LAST_ROW] == row:
            continue
        regions[region, LAST_ROW] = row
        k = n[N_CLOSED]
        closed[k, Q_CLASS] = regions[region, CLASS]
        closed[k, Q_HEAD] = regions[region, HEAD]
        closed[k, Q_VERTICES] = regions[region, VERTICES]
        closed[k, Q_PIXELS] = regions[region, PIXELS]
        closed[k, Q_CONF_SUM] = regions[region, CONF_SUM]
        closed[k, Q_CONF_PIXELS] = regions[region, CONF_PIXELS]
        closed[k, Q_CUT] = regions[region, CUT]
        n[N_CLOSED] += 1
        dead[n[N_DEAD]] = region
        n[N_DEAD] += 1


@njit
def _settle_row(
    labels: I32, ids: I32, regions: I64, slots: I32, dead: I32, max_vertices: int, n: I64
) -> None:
    """Name each region by its root, end those that have grown too large, free the slots of this row."""
    for c in range(1, ids.size - 1):
        if ids[c] < 0:
            continue
        if ids[c - 1] >= 0 and labels[c - 1] % CUT_OFFSET == labels[c]:
            ids[c] = ids[c - 1]
        else:
            ids[c] = _find(regions, ids[c])
        if regions[ids[c], VERTICES] > max_vertices:
            labels[c] += CUT_OFFSET
            regions[ids[c], CUT] = 1
    for k in range(n[N_DEAD]):
        slots[n[N_SLOTS] + k] = dead[k]
    n[N_SLOTS] += n[N_DEAD]
    n[N_DEAD] = 0


@njit
def scan(
    block: Any, conf: Any, start: int, codes: I32, labels: I32, ids: I32, down: I32, up: I32, vertices: I32,
    free: I32, regions: I64, slots: I32, dead: I32, closed: I64, made: I32, band: int, max_vertices: int, n: I64,
) -> int:  # fmt: skip
    """Take rows of a block into the state, from ``start`` on, as long as there is room.

    Args:
        block: labels (h, w); with w = 0 one row of "outside", which closes everything.
        conf: confidence (h, w), 255 = unknown, or of size 0.
        start: first row of the block to take.
        codes: label -> label, 0 for those that make no polygons.
        labels, ids: (2, w + 2) rows of labels and regions, used in turn, with a margin of "outside".
        down, up: see :func:`_corner_row`.
        vertices, free, regions, slots, dead, closed, made: stores, see the fields above.
        band: corner rows between rows whose vertices are fixed; 0 without simplification. The scan stops after each.
        max_vertices: a region with more is cut after the row.
        n: counters.

    Returns:
        First row not taken.
    """
    width = down.size - 1
    need = 4 * (width + 1)
    for k in range(start, block.shape[0]):
        if n[N_FREE] < need or n[N_CLOSED] + width > closed.shape[0]:
            return k
        if band and n[N_MADE] + need > made.size:
            return k
        row = n[ROW]
        new, old = row & 1, (row & 1) ^ 1
        if block.shape[1]:
            for c in range(width):
                labels[new, c + 1] = codes[block[k, c]]
        else:
            labels[new, :] = OUTSIDE
        conf_row = conf[k] if conf.shape[0] else conf.reshape(-1)
        _label_row(
            row, labels[new], labels[old], ids[new], ids[old], conf_row, regions, slots, dead, vertices, n
        )
        fixed = band > 0 and (row % band == 0 or block.shape[1] == 0)
        _corner_row(
            row, labels[old], labels[new], ids[old], ids[new], down, up, vertices, free, regions, made,
            band > 0, fixed, n,
        )  # fmt: skip
        _close_row(row, ids[old], regions, dead, closed, n)
        _settle_row(labels[new], ids[new], regions, slots, dead, max_vertices, n)
        n[ROW] += 1
        if fixed:
            return k + 1
    return block.shape[0]
