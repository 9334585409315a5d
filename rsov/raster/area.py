"""Sizes of pixels on the ground: sides in metres and areas, for any CRS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsov.geodesy import metric

if TYPE_CHECKING:
    from rsov.types import Grid, Window


def pixel_gsd(grid: Grid) -> tuple[float, float] | None:
    """Lengths in metres of a pixel's two sides at the centre of the grid; None without a CRS."""
    if grid.crs is None:
        return None
    e, _, g = _at(grid, grid.width / 2, grid.height / 2)
    return math.sqrt(e), math.sqrt(g)


def pixel_area(grid: Grid, window: Window) -> float | None:
    """Area in m2 of a pixel at the centre of a window; None without a CRS."""
    if grid.crs is None:
        return None
    e, f, g = _at(grid, window.col + window.width / 2, window.row + window.height / 2)
    return math.sqrt(max(e * g - f * f, 0.0))


def _at(grid: Grid, column: float, row: float) -> tuple[float, float, float]:
    e, f, g = metric(grid, np.array([column]), np.array([row]))[0].tolist()
    return e, f, g
