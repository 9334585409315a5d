"""The run: readers, network and writer side by side, parts in order.

Reader threads (one dataset handle each) read ahead; the network runs in the calling thread, whose memory
arena is the tuned one (runtime.py); one writer thread decides pixels and feeds the sink. A fault in any of
them stops all and is raised here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsov.engine.blend import RollingScores
from rsov.engine.decide import Decider, Sink
from rsov.engine.forward import Forward
from rsov.engine.plan import Part, Plan, Tile, rows_to_add
from rsov.engine.reading import ReaderPool, Scene
from rsov.engine.runtime import give_back_memory
from rsov.errors import ExitCode, Interrupted
from rsov.types import Legend, Notices

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from rsov.models.protocol import Head, Segmenter


@dataclass(frozen=True)
class Progress:
    """Where a run stands. ``tiles`` are done or skipped; ``pixels`` are work pixels of the tiles done."""

    tiles: int
    total: int
    pixels: int
    seconds: float


@dataclass
class RunStats:
    """What a run did; seconds are wall time of the calling thread."""

    tiles: int = 0
    pixels: int = 0
    skipped: int = 0
    parts: int = 0
    valid_pixels: int = 0
    forward_seconds: float = 0.0
    read_wait_seconds: float = 0.0
    write_wait_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Begin:
    part: Part


class _Finish:
    """All tiles of the part were given."""


_Step = _Begin | _Finish | Tile


def run(  # noqa: PLR0917 - the six things a run joins
    scene: Scene,
    segmenter: Segmenter,
    head: Head,
    legend: Legend,
    plan: Plan,
    sink: Sink,
    *,
    confidence: bool = False,
    probs: bool = False,
    parts: Iterable[Part] | None = None,
    readers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    notices: Notices | None = None,
) -> RunStats:
    """Classify a scene, or some of its parts, into a sink.

    The sink gets windows of finished pixels, each pixel once; windows that it never gets have no data. A part
    has the same values whether it is run alone or with others.

    Raises:
        Interrupted: ``stop`` was set; seen between tiles.
        ResourceError: no memory for the smallest tile.
        InputError: reading failed.
        OutputError: the sink cannot write.
    """
    chosen = None if parts is None else list(parts)
    total = plan.tiles if chosen is None else sum(isinstance(s, Tile) for s in _steps(plan, chosen))
    decider = Decider(scene, legend, plan, sink, confidence=confidence, probs=probs)
    forward = Forward(segmenter, head, plan.batch, notices or Notices())
    loop = _Loop(plan, forward, decider, total=total, on_progress=on_progress, stop=stop)
    steps = _steps(plan, plan.parts() if chosen is None else chosen)
    with ReaderPool(scene, readers, plan.model_stride) as pool, decider:
        loop.work(pool.ahead(steps))
    give_back_memory()
    loop.stats.parts, loop.stats.valid_pixels = decider.parts, decider.valid_pixels
    return loop.stats


def _steps(plan: Plan, parts: Iterable[Part]) -> Iterator[_Step]:
    """Begin of a part, the tiles it adds in row-major order, its end; and so on."""
    previous: Part | None = None
    for part in parts:
        yield _Begin(part)
        for row in rows_to_add(previous, part):
            for col in part.tile_cols:
                yield plan.tile(row, col)
        yield _Finish()
        previous = part


class _Loop:
    """What happens in the calling thread: collect batches, run them, blend, hand over finished parts."""

    def __init__(
        self,
        plan: Plan,
        forward: Forward,
        decider: Decider,
        *,
        total: int,
        on_progress: Callable[[Progress], None] | None,
        stop: threading.Event | None,
    ) -> None:
        self._forward = forward
        self._decider = decider
        self._total = total
        self._on_progress = on_progress
        self._stop = stop
        self._rolling = RollingScores(plan)
        self._waiting: list[tuple[Tile, NDArray[np.uint8]]] = []
        self._start = time.perf_counter()
        self.stats = RunStats()

    def work(self, steps: Iterator[tuple[_Step, NDArray[np.uint8] | None]]) -> None:
        """Run all steps; ``steps`` gives a tile together with its pixels, or None where it has no data."""
        stats = self.stats
        while True:
            since = time.perf_counter()
            item = next(steps, None)
            stats.read_wait_seconds += time.perf_counter() - since
            if item is None:
                break
            step, pixels = item
            if isinstance(step, Tile):
                self._tile(step, pixels)
            elif isinstance(step, _Begin):
                self._rolling.begin(step.part)
            else:
                self._flush()
                finished = self._rolling.finish()
                if finished is not None:
                    since = time.perf_counter()
                    self._decider.submit(finished)
                    stats.write_wait_seconds += time.perf_counter() - since
        stats.seconds = time.perf_counter() - self._start

    def _tile(self, tile: Tile, pixels: NDArray[np.uint8] | None) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Interrupted(ExitCode.INTERRUPT, "stopped between two tiles")
        if pixels is None:
            self.stats.skipped += 1
            self._report()
            return
        self._waiting.append((tile, pixels))
        if len(self._waiting) == self._forward.batch:
            self._flush()

    def _flush(self) -> None:
        """Run the tiles that wait."""
        if not self._waiting:
            return
        since = time.perf_counter()
        scores = self._forward([pixels for _, pixels in self._waiting])
        self.stats.forward_seconds += time.perf_counter() - since
        for (tile, pixels), one in zip(self._waiting, scores, strict=True):
            self._rolling.add(tile.row, tile.col, one)
            self.stats.tiles += 1
            self.stats.pixels += pixels.shape[1] * pixels.shape[2]
        self._waiting.clear()
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            done, seconds = self.stats.tiles + self.stats.skipped, time.perf_counter() - self._start
            self._on_progress(Progress(done, self._total, self.stats.pixels, seconds))
