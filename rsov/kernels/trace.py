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

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from rsov.kernels._jit import njit

inlined = numba.njit(inline="always")
"""For what runs at every corner: handing over so many arrays would cost as much as the work."""

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

X, Y, NEXT, LIST, TWIN, MARK, CORNER, V_FIELDS = 0, 1, 2, 3, 4, 5, 6, 7
"""Fields of a vertex: place, vertex after it, next of the region's list, its twin across the corner."""
PARENT, CLASS, HEAD, TAIL, VERTICES, PIXELS, CONF_SUM, CONF_PIXELS, LAST_ROW, CUT, R_FIELDS = (*range(10), 10)
"""Fields of an open region; the list (head, tail) holds at least one vertex of each of its rings."""
Q_CLASS, Q_HEAD, Q_VERTICES, Q_PIXELS, Q_CONF_SUM, Q_CONF_PIXELS, Q_CUT, Q_FIELDS = (*range(7), 7)
"""Fields of a closed region that waits for its rings to be taken out."""
N_FREE, N_SLOTS, N_CLOSED, N_DEAD, N_MADE, ROW, N_FIELDS = (*range(6), 6)
"""Counters: free vertices and slots, closed regions, slots to free, vertices made in the band, row."""

NORTH, EAST, SOUTH, WEST = 0, 1, 2, 3
"""Borders at a corner; the quarter after each clockwise has its number: NE, SE, SW, NW."""
LABEL, REGION, EDGE, SOURCE, TARGET, VERTEX = range(6)
"""What is known around a corner, for each of the four; see :func:`_corner`."""
NODE = 8
"""Bit of a vertex's mark: three or four borders meet here. The other bits belong to the ring kernels."""
OUTSIDE = -1
"""Label around the raster."""
CUT_OFFSET = 1 << 20
"""Added to the labels of the last row of a region that is cut, so that it ends there; above any uint16."""
CONF_NODATA = 255


class Store(NamedTuple):
    """What a scan works on; the arrays belong to the caller, who sees that there is room."""

    codes: I32
    """Label -> label, 0 for those that make no polygons."""
    labels: I32
    """(2, width + 2) rows of labels, used in turn, with a margin of ``OUTSIDE``."""
    ids: I32
    """(2, width + 2) region slots of those pixels, -1 = none."""
    down: I32
    """(width + 1,) vertex from which a border comes down in a column of corners."""
    up: I32
    """(width + 1,) vertex to which a border will go up there."""
    vertices: I32
    free: I32
    """Stack of free vertices."""
    regions: I64
    slots: I32
    """Stack of free regions."""
    dead: I32
    """Regions to free at the end of the row."""
    closed: I64
    """Queue of closed regions."""
    made: I32
    """Vertices of the band, in order of their making."""
    n: I64
    """Counters."""


@njit
def _find(regions: I64, slot: int) -> int:
    while regions[slot, PARENT] != slot:
        regions[slot, PARENT] = regions[regions[slot, PARENT], PARENT]
        slot = regions[slot, PARENT]
    return slot


@njit
def _merge(store: Store, keep: int, gone: int) -> None:
    regions = store.regions
    regions[gone, PARENT] = keep
    for field in (VERTICES, PIXELS, CONF_SUM, CONF_PIXELS):
        regions[keep, field] += regions[gone, field]
    if regions[keep, HEAD] < 0:
        regions[keep, HEAD] = regions[gone, HEAD]
    else:
        store.vertices[regions[keep, TAIL], LIST] = regions[gone, HEAD]
    regions[keep, TAIL] = regions[gone, TAIL]
    store.dead[store.n[N_DEAD]] = gone
    store.n[N_DEAD] += 1


@njit
def _new_region(store: Store, label: int) -> int:
    store.n[N_SLOTS] -= 1
    region = store.slots[store.n[N_SLOTS]]
    store.regions[region] = 0
    store.regions[region, PARENT] = region
    store.regions[region, CLASS] = label
    store.regions[region, HEAD] = -1
    return int(region)


