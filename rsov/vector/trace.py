"""Polygons of a label raster, from a stream of row blocks.

Regions are the 4-connected sets of pixels of one label. They come out as soon as they are closed,
ordered by the row in which that shows, then by their leftmost pixel in the row before. Memory holds
the borders of open regions and two rows of labels; the kernels of :mod:`rsov.kernels.trace` work
row by row, so the height of the blocks changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.kernels import rings as ring_kernels
from rsov.kernels import trace as kernel
from rsov.vector.simplify import BAND_ROWS, Bands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

MAX_VERTICES = 10_000_000
"""A region with more border vertices is cut after the row in which it grew so large (M12)."""
BATCH_REGIONS = 20_000
"""Regions handed out at a time: enough to make the calls cheap, few enough to stay small."""
MIN_STORE = 1 << 14
CONF_UNIT = 250
"""Confidence 1.0 as a byte."""


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows of the class raster: labels (h, width) uint8 or uint16, confidence (h, width) uint8 or None."""

    labels: NDArray[Any]
    confidence: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Regions:
    """Polygons in flat arrays; coordinates are pixel corners (x, y), exact.

    Region ``k`` has the rings ``parts[k]:parts[k + 1]``, the outer one first; ring ``r`` has the points
    ``xy[rings[r]:rings[r + 1]]``, the first one repeated at the end. The region lies on the right of its
    rings on the screen (outer rings clockwise). ``confidence`` is the mean over known pixels, NaN
    without any. ``cut`` marks regions that were ended for their size.
    """

    class_id: NDArray[np.int64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    cut: NDArray[np.bool_]
    xy: NDArray[np.int32]
    rings: NDArray[np.int64]
    parts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.class_id)

    def to_shapely(self) -> NDArray[np.object_]:
        """The regions as shapely polygons in pixel coordinates."""
        import shapely

        polygons: NDArray[np.object_] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, self.xy.astype(np.float64), (self.rings, self.parts)
        )
        return polygons


def trace(
    blocks: Iterable[RowBlock],
    width: int,
    *,
    skip: Iterable[int] = (0,),
    simplify_area: float = 0.0,
    max_vertices: int = MAX_VERTICES,
    batch: int = BATCH_REGIONS,
) -> Iterator[Regions]:
    """Polygons of the raster made of ``blocks``.

    Args:
        blocks: rows from the top; all have ``width`` columns, any heights.
        width: columns of the raster.
        skip: labels that make no polygons; they are one ground.
        simplify_area: triangles up to this area (pixels) are taken off shared borders, see
            :mod:`rsov.vector.simplify`; 0 keeps every corner.
        max_vertices: size at which a region is cut.
        batch: regions to collect before some are handed out.

    Yields:
        Batches of closed regions; their sequence depends on the raster only.

    Raises:
        ValueError: a block that does not fit.
    """
    tracer = _Tracer(width, tuple(skip), simplify_area, max_vertices, batch)
    for block in blocks:
        yield from tracer.add(block)
    yield from tracer.finish()


