"""Borders of the 4-connected regions of a label raster, found row by row.

The scan holds two rows as runs of one label and the borders of the regions that are still open. Borders are
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
END = np.int32(np.iinfo(np.int32).max)
"""Column after all runs."""


class Store(NamedTuple):
    """What a scan works on; the arrays belong to the caller, who sees that there is room."""

    codes: I32
    """Label -> label, 0 for those that make no polygons."""
    runs: I32
    """(2,) number of runs of one label in two rows, used in turn; a margin of ``OUTSIDE`` at each end."""
    starts: I32
    """(2, width + 2) first column of each run; 0 is the margin, 1 the first pixel."""
    labels: I32
    """(2, width + 2) label of each run."""
    ids: I32
    """(2, width + 2) region slot of each run, -1 = none."""
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
def _split_row(store: Store, new: int, pixels: Any) -> None:
    """Part a row into runs of one label; without pixels it is all outside."""
    starts, labels, codes = store.starts[new], store.labels[new], store.codes
    starts[0], labels[0], count = 0, OUTSIDE, 1
    if pixels.size:
        for c in range(pixels.size):
            if c > 0 and pixels[c] == pixels[c - 1]:
                continue
            label = codes[pixels[c]]
            if label != labels[count - 1]:
                starts[count], labels[count] = c + 1, label
                count += 1
        starts[count], labels[count] = pixels.size + 1, OUTSIDE
        count += 1
    store.runs[new] = count


@njit
def _label_row(store: Store, new: int, conf: Any) -> None:
    """Give every run of the row its region: those of the runs it touches above, merged, or a new one."""
    starts, labels, ids = store.starts[new], store.labels[new], store.ids[new]
    starts_above, labels_above, ids_above = (
        store.starts[new ^ 1],
        store.labels[new ^ 1],
        store.ids[new ^ 1],
    )
    regions, count_above = store.regions, store.runs[new ^ 1]
    above = 0
    for r in range(store.runs[new]):
        label = labels[r]
        if label <= 0:
            ids[r] = -1
            continue
        start, end = starts[r], starts[r + 1]
        while above + 1 < count_above and starts_above[above + 1] <= start:
            above += 1
        region, touched = -1, above
        while touched < count_above and starts_above[touched] < end:
            if labels_above[touched] == label:
                root = _find(regions, ids_above[touched])
                if region < 0:
                    region = root
                elif root != region:
                    _merge(store, region, root)
            touched += 1
        if region < 0:
            region = _new_region(store, label)
        regions[region, LAST_ROW] = store.n[ROW]
        regions[region, PIXELS] += end - start
        total, known = 0, 0
        for value in conf[start - 1 : end - 1]:
            total += value if value != CONF_NODATA else 0
            known += value != CONF_NODATA
        regions[region, CONF_SUM] += total
        regions[region, CONF_PIXELS] += known
        ids[r] = region


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
    """Make the vertices of one row of pixel corners; with ``fixed`` on every border that crosses it.

    Only where a run begins above or below can a border turn; ``i`` and ``j`` are the runs left of there.
    """
    starts_above, labels_above, ids_above = (
        store.starts[new ^ 1],
        store.labels[new ^ 1],
        store.ids[new ^ 1],
    )
    starts_below, labels_below, ids_below = store.starts[new], store.labels[new], store.ids[new]
    last_above, last_below = store.runs[new ^ 1] - 1, store.runs[new] - 1
    down, up = store.down, store.up
    vertices, regions, free, made, n = store.vertices, store.regions, store.free, store.made, store.n
    around = np.full((6, 4), -1, np.int32)
    i, j = 0, 0
    while i < last_above or j < last_below:
        at_above = starts_above[i + 1] if i < last_above else END
        at_below = starts_below[j + 1] if j < last_below else END
        c = min(at_above, at_below) - 1
        north, south = at_above <= at_below, at_below <= at_above
        nw, sw = i, j
        i, j = i + int(north), j + int(south)
        east = labels_above[i] != labels_below[j]
        west = labels_above[nw] != labels_below[sw]
        if north and south and not (east or west or fixed):
            continue  # straight through: what was waiting goes on waiting
        around[LABEL, 0], around[LABEL, 1] = labels_above[i], labels_below[j]
        around[LABEL, 2], around[LABEL, 3] = labels_below[sw], labels_above[nw]
        around[REGION, 0], around[REGION, 1] = ids_above[i], ids_below[j]
        around[REGION, 2], around[REGION, 3] = ids_below[sw], ids_above[nw]
        around[EDGE, 0], around[EDGE, 1], around[EDGE, 2], around[EDGE, 3] = north, east, south, west
        around[SOURCE, NORTH], around[SOURCE, WEST] = down[c], around[SOURCE, EAST]
        around[TARGET, NORTH], around[TARGET, WEST] = up[c], around[TARGET, EAST]
        _corner(vertices, regions, free, made, n, around, c, fixed)
        down[c], up[c] = around[SOURCE, SOUTH], around[TARGET, SOUTH]


@njit
def _close_row(store: Store, old: int) -> None:
    """Queue the regions that ended in the row above, in order of their leftmost pixel there."""
    ids, regions, closed, n = store.ids[old], store.regions, store.closed, store.n
    for r in range(store.runs[old]):
        if ids[r] < 0:
            continue
        region = _find(regions, ids[r])
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
    for r in range(store.runs[new]):
        if ids[r] < 0:
            continue
        ids[r] = _find(regions, ids[r])
        if regions[ids[r], VERTICES] > max_vertices:
            labels[r] += CUT_OFFSET
            regions[ids[r], CUT] = 1
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
        _split_row(store, new, block[k])
        fixed = band > 0 and (n[ROW] % band == 0 or block.shape[1] == 0)
        _label_row(store, new, conf[k] if conf.shape[0] else conf.reshape(-1))
        _corner_row(store, new, fixed)
        _close_row(store, new ^ 1)
        _settle_row(store, new, max_vertices)
        n[ROW] += 1
        if fixed:
            return k + 1
    return int(block.shape[0])
