"""Sizes on the ground: pixel sizes in metres and pixel areas, on the ellipsoid, for any CRS."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from rsov.types import Grid, Window

if TYPE_CHECKING:
    from pyproj import Geod, Transformer
    from rasterio.crs import CRS


def ground_steps(grid: Grid, col: float, row: float) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """East and north components, in metres, of one pixel step in x and one in y at a place.

    The steps are geodesics between points half a pixel before and after the place. None without a CRS, or
    where the projection is not defined.
    """
    if grid.crs is None:
        return None
    try:
        transformer, geod = _to_lonlat(grid.crs.to_wkt())
    except Exception as error:
        if not _is_proj_error(error):
            raise
        return None
    points = [(col - 0.5, row), (col + 0.5, row), (col, row - 0.5), (col, row + 0.5)]
    xs, ys = zip(*(grid.transform * point for point in points), strict=True)
    lons, lats = transformer.transform(xs, ys)
    if not all(map(math.isfinite, (*lons, *lats))) or max(map(abs, lats)) > 90:
        return None
    azimuths, _, lengths = geod.inv([lons[0], lons[2]], [lats[0], lats[2]], [lons[1], lons[3]], [lats[1], lats[3]])
    if not all(map(math.isfinite, lengths)) or min(lengths) <= 0:
        return None
    east_x, north_x = _components(azimuths[0], lengths[0])
    east_y, north_y = _components(azimuths[1], lengths[1])
    return (east_x, north_x), (east_y, north_y)


def pixel_gsd(grid: Grid) -> tuple[float, float] | None:
    """Lengths in metres of a pixel's two sides at the centre of the grid; None if not known."""
    steps = ground_steps(grid, grid.width / 2, grid.height / 2)
    if steps is not None:
        return math.hypot(*steps[0]), math.hypot(*steps[1])
    return _by_unit(grid)


def pixel_area(grid: Grid, window: Window) -> float | None:
    """Area in m2 of a pixel at the centre of a window, on the ellipsoid; None if not georeferenced.

    A projection without a way to longitude and latitude (a local one) counts by its unit of length.
    """
    steps = ground_steps(grid, window.col + window.width / 2, window.row + window.height / 2)
    if steps is not None:
        (ax, ay), (bx, by) = steps
        return abs(ax * by - ay * bx)
    sides = _by_unit(grid)
    if sides is None:
        return None
    t, (a, b) = grid.transform, grid.pixel_size
    return abs(t.a * t.e - t.b * t.d) / (a * b) * sides[0] * sides[1]


def _components(azimuth: float, length: float) -> tuple[float, float]:
    return length * math.sin(math.radians(azimuth)), length * math.cos(math.radians(azimuth))


def _by_unit(grid: Grid) -> tuple[float, float] | None:
    if grid.crs is None or grid.crs.is_geographic:
        return None
    factor = unit_factor(grid.crs)
    x, y = grid.pixel_size
    return x * factor, y * factor


def unit_factor(crs: CRS) -> float:
    """Metres per unit of a CRS that is not geographic; 1 where it does not say."""
    from rasterio.errors import CRSError

    try:
        factor = float(crs.linear_units_factor[1])
    except CRSError:
        return 1.0
    return factor if factor > 0 else 1.0


@lru_cache(maxsize=32)
def _to_lonlat(wkt: str) -> tuple[Transformer, Geod]:
    from pyproj import CRS, Geod, Transformer

    crs = CRS.from_wkt(wkt).to_2d()
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    geographic = crs.geodetic_crs
    if geographic is None:
        from pyproj.exceptions import CRSError

        raise CRSError("no geodetic datum")
    geographic = geographic.to_2d()
    geod = geographic.get_geod() or Geod(ellps="WGS84")
    return Transformer.from_crs(crs, geographic, always_xy=True), geod


def _is_proj_error(error: Exception) -> bool:
    from pyproj.exceptions import ProjError

    return isinstance(error, ProjError)
