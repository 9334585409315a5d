"""From blended scores to pixels of the output, in one thread of their own."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from rsov.engine.memory import BAND_BYTES, IN_FLIGHT
from rsov.engine.runtime import stand_back
from rsov.kernels.decide import decide
from rsov.types import BLOCK, Legend, MapPixels, Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from rsov.engine.blend import PartScores
    from rsov.engine.plan import Plan
    from rsov.engine.reading import Scene, SceneReader

CHUNK = 2 * BLOCK
"""Output columns decided together: whole blocks of the written rasters, and rows that fit the L1 cache."""
_ALL_VALID = np.empty((0, 0), np.bool_)
"""What the kernel takes instead of a mask of ones."""


class Sink(Protocol):
    """Takes finished windows; called from one thread."""

    def write(self, pixels: MapPixels) -> None:
        """Keep a window; the arrays may be used again after the call returns."""
        ...


class Decider:
    """Interpolates, decides and hands on; :meth:`submit` waits while too many parts are under way."""

    def __init__(
        self, scene: Scene, legend: Legend, plan: Plan, sink: Sink, *, confidence: bool, probs: bool
    ) -> None:
        self._scene = scene
        self._legend = legend
        self._plan = plan
        self._sink = sink
        self._confidence = confidence
        self._probs = probs
        self._thresholds = np.array([0.0, *(c.threshold or 0.0 for c in legend)], np.float32)
        self._reader: SceneReader | None = None
        self._executor = ThreadPoolExecutor(1, "writer", initializer=stand_back)
        self._running: deque[Future[None]] = deque()
        self.parts = 0
        self.valid_pixels = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while kind is None and self._running:
                self._running.popleft().result()
        finally:
            self._executor.shutdown(wait=True, cancel_futures=True)
            if self._reader is not None:
                self._reader.__exit__(None, None, None)

    def submit(self, scores: PartScores) -> None:
        """Queue a part; raises what went wrong with an earlier one."""
        while self._running and (len(self._running) >= IN_FLIGHT or self._running[0].done()):
            self._running.popleft().result()
        self._running.append(self._executor.submit(self._decide, scores))

    def _decide(self, scores: PartScores) -> None:
        if self._reader is None:
            self._reader = self._scene.open_reader().__enter__()
        for window in self._windows(scores):
            valid = self._reader.valid(window)
            count = int(np.count_nonzero(valid))
            if count:
                self._sink.write(self._pixels(scores, window, valid if count < valid.size else _ALL_VALID))
                self.valid_pixels += count
        self.parts += 1

    def _windows(self, scores: PartScores) -> Iterator[Window]:
        """Column chunks of the part that touch a tile with data, cut into bands of rows."""
        window, plan = scores.part.window, self._plan
        pixel_bytes = 4 + (len(self._legend) if self._probs else 0)
        rows = max(1, BAND_BYTES // (CHUNK * pixel_bytes))
        filled = {col for _, col in scores.tiles}
        for left in range(window.col, window.right, CHUNK):
            width = min(CHUNK, window.right - left)
            if filled.isdisjoint(plan.tile_cols(left, width)):
                continue
            for top in range(window.row, window.bottom, rows):
                yield Window(left, top, width, min(rows, window.bottom - top))

    def _pixels(self, scores: PartScores, window: Window, valid: NDArray[np.bool_]) -> MapPixels:
        shape, cells = (window.height, window.width), scores.part.cells
        labels = np.empty(shape, self._legend.dtype)
        confidence = np.empty(shape, np.uint8) if self._confidence else None
        probs = np.empty((len(self._legend), *shape), np.uint8) if self._probs else None
        decide(
            scores.sums,
            scores.inverse,
            *self._plan.y.table(window.row, window.height, cells.row),
            *self._plan.x.table(window.col, window.width, cells.col),
            valid,
            self._thresholds,
            self._legend.none_id,
            labels,
            np.empty((0, 0), np.uint8) if confidence is None else confidence,
            np.empty((0, 0, 0), np.uint8) if probs is None else probs,
        )
        return MapPixels(window, labels, confidence, probs)
