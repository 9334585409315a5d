"""Whether the places of a grid have a longitude and latitude, as GeoJSON needs them (RFC 7946)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsov.errors import InputError
from rsov.geodesy import horizontal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsov.types import Grid

    Floats = NDArray[np.float64]

STEPS = 16
"""Pieces of a side that are looked at: straight lines of a projection bend on the earth."""
_SLACK = 1e-6
"""Degrees of rounding."""
_METRES_PER_DEGREE = 111_320.0
_LEAST_DECIMALS, _MOST_DECIMALS = 7, 13


def off_the_earth(why: str) -> InputError:
    """Coordinates that have no longitude and latitude."""
    return InputError(
        "E-geojson-crs",
        "a part of the map has no place in WGS 84, which GeoJSON needs",
        where="the coordinates of the input in its CRS",
        why=why,
        fix="check the CRS (--crs), or write another format: --vector-format gpkg",
    )


def check_lonlat(grid: Grid, filled: bool) -> None:
    """See that a grid with a CRS lies on the earth.

    ``filled``: polygons may reach the corners; else those may lie off the earth, as those of a disk do.

    Raises:
        InputError: it does not (E-geojson-crs).
    """
    import pyproj

    crs = horizontal(grid)
    x, y = _outline(grid, (0.0, 0.0, grid.width, grid.height))
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    if filled:
        lost = ~(np.isfinite(lon) & (np.abs(lat) <= 90 + _SLACK))
        if lost.any():
            first = int(np.argmax(lost))
            raise off_the_earth(
                f"{x[first]:.10g}, {y[first]:.10g} is outside of what {crs.name[:60]} describes"
            )


def decimals(side: float) -> int:
    """Decimals of a degree that keep polygons of pixels of ``side`` metres; RFC 7946 asks for no idle ones.

    The 7 that GDAL writes round to a centimetre, which is a whole pixel of pictures from low flights.
    """
    if side <= 0:  # pixels at a pole have no width
        return _LEAST_DECIMALS
    return min(max(_LEAST_DECIMALS, math.ceil(-math.log10(side / _METRES_PER_DEGREE)) + 2), _MOST_DECIMALS)


def _outline(grid: Grid, box: tuple[float, float, float, float]) -> tuple[Floats, Floats]:
    """Closed outline, x and y in the CRS, of a box of pixels (left, top, right, bottom)."""
    left, top, right, bottom = box
    side = np.arange(STEPS) / STEPS
    zero, one = np.zeros(STEPS), np.ones(STEPS)
    across = left + np.concatenate([side, one, 1 - side, zero, [0.0]]) * (right - left)
    down = top + np.concatenate([zero, side, one, 1 - side, [0.0]]) * (bottom - top)
    t = grid.transform
    return t.a * across + t.b * down + t.c, t.d * across + t.e * down + t.f