class _Tracer:
    """Owns the store that the scan works on, and sees that there is room in it."""

    def __init__(
        self, width: int, skip: tuple[int, ...], simplify_area: float, max_vertices: int, batch: int
    ) -> None:
        self.width = width
        self.batch = batch
        self.max_vertices = max_vertices
        self.bands = Bands(simplify_area) if simplify_area > 0 else None
        self.band_rows = BAND_ROWS if self.bands else 0
        self.row_need = 4 * (width + 1)  # four vertices at every corner of a row
        capacity = max(MIN_STORE, 2 * self.row_need)
        slots = 2 * width + 4  # the regions of two rows
        codes = np.arange(1 << 16, dtype=np.int32)
        codes[list(skip)] = 0
        self.store = kernel.Store(
            codes=codes,
            runs=np.ones(2, np.int32),
            starts=np.zeros((2, width + 2), np.int32),
            labels=np.full((2, width + 2), kernel.OUTSIDE, np.int32),
            ids=np.full((2, width + 2), -1, np.int32),
            down=np.full(width + 1, -1, np.int32),
            up=np.full(width + 1, -1, np.int32),
            vertices=np.zeros((capacity, kernel.V_FIELDS), np.int32),
            free=np.arange(capacity, dtype=np.int32)[::-1].copy(),
            regions=np.zeros((slots, kernel.R_FIELDS), np.int64),
            slots=np.arange(slots, dtype=np.int32)[::-1].copy(),
            dead=np.zeros(slots, np.int32),
            closed=np.zeros((max(width, batch) + width, kernel.Q_FIELDS), np.int64),
            made=np.zeros(2 * self.row_need if self.bands else 0, np.int32),
            n=np.zeros(kernel.N_FIELDS, np.int64),
        )
        self.n = self.store.n
        self.n[kernel.N_FREE] = capacity
        self.n[kernel.N_SLOTS] = slots

    def add(self, block: RowBlock) -> Iterator[Regions]:
        """Take the rows of a block; hand out what has closed."""
        labels = np.require(block.labels, requirements=["C", "W"])
        if labels.ndim != 2 or labels.shape[1] != self.width or labels.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"block of {labels.dtype} {labels.shape} in a raster {self.width} wide")
        if block.confidence is None:
            conf = np.zeros((0, 0), np.uint8)
        else:
            conf = np.require(block.confidence, np.uint8, ["C", "W"])
            if conf.shape != labels.shape:
                raise ValueError(f"confidence {conf.shape} beside labels {labels.shape}")
        yield from self._scan(labels, conf)

    def finish(self) -> Iterator[Regions]:
        """Close everything at the lower border."""
        yield from self._scan(np.zeros((1, 0), np.uint8), np.zeros((0, 0), np.uint8))
        if self.n[kernel.N_CLOSED]:
            yield self._take()

    def _scan(self, labels: NDArray[Any], conf: NDArray[np.uint8]) -> Iterator[Regions]:
        row, last = 0, labels.shape[1] == 0
        limits = (self.band_rows, self.max_vertices)
        while row < len(labels):
            before = row
            row = kernel.scan(self.store, labels, conf, row, limits)
            corner_row = int(self.n[kernel.ROW]) - 1
            if self.bands is None:
                if self.n[kernel.N_CLOSED] >= self.batch:
                    yield self._take()
            elif row > before and (corner_row % self.band_rows == 0 or last):
                yield from self._close_band(self.bands, corner_row)
            if row < len(labels):
                yield from self._make_room()

    def _close_band(self, bands: Bands, corner_row: int) -> Iterator[Regions]:
        """Simplify the band and hand out what closed in it; only now are its vertices known to stay or go."""
        store, n = self.store, self.n
        bands.close(store.vertices, store.made[: n[kernel.N_MADE]].copy(), corner_row)
        if n[kernel.N_CLOSED]:
            yield self._take()
        kept = bands.forget_closed(store.vertices)
        store.made[: len(kept)] = kept
        n[kernel.N_MADE] = len(kept)

    def _make_room(self) -> Iterator[Regions]:
        """See that another row fits: by handing out, where regions may go already, or by growing."""
        store, n = self.store, self.n
        tight = n[kernel.N_FREE] < self.row_need
        full = n[kernel.N_CLOSED] + self.width > len(store.closed)
        if self.bands is None and n[kernel.N_CLOSED]:
            if full or (tight and self._closed_vertices() > len(store.vertices) // 2):
                yield self._take()
        elif full:
            self.store = self.store._replace(closed=_doubled(store.closed))
        if n[kernel.N_FREE] < self.row_need:
            self._grow()
        if self.bands is not None and n[kernel.N_MADE] + self.row_need > len(store.made):
            self.store = self.store._replace(made=_doubled(store.made))

    def _closed_vertices(self) -> int:
        return int(self.store.closed[: self.n[kernel.N_CLOSED], kernel.Q_VERTICES].sum())

    def _grow(self) -> None:
        size, count = len(self.store.vertices), int(self.n[kernel.N_FREE])
        free = _doubled(self.store.free)
        free[count : count + size] = np.arange(2 * size - 1, size - 1, -1)
        self.store = self.store._replace(vertices=_doubled(self.store.vertices), free=free)
        self.n[kernel.N_FREE] = count + size

    def _take(self) -> Regions:
        """The closed regions, out of the store."""
        count = int(self.n[kernel.N_CLOSED])
        closed = self.store.closed[:count].copy()
        vertices = self._closed_vertices()
        # A ring has four vertices at least, three after simplification, and one more point to close it.
        xy = np.empty((vertices + vertices // 3 + 1, 2), np.int32)
        rings = np.empty(vertices // 3 + 2, np.int64)
        parts = np.empty(count + 1, np.int64)
        ring_kernels.extract(self.store, count, xy, rings, parts)
        self.n[kernel.N_CLOSED] = 0
        known = closed[:, kernel.Q_CONF_PIXELS]
        mean = np.full(count, np.nan)
        np.divide(closed[:, kernel.Q_CONF_SUM], known * float(CONF_UNIT), out=mean, where=known > 0)
        return Regions(
            class_id=closed[:, kernel.Q_CLASS].copy(),
            pixels=closed[:, kernel.Q_PIXELS].copy(),
            confidence=mean,
            cut=closed[:, kernel.Q_CUT] > 0,
            xy=xy[: rings[parts[-1]]].copy(),
            rings=rings[: parts[-1] + 1].copy(),
            parts=parts,
        )


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    """A copy with as much room again."""
    return np.concatenate([array, np.zeros_like(array)])