@njit
def _label_row(store: Store, new: int, conf: Any) -> None:
    """Give every run of the row its region: those of the runs it touches above, merged, or a new one."""
    labels, above = store.labels[new], store.labels[new ^ 1]
    ids, ids_above = store.ids[new], store.ids[new ^ 1]
    regions, row = store.regions, store.n[ROW]
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
                    _merge(store, region, root)
            c += 1
        if label > 0:
            if region < 0:
                region = _new_region(store, label)
            regions[region, LAST_ROW] = row
            regions[region, PIXELS] += c - start
            total, known = 0, 0
            for k in range(start - 1, min(c - 1, conf.size)):
                if conf[k] != CONF_NODATA:
                    total += conf[k]
                    known += 1
            regions[region, CONF_SUM] += total
            regions[region, CONF_PIXELS] += known
        ids[start:c] = region


@inlined
def _new_vertex(vertices: I32, free: I32, made: I32, n: I64, mark: int) -> int:
    n[N_FREE] -= 1
    v = free[n[N_FREE]]
    vertices[v, MARK] = mark
    vertices[v, NEXT], vertices[v, LIST], vertices[v, TWIN] = -1, -1, -1
    if made.size:
        made[n[N_MADE]] = v
        n[N_MADE] += 1
    return int(v)


@inlined
def _list_vertex(regions: I64, vertices: I32, region: int, v: int) -> None:
    if regions[region, HEAD] < 0:
        regions[region, HEAD] = v
    else:
        vertices[regions[region, TAIL], LIST] = v
    regions[region, TAIL] = v


@inlined
def _corner(
    vertices: I32, regions: I64, free: I32, made: I32, n: I64, around: I32, x: int, fixed: bool
) -> None:
    """Make the vertices of one corner and link them with those before and after on their borders.

    ``around`` has the label and the region of each quarter, whether there is a border along each
    direction, and for each border the vertex from which it comes if it runs here (``SOURCE``) and the one
    to which it goes if it runs away (``TARGET``): known along N and W, filled in along E and S. With
    ``fixed`` also a border that runs straight down gets a vertex.
    """
    degree = around[EDGE, 0] + around[EDGE, 1] + around[EDGE, 2] + around[EDGE, 3]
    node = degree > 2
    for first in range(4):
        around[VERTEX, first] = -1
        if not around[EDGE, first] or around[LABEL, first] <= 0:
            continue
        last = first + 1
        while not around[EDGE, last & 3]:
            last += 1
        straight = last - first == 2
        last &= 3
        # The border of the region in the quarters from `first` to `last` comes in along `last`.
        back = first in (NORTH, WEST)
        if straight and not (fixed or (node and made.size)):
            if back:
                around[TARGET, last] = around[TARGET, first]
            else:
                around[SOURCE, first] = around[SOURCE, last]
            continue
        v = _new_vertex(vertices, free, made, n, NODE if node else 0)
        vertices[v, X], vertices[v, Y] = x, n[ROW]
        around[VERTEX, first] = v
        if last in (NORTH, WEST):
            vertices[around[SOURCE, last], NEXT] = v
        else:
            around[TARGET, last] = v
        if back:
            vertices[v, NEXT] = around[TARGET, first]
        else:
            around[SOURCE, first] = v
        owner = _find(regions, around[REGION, first])
        regions[owner, VERTICES] += 1
        # Every ring has a topmost edge, and the border comes up to it: such vertices are enough,
        # and those where a region may meet itself.
        if last == SOUTH or (degree == 4 and around[LABEL, first] == around[LABEL, (first + 2) & 3]):
            _list_vertex(regions, vertices, owner, v)
    if degree == 4:
        for first in (NORTH, EAST):
            v, w = around[VERTEX, first], around[VERTEX, first + 2]
            if v >= 0 and around[LABEL, first] == around[LABEL, first + 2]:
                vertices[v, TWIN], vertices[w, TWIN] = w, v


