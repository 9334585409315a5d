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
OFF_THE_EARTH = ("rojection", "reproject", "extent outside of")
"""What GDAL says of coordinates that have no longitude and latitude."""


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
    """See that a grid with a CRS lies on the earth and that GDAL can cut it open where it holds a pole.

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
    if not crs.is_geographic:
        _check_poles(grid, crs.to_wkt())


def _outline(grid: Grid, box: tuple[float, float, float, float]) -> tuple[Floats, Floats]:
    """Closed outline, x and y in the CRS, of a box of pixels (left, top, right, bottom)."""
    left, top, right, bottom = box
    side = np.arange(STEPS) / STEPS
    zero, one = np.zeros(STEPS), np.ones(STEPS)
    across = left + np.concatenate([side, one, 1 - side, zero, [0.0]]) * (right - left)
    down = top + np.concatenate([zero, side, one, 1 - side, [0.0]]) * (bottom - top)
    t = grid.transform
    return t.a * across + t.b * down + t.c, t.d * across + t.e * down + t.f


def _check_poles(grid: Grid, wkt: str) -> None:
    """GDAL cuts polygons around a pole open for polar stereographic grids centred on 0, 0 only (Z17)."""
    import pyproj

    back = pyproj.Transformer.from_crs(4326, wkt, always_xy=True)
    for pole in (90.0, -90.0):
        x, y = back.transform(0.0, pole)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        col, row = ~grid.transform @ (x, y)
        room = min(col, row, grid.width - col, grid.height - row)
        around = (col - room, row - room, col + room, row + room)
        if room > 0 and not _reaches_pole(np.column_stack(_outline(grid, around)), wkt):
            raise off_the_earth(
                "it holds a pole, and polygons around it cannot be cut open in this projection"
            )


def _reaches_pole(ring: Floats, wkt: str) -> bool:
    """Whether GDAL brings a polygon around a pole to longitude and latitude with the pole on its border."""
    import fiona
    from fiona.errors import FionaError
    from fiona.transform import transform_geom

    around = {"type": "Polygon", "coordinates": [ring.tolist()]}
    try:
        with fiona.Env():
            cut = transform_geom(wkt, "EPSG:4326", around, antimeridian_cutting=True)
    except FionaError:
        return False
    parts = cut.coordinates if cut.type == "MultiPolygon" else [cut.coordinates]
    places = [point[:2] for part in parts for line in part for point in line]
    ends = {round(longitude) for longitude, latitude in places if abs(latitude) > 90 - _SLACK}
    return {-180, 180} <= ends
