"""The input in the size of the quicklook, picked up while the engine reads: no pixel is decoded twice (R16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from rsov.raster.scene import Pixels, Scene, SceneReader
    from rsov.types import Grid, Window

BLANK = 255
"""White where nothing was read."""


class Preview:
    """A canvas over the output grid; each cell shows the work pixel at its centre.

    ``picture`` is uint8 (height, width, 3). Reader threads fill different cells, or the same ones with equal values.
    """

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        width, height = size
        self.picture = np.full((height, width, 3), BLANK, np.uint8)
        to_source = ~scene.grid.transform * scene.output_grid.transform
        out = scene.output_grid
        self._columns = _work_pixels(width, out.width, to_source.a, to_source.c, scene.work.scale_x)
        self._rows = _work_pixels(height, out.height, to_source.e, to_source.f, scene.work.scale_y)

    def add(self, window: Window, pixels: Pixels) -> None:
        """A window of the work grid that was read."""
        data, valid = pixels.data, pixels.valid
        rows = np.flatnonzero((self._rows >= window.row) & (self._rows < window.row + data.shape[1]))
        columns = np.flatnonzero((self._columns >= window.col) & (self._columns < window.col + data.shape[2]))
        if not len(rows) or not len(columns):
            return
        place = np.ix_(self._rows[rows] - window.row, self._columns[columns] - window.col)
        seen = np.moveaxis(data[:, place[0], place[1]], 0, 2)
        if valid is not None:
            seen = np.where(valid[place][:, :, np.newaxis], seen, np.uint8(BLANK))
        self.picture[np.ix_(rows, columns)] = seen


def _work_pixels(cells: int, size: int, a: float, c: float, scale: float) -> NDArray[np.int64]:
    centres = (np.arange(cells) + 0.5) * size / cells
    found: NDArray[np.int64] = np.floor((centres * a + c) / scale).astype(np.int64)
    return found


class TappedScene:
    """A scene whose reads also fill a preview."""

    def __init__(self, scene: Scene, preview: Preview) -> None:
        self._scene = scene
        self._preview = preview
        self.work = scene.work
        self.grid: Grid = scene.grid
        self.output_grid: Grid = scene.output_grid

    def empty(self, window: Window) -> bool | None:
        """As the scene says."""
        return self._scene.empty(window)

    def open_reader(self) -> TappedReader:
        """A reader that shows what it reads."""
        return TappedReader(self._scene.open_reader(), self._preview)


class TappedReader:
    """A reader of one thread."""

    def __init__(self, reader: SceneReader, preview: Preview) -> None:
        self._reader = reader
        self._preview = preview

    def __enter__(self) -> Self:
        self._reader.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    def read(self, window: Window) -> Any:
        """Read, and keep what the quicklook shows of it."""
        pixels = self._reader.read(window)
        self._preview.add(window, pixels)
        return pixels

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """As the reader says."""
        return self._reader.valid(window)