@njit
def _corner_row(store: Store, new: int, fixed: bool) -> None:
    """Make the vertices of one row of pixel corners; with ``fixed`` on every border that crosses it."""
    above, below = store.labels[new ^ 1], store.labels[new]
    ids_above, ids_below = store.ids[new ^ 1], store.ids[new]
    down, up = store.down, store.up
    vertices, regions, free, made, n = store.vertices, store.regions, store.free, store.made, store.n
    around = np.full((6, 4), -1, np.int32)
    for c in range(down.size):
        nw, ne, sw, se = above[c], above[c + 1], below[c], below[c + 1]
        north, east, south, west = nw != ne, ne != se, se != sw, sw != nw
        if not (north or east or south or west):
            continue
        if (north and south and not (east or west or fixed)) or (east and west and not (north or south)):
            continue  # straight through: what was waiting goes on waiting
        around[LABEL, 0], around[LABEL, 1], around[LABEL, 2], around[LABEL, 3] = ne, se, sw, nw
        around[REGION, 0], around[REGION, 1] = ids_above[c + 1], ids_below[c + 1]
        around[REGION, 2], around[REGION, 3] = ids_below[c], ids_above[c]
        around[EDGE, 0], around[EDGE, 1], around[EDGE, 2], around[EDGE, 3] = north, east, south, west
        around[SOURCE, NORTH], around[SOURCE, WEST] = down[c], around[SOURCE, EAST]
        around[TARGET, NORTH], around[TARGET, WEST] = up[c], around[TARGET, EAST]
        _corner(vertices, regions, free, made, n, around, c, fixed)
        down[c], up[c] = around[SOURCE, SOUTH], around[TARGET, SOUTH]


@njit
def _close_row(store: Store, old: int) -> None:
    """Queue the regions that ended in the row above, in order of their leftmost pixel there."""
    ids, regions, closed, n = store.ids[old], store.regions, store.closed, store.n
    seen = -1
    for c in range(1, ids.size - 1):
        if ids[c] < 0 or ids[c] == seen:
            continue
        seen = ids[c]
        region = _find(regions, seen)
        if regions[region, LAST_ROW] == n[ROW]:
            continue
        regions[region, LAST_ROW] = n[ROW]
        entry = closed[n[N_CLOSED]]
        entry[Q_CLASS], entry[Q_HEAD] = regions[region, CLASS], regions[region, HEAD]
        entry[Q_VERTICES], entry[Q_PIXELS] = regions[region, VERTICES], regions[region, PIXELS]
        entry[Q_CONF_SUM], entry[Q_CONF_PIXELS] = regions[region, CONF_SUM], regions[region, CONF_PIXELS]
        entry[Q_CUT] = regions[region, CUT]
        n[N_CLOSED] += 1
        store.dead[n[N_DEAD]] = region
        n[N_DEAD] += 1


@njit
def _settle_row(store: Store, new: int, max_vertices: int) -> None:
    """Name each region by its root, end those that have grown too large, free the slots of this row."""
    labels, ids, regions, n = store.labels[new], store.ids[new], store.regions, store.n
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
        store.slots[n[N_SLOTS] + k] = store.dead[k]
    n[N_SLOTS] += n[N_DEAD]
    n[N_DEAD] = 0


@njit
def scan(store: Store, block: Any, conf: Any, start: int, limits: tuple[int, int]) -> int:
    """Take rows of a block into the store, from ``start`` on, as long as there is room.

    Args:
        store: the store.
        block: labels (h, w); with w = 0 rows of "outside", the first of which closes everything.
        conf: confidence (h, w), 255 = unknown, or of size 0.
        start: first row of the block to take.
        limits: corner rows between those whose vertices are fixed (0 without simplification; the scan
            stops after each), and the vertices above which a region is cut after the row.

    Returns:
        First row not taken.
    """
    band, max_vertices = limits
    n, width = store.n, store.down.size - 1
    need = 4 * (width + 1)
    for k in range(start, block.shape[0]):
        if n[N_FREE] < need or n[N_CLOSED] + width > store.closed.shape[0]:
            return k
        if band and n[N_MADE] + need > store.made.size:
            return k
        new = n[ROW] & 1
        if block.shape[1]:
            for c in range(width):
                store.labels[new, c + 1] = store.codes[block[k, c]]
        else:
            store.labels[new, :] = OUTSIDE
        fixed = band > 0 and (n[ROW] % band == 0 or block.shape[1] == 0)
        _label_row(store, new, conf[k] if conf.shape[0] else conf.reshape(-1))
        _corner_row(store, new, fixed)
        _close_row(store, new ^ 1)
        _settle_row(store, new, max_vertices)
        n[ROW] += 1
        if fixed:
            return k + 1
    return int(block.shape[0])
