"""A scene in memory with the interface that the engine reads: for tests of tiling, blending and deciding."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from affine import Affine

from rsov.types import Grid, Legend, LegendClass, MapPixels, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class ArrayWork:
    width: int
    height: int
    scale_x: float = 1.0
    scale_y: float = 1.0


@dataclass(frozen=True)
class ArrayPixels:
    data: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    @property
    def any_valid(self) -> bool:
        return bool(self.valid.any())


@dataclass
class ArrayScene:
    """Pixels [3, h, w] of the work grid; the output grid is the source grid, ``scale`` times finer."""

    data: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    output: Grid | None = None
    readers: list[ArrayReader] = field(default_factory=list)

    @property
    def work(self) -> ArrayWork:
        return ArrayWork(self.data.shape[2], self.data.shape[1], *self.scale)

    @property
    def grid(self) -> Grid:
        width, height = round(self.work.width * self.scale[0]), round(self.work.height * self.scale[1])
        return Grid(width, height, Affine(0.5, 0, 1000, 0, -0.5, 2000), None)

    @property
    def output_grid(self) -> Grid:
        return self.output or self.grid

    def open_reader(self) -> ArrayReader:
        self.readers.append(ArrayReader(self))
        return self.readers[-1]

    def empty(self, window: Window) -> bool | None:
        return None


@dataclass
class EndlessScene:
    """Noise of any size that takes no memory; ``filled`` says which windows of the work grid have data."""

    width: int
    height: int
    filled: Callable[[Window], bool] = lambda _: True

    def __post_init__(self) -> None:
        self.noise = np.random.default_rng(0).integers(0, 256, (3, 700, 700)).astype(np.uint8)
        self.work = ArrayWork(self.width, self.height)
        self.grid = Grid(self.width, self.height, Affine(0.5, 0, 0, 0, -0.5, 0), None)
        self.output_grid = self.grid

    def open_reader(self) -> EndlessReader:
        return EndlessReader(self)

    def empty(self, window: Window) -> bool | None:
        return not self.filled(window)


class EndlessReader:
    def __init__(self, scene: EndlessScene) -> None:
        self._noise = scene.noise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def read(self, window: Window) -> ArrayPixels:
        row, col = window.row % 128, window.col % 128
        data = self._noise[:, row : row + window.height, col : col + window.width]
        return ArrayPixels(data, np.ones(data.shape[1:], bool))

    def valid(self, window: Window) -> NDArray[np.bool_]:
        return np.ones((window.height, window.width), bool)


class NoSink:
    """Takes parts and forgets them, but for the size of the largest."""

    def __init__(self) -> None:
        self.largest = 0
        self.pixels = 0

    def write(self, pixels: MapPixels) -> None:
        arrays = (pixels.labels, pixels.confidence, pixels.probs)
        self.largest = max(self.largest, sum(a.nbytes for a in arrays if a is not None))
        self.pixels += pixels.labels.size


class ArrayReader:
    """Notes the thread that reads, as a dataset handle would need it."""

    def __init__(self, scene: ArrayScene) -> None:
        self._scene = scene
        self.closed = False
        self.threads: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.closed = True

    def read(self, window: Window) -> ArrayPixels:
        self.threads.add(threading.get_ident())
        inside = window.intersect(Window(0, 0, self._scene.work.width, self._scene.work.height))
        rows, cols = slice(inside.row, inside.bottom), slice(inside.col, inside.right)
        beyond = (0, window.bottom - inside.bottom), (0, window.right - inside.right)
        data = np.pad(self._scene.data[:, rows, cols], ((0, 0), *beyond), "symmetric")
        mask = np.ones(self._scene.data.shape[1:], bool) if self._scene.mask is None else self._scene.mask
        return ArrayPixels(data, np.pad(mask[rows, cols], beyond))

    def valid(self, window: Window) -> NDArray[np.bool_]:
        self.threads.add(threading.get_ident())
        mask = self._scene.mask
        if mask is None:
            return np.ones((window.height, window.width), bool)
        x = ((np.arange(window.col, window.right) + 0.5) / self._scene.scale[0]).astype(int)
        y = ((np.arange(window.row, window.bottom) + 0.5) / self._scene.scale[1]).astype(int)
        return mask[np.ix_(np.minimum(y, mask.shape[0] - 1), np.minimum(x, mask.shape[1] - 1))]


class ArraySink:
    """Collects parts in arrays; refuses a pixel that comes twice."""

    def __init__(self, grid: Grid, classes: int = 0) -> None:
        self.labels = np.zeros(grid.shape, np.uint16)
        self.confidence = np.full(grid.shape, 255, np.uint8)
        self.probs = np.full((classes, *grid.shape), 255, np.uint8)
        self.seen = np.zeros(grid.shape, bool)
        self.windows: list[Window] = []

    def write(self, pixels: MapPixels) -> None:
        w = pixels.window
        place = np.s_[w.row : w.bottom, w.col : w.right]
        assert pixels.labels.shape == (w.height, w.width)
        assert not self.seen[place].any()
        self.seen[place] = True
        self.labels[place] = pixels.labels
        if pixels.confidence is not None:
            self.confidence[place] = pixels.confidence
        if pixels.probs is not None:
            self.probs[:, w.row : w.bottom, w.col : w.right] = pixels.probs
        self.windows.append(w)


def legend(*names: str, threshold: float | None = None) -> Legend:
    """A legend of plain names."""
    return Legend(
        tuple(LegendClass(i + 1, n, (n,), (i * 40 % 256, 80, 120), threshold) for i, n in enumerate(names))
    )
