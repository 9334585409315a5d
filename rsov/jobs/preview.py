"""The input in the size of the quicklook, kept while the engine reads: large scenes are read once (R16)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from rsov.raster.scene import Pixels, Scene, SceneReader
    from rsov.types import Grid, Window

BLANK = 255
"""White where nothing was read."""


DETAIL_PIXELS = 4 << 20
"""Sources up to this size are read once more where the quicklook shows more detail than the model sees."""


class Preview:
    """A canvas over the output grid; each cell shows the pixel at its centre.

    Filled with work pixels as they are read; reader threads fill different cells, or the same ones with equal
    values. A small source that is finer than the work grid is shown as it is.
    """

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self._scene = scene
        out, work = scene.output_grid, scene.work
        to_source = scene.grid.pixels_of(out)
        across = abs(out.width * to_source.a), abs(out.height * to_source.e)
        enlarged = size[0] > across[0] / work.scale_x
        self._detail = (
            enlarged and not work.native and scene.region.width * scene.region.height <= DETAIL_PIXELS
        )
        scale = (1.0, 1.0) if self._detail else (work.scale_x, work.scale_y)
        # Not more cells than pixels (the sheet enlarges smoothly), two a cell of the sheet at most
        width, height = (
            max(1, min(wanted * (2 if self._detail else 1), math.ceil(length / step)))
            for wanted, length, step in zip(size, across, scale, strict=True)
        )
        self._canvas = np.full((height, width, 3), BLANK, np.uint8)
        self._columns = _pixels_under(width, out.width, to_source.a, to_source.c, scale[0])
        self._rows = _pixels_under(height, out.height, to_source.e, to_source.f, scale[1])

    @property
    def picture(self) -> NDArray[np.uint8]:
        """What was read, uint8 (height, width, 3); of the shape asked for or smaller, or twice as large."""
        if self._detail:
            from rsov.raster.scene_chunks import source_validity

            whole = self._scene.region
            with self._scene.view.open() as source:
                data, _ = self._scene.decoder.decode(source, whole)
                valid = source_validity(self._scene, lambda: source, whole)
            valid = np.ones(data.shape[1:], bool) if valid is None else valid
            self._fill(whole, data, self._mapped(whole, valid, (1.0, 1.0)))
        return self._canvas

    def add(self, window: Window, pixels: Pixels) -> None:
        """A window of the work grid that was read."""
        if not self._detail:
            scale = self._scene.work.scale_x, self._scene.work.scale_y
            self._fill(window, pixels.data, self._mapped(window, pixels.valid, scale))

    def _mapped(
        self, window: Window, valid: NDArray[np.bool_], scale: tuple[float, float]
    ) -> NDArray[np.bool_]:
        area = None if self._scene.aoi is None else self._scene.aoi.mask(window, scale)
        both: NDArray[np.bool_] = valid if area is None else valid & area
        return both

    def _fill(self, window: Window, data: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero((self._rows >= window.row) & (self._rows < window.row + data.shape[1]))
        columns = np.flatnonzero((self._columns >= window.col) & (self._columns < window.col + data.shape[2]))
        if not len(rows) or not len(columns):
            return
        place = np.ix_(self._rows[rows] - window.row, self._columns[columns] - window.col)
        seen = np.moveaxis(data[:, place[0], place[1]], 0, 2)
        self._canvas[np.ix_(rows, columns)] = np.where(valid[place][:, :, np.newaxis], seen, np.uint8(BLANK))


def _pixels_under(cells: int, size: int, a: float, c: float, scale: float) -> NDArray[np.int64]:
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
