"""Blending of overlapping tiles in a rolling window of score rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rsov.engine.plan import Part, Plan, rows_to_add
from rsov.kernels.blend import add_tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR = 1e-3
"""Least weight of a tile's outermost cell: at the picture's edge there is no other tile."""


def window_weights(cells: int, overlap: int) -> NDArray[np.float32]:
    """Weights along one side of a tile: 1 inside, half a Hann window over the overlap at both ends.

    Two neighbours add up to 1 (but for :data:`FLOOR`), and the weight falls to nearly 0 at a tile's edge,
    where the network sees least.
    """
    weights = np.ones(cells)
    if overlap:
        ramp = np.sin(0.5 * np.pi * (np.arange(overlap) + 0.5) / overlap) ** 2
        weights[:overlap] = np.minimum(weights[:overlap], ramp)
        weights[-overlap:] = np.minimum(weights[-overlap:], ramp[::-1])
    return np.maximum(weights, FLOOR).astype(np.float32)


def inverse_weights(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / weights, and 0 where nothing was added: no valid pixel reads such a cell."""
    return np.divide(np.float32(1), weights, out=np.zeros_like(weights), where=weights > 0)


@dataclass
class PartScores:
    """Scores of a part's cells: weighted sums [C, n, w], inverse sums of weights [n, w], tiles as (row, col).

    A score is ``sums * inverse``; who decides pixels multiplies where it reads.
    """

    part: Part
    sums: NDArray[np.float32]
    inverse: NDArray[np.float32]
    tiles: frozenset[tuple[int, int]]


class RollingScores:
    """Weighted sums of scores for the open rows of a strip.

    Use: :meth:`begin` a part, :meth:`add` the tiles of the rows it returns in row-major order,
    :meth:`finish`. Parts in sequence keep what they share; any other part starts anew and gets the same
    values, because every cell receives the same contributions in the same order.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        stride = plan.model_stride
        self._wy = window_weights(plan.rows.tile // stride, plan.rows.overlap // stride)
        self._wx = window_weights(plan.cols.tile // stride, plan.cols.overlap // stride)
        self._height = plan.rows.tile // stride + 2
        self._part: Part | None = None
        self._tiles: set[tuple[int, int]] = set()
        self._total = np.zeros((plan.channels, 0, 0), np.float32)
        self._weights = np.zeros((0, 0), np.float32)

    def begin(self, part: Part) -> range:
        """Make room for a part; returns the tile rows that must be added for it."""
        previous, self._part = self._part, part
        rows = rows_to_add(previous, part)
        if previous is not None and rows != part.tile_rows:
            self._roll(part.cells.row - previous.cells.row)
        else:
            self._clear(part.cells.width)
        self._tiles = {tile for tile in self._tiles if tile[0] in part.tile_rows}
        return rows

    def add(self, row: int, col: int, scores: NDArray[np.float32]) -> None:
        """Add the scores [C, h, w] of a tile."""
        part, stride = self._current(), self._plan.model_stride
        top = self._plan.rows.start(row) // stride - part.cells.row
        left = self._plan.cols.start(col) // stride - part.cells.col
        add_tile(self._total, self._weights, scores, self._wy, self._wx, top, left)
        self._tiles.add((row, col))

    def finish(self) -> PartScores | None:
        """The part's scores; None where no tile had data."""
        part = self._current()
        if not self._tiles:
            return None
        rows = part.cells.height
        return PartScores(
            part, self._total[:, :rows].copy(), inverse_weights(self._weights[:rows]), frozenset(self._tiles)
        )

    def _current(self) -> Part:
        if self._part is None:
            raise RuntimeError("no part was begun")
        return self._part

    def _clear(self, width: int) -> None:
        if self._weights.shape[1] != width:
            self._total = np.zeros((self._plan.channels, self._height, width), np.float32)
            self._weights = np.zeros((self._height, width), np.float32)
        else:
            self._total[:] = 0
            self._weights[:] = 0
        self._tiles.clear()

    def _roll(self, rows: int) -> None:
        """Move the sums up and clear the rows that come free."""
        if not self._tiles:
            return  # all zero: wide empty stretches cost nothing
        keep = max(0, self._height - rows)
        for sums in (*self._total, self._weights):
            sums[:keep] = sums[rows:].copy() if keep else 0
            sums[keep:] = 0
