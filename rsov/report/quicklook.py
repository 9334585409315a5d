"""The picture of a result: input and map side by side, scale bar, legend with shares."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rsov.report.drawing import GAP, MARGIN, Sheet, hatch
from rsov.types import NODATA, NONE_COLOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rsov.report.summary import ClassArea
    from rsov.types import Grid, Legend

MAX_WIDTH = 1600
"""Fits a README and a screen."""

WIDE = 1.9
"""From this ratio of width to height on, the two pictures stand above each other."""

TALLEST = 1100
"""Height of a picture beyond which the sheet no longer fits a screen."""

MIN_SIDE = 24
"""Strips of a pixel or two are drawn this thick."""

MAX_ENLARGED = 8
"""Tiny rasters are enlarged by at most this much."""

SAMPLES = 3
"""A cell of the map shows the most frequent of 3 x 3 pixels spread over it: thin roads do not break up."""


class Quicklook:
    """Gathers a map row by row in the size of its picture, then draws the sheet.

    Args:
        grid: grid of the class raster.
        legend: its classes.
        metres_per_pixel: ground size (x, y) of a raster pixel; ``None`` without georeference.

    The sheet shows north up: an axis-aligned grid that runs the other way is turned over. Rotated ones, and
    those without a CRS, stay as stored.

    ``picture_size`` is the (width, height) in which the input is to be given to :meth:`render`.
    """

    def __init__(
        self, grid: Grid, legend: Legend, metres_per_pixel: tuple[float, float] | None = None
    ) -> None:
        self._grid = grid
        self._legend = legend
        self._metres = metres_per_pixel
        width = grid.width * (metres_per_pixel[0] / metres_per_pixel[1] if metres_per_pixel else 1.0)
        self.stacked = width / grid.height >= WIDE
        space = MAX_WIDTH - 2 * MARGIN if self.stacked else (MAX_WIDTH - 2 * MARGIN - GAP) // 2
        scale = min(space / width, TALLEST / grid.height, MAX_ENLARGED)
        self.picture_size = (max(MIN_SIDE, round(width * scale)), max(MIN_SIDE, round(grid.height * scale)))
        t = grid.transform
        upright = grid.crs is not None and t.b == 0 == t.d
        self._turn = (
            slice(None, None, -1 if upright and t.e > 0 else 1),
            slice(None, None, -1 if upright and t.a < 0 else 1),
        )
        self._columns = _samples(grid.width, self.picture_size[0])
        self._rows = _samples(grid.height, self.picture_size[1])
        self._sampled = np.zeros((len(self._rows), len(self._columns)), dtype=legend.dtype)

    def add(self, row: int, labels: NDArray[Any]) -> None:
        """Take rows ``row`` and following of the class raster, (h, width); blocks in any order."""
        first, last = np.searchsorted(self._rows, [row, row + labels.shape[0]])
        self._sampled[first:last] = labels[np.ix_(self._rows[first:last] - row, self._columns)]

    def render(self, picture: NDArray[np.uint8], areas: Sequence[ClassArea], *, title: str) -> bytes:
        """Draw the sheet.

        Args:
            picture: the input as RGB, (height, width, 3) of ``picture_size`` (other sizes are scaled).
            areas: rows of :func:`rsov.report.summary.class_areas`.
            title: a line above; foreign text.

        Returns:
            A PNG file.
        """
        source = Image.fromarray(np.ascontiguousarray(picture[self._turn])).resize(
            self.picture_size, Image.Resampling.LANCZOS
        )
        panels = [source, Image.fromarray(self._colour_map())]
        across = None
        if self._metres is not None:
            across = self._metres[0] * self._grid.width
        sheet = Sheet(
            panels, areas, stacked=self.stacked, title=title, metres_across=across, gsd=self._metres
        )
        out = io.BytesIO()
        sheet.draw().save(out, format="PNG", optimize=False, compress_level=6)
        return out.getvalue()

    def _colour_map(self) -> NDArray[np.uint8]:
        labels = _most_frequent(self._sampled, *self.picture_size)[self._turn]
        table = np.full((np.iinfo(labels.dtype).max + 1, 3), 255, dtype=np.uint8)
        table[self._legend.none_id] = NONE_COLOUR
        for item in self._legend:
            table[item.id] = item.colour
        colours: NDArray[np.uint8] = table[labels]
        unknown = labels == NODATA
        colours[unknown] = hatch(labels.shape)[unknown]
        return colours


def _samples(length: int, cells: int) -> NDArray[np.intp]:
    """Pixel indices of the samples of ``cells`` cells along an axis of ``length`` pixels, in order."""
    count = cells * SAMPLES
    return np.minimum(((np.arange(count) + 0.5) * length / count).astype(np.intp), length - 1)


def _most_frequent(sampled: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """The most frequent label of each cell; of equals the smallest."""
    by_cell = sampled.reshape(height, SAMPLES, width, SAMPLES).transpose(1, 3, 0, 2)
    cells: NDArray[Any] = np.sort(by_cell.reshape(-1, height, width), axis=0)
    best: NDArray[Any] = cells[0].copy()
    best_run = np.ones((height, width), dtype=np.uint8)
    run = best_run.copy()
    for below, above in itertools.pairwise(cells):
        run = np.where(above == below, run + 1, 1).astype(np.uint8)
        longer = run > best_run
        best[longer] = above[longer]
        best_run = np.maximum(best_run, run)
    return best
