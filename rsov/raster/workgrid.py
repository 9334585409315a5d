"""The grid that the model sees: the source grid at another pixel size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsov.term import number_text
from rsov.types import Notices, Window

MAX_ENLARGEMENT = 4.0
"""Coarser pictures are enlarged at most this much: beyond, interpolation adds cost and no detail."""
SAME_GSD = 0.05
"""Pixel sizes that differ by less are the same: the models are trained with larger random scales."""
_COARSE_WARNING = 2.0
_NICE_SCALE = 0.01
_SLIVER = 0.02
"""Work pixels: a last row or column that covers less of the source is left out."""


@dataclass(frozen=True)
class WorkGrid:
    """Size in work pixels, and source pixels per work pixel in x and y (above 1: the source is finer)."""

    width: int
    height: int
    scale_x: float
    scale_y: float

    @property
    def native(self) -> bool:
        """Work pixels are the source pixels."""
        return self.scale_x == 1.0 and self.scale_y == 1.0

    def owned(self, window: Window, width: int, height: int) -> Window:
        """Source pixels (of a grid of ``width`` x ``height``) that belong to a window, and to no other."""
        col, row = round(window.col * self.scale_x), round(window.row * self.scale_y)
        right = width if window.right >= self.width else round(window.right * self.scale_x)
        bottom = height if window.bottom >= self.height else round(window.bottom * self.scale_y)
        return Window(col, row, max(0, min(right, width) - col), max(0, min(bottom, height) - row))

    def support(self, window: Window, width: int, height: int) -> Window:
        """Source pixels needed to compute a window of work pixels."""
        left, right = _support(window.col, window.right, self.scale_x, width)
        top, bottom = _support(window.row, window.bottom, self.scale_y, height)
        return Window(left, top, right - left, bottom - top)


def _support(start: int, stop: int, scale: float, size: int) -> tuple[int, int]:
    low, high = math.floor(start * scale), math.ceil(stop * scale)
    if scale < 1:  # bilinear: the pixel before and after
        low, high = math.floor((start + 0.5) * scale - 0.5), math.floor((stop - 0.5) * scale - 0.5) + 2
    low = min(max(low, 0), size - 1)
    return low, min(max(high, low + 1), size)


def work_grid(width: int, height: int, scale: tuple[float, float]) -> WorkGrid:
    """The work grid of a source of ``width`` x ``height`` pixels; every source pixel is covered."""
    sx, sy = scale
    return WorkGrid(max(1, math.ceil(width / sx - _SLIVER)), max(1, math.ceil(height / sy - _SLIVER)), sx, sy)


def choose_scale(
    gsd: tuple[float, float] | None,
    model_gsd: float,
    model_range: tuple[float, float],
    work_gsd: float | None,
    notices: Notices,
) -> tuple[float, float]:
    """Source pixels per work pixel in x and y.

    Inside the model's range the picture is read as it is; finer ones at ``model_gsd``; coarser ones enlarged
    to the coarse end of the range, at most :data:`MAX_ENLARGEMENT` times. Pixels that are not square become
    square, as fine as their finer side. Without a known GSD the picture counts as if at ``model_gsd``.
    """
    if gsd is None:
        if work_gsd is None:
            return 1.0, 1.0
        gsd = model_gsd, model_gsd
    finest, coarsest = model_range
    own = min(gsd)
    if work_gsd is not None:
        target = max(work_gsd, own / MAX_ENLARGEMENT)
        if not finest * (1 - SAME_GSD) <= work_gsd <= coarsest * (1 + SAME_GSD):
            notices.warn(
                "W-work-gsd-range",
                f"--work-gsd {work_gsd:g}: the model was made for {finest:g} to {coarsest:g} m",
            )
        if target > work_gsd * (1 + SAME_GSD):
            notices.warn(
                "W-work-gsd",
                f"--work-gsd {work_gsd:g}: pixels of {number_text(own)} m are enlarged to "
                f"{number_text(target)} m, not more",
            )
    elif own < finest * (1 - SAME_GSD):
        target = model_gsd
    elif own > coarsest * (1 + SAME_GSD):
        target = max(coarsest, own / MAX_ENLARGEMENT)
        if own > coarsest * _COARSE_WARNING * (1 + SAME_GSD):
            notices.warn(
                "W-coarse-gsd",
                f"pixels of {number_text(own)} m are coarser than the model was made for (up to "
                f"{coarsest:g} m): small things such as roads, trees and houses will be missed",
            )
    else:
        target = own
    return _snap(target / gsd[0]), _snap(target / gsd[1])


def _snap(scale: float) -> float:
    """Scales next to one, and within a percent of a whole number or its inverse, are meant to be that."""
    if abs(scale - 1.0) < SAME_GSD:
        return 1.0
    whole = round(scale) if scale > 1 else round(1 / scale)
    nice = float(whole) if scale > 1 else 1.0 / whole
    return nice if abs(scale / nice - 1) < _NICE_SCALE else scale
