"""Scenes as the engine sees them, and tiles read ahead by threads with a dataset handle each."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import numpy as np

from rsov.engine.memory import queue_depth
from rsov.engine.plan import Tile, Work
from rsov.engine.runtime import stand_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from rsov.types import Grid, Window

T = TypeVar("T")

_LOOK_AHEAD = 256
"""Steps looked at while searching for tiles with data to read."""


class Pixels(Protocol):
    """A window of the work grid: uint8 [3, h, w] of 0..255, and where it is valid [h, w]."""

    @property
    def data(self) -> NDArray[np.uint8]:
        """The samples."""
        ...

    @property
    def any_valid(self) -> bool:
        """There is something to classify: a valid pixel of the source, not of the work grid alone."""
        ...


class SceneReader(Protocol):
    """Reads a scene in one thread."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def read(self, window: Window) -> Pixels:
        """Pixels of a window of the work grid; beyond the picture it is mirrored and invalid."""
        ...

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Validity of a window of the output grid."""
        ...


class Scene(Protocol):
    """What is classified."""

    @property
    def work(self) -> Work:
        """The grid that the model sees."""
        ...

    @property
    def grid(self) -> Grid:
        """The source grid."""
        ...

    @property
    def output_grid(self) -> Grid:
        """The grid of the map."""
        ...

    def open_reader(self) -> SceneReader:
        """A reader for the calling thread."""
        ...

    def empty(self, window: Window) -> bool | None:
        """Cheap test of a window of the work grid: certainly without data, or not known."""
        ...


class ReaderPool:
    """Threads that read tiles; each opens its own reader, all are closed at the end (robustness R26)."""

    def __init__(self, scene: Scene, threads: int, margin: int) -> None:
        """``margin``: work pixels around a tile whose scores are interpolated from the tile's too."""
        self._scene = scene
        self._margin = margin
        self._depth = queue_depth(threads)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._readers = ExitStack()
        self._executor = ThreadPoolExecutor(threads, "reader", initializer=stand_back)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._readers.close()

    def ahead(self, steps: Iterable[T | Tile]) -> Iterator[tuple[T | Tile, NDArray[np.uint8] | None]]:
        """The steps in their order; tiles with their pixels [3, h, w], or None where nothing is valid."""
        queue: deque[tuple[T | Tile, Future[NDArray[np.uint8] | None] | None]] = deque()
        reading = 0
        source = iter(steps)
        while True:
            while reading < self._depth and len(queue) < _LOOK_AHEAD:
                try:
                    step = next(source)
                except StopIteration:
                    break
                future = None
                if isinstance(step, Tile) and not self._scene.empty(step.window.grown(self._margin)):
                    future = self._executor.submit(self._read, step.window)
                    reading += 1
                queue.append((step, future))
            if not queue:
                return
            step, future = queue.popleft()
            pixels = None if future is None else future.result()
            reading -= future is not None
            yield step, pixels

    def _read(self, window: Window) -> NDArray[np.uint8] | None:
        pixels = self._reader().read(window)
        return np.ascontiguousarray(pixels.data) if pixels.any_valid else None

    def _reader(self) -> SceneReader:
        reader: SceneReader | None = getattr(self._local, "reader", None)
        if reader is None:
            with self._lock:
                reader = self._local.reader = self._readers.enter_context(self._scene.open_reader())
        return reader
