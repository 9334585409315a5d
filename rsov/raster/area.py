"""Sizes on the ground: pixel sizes in metres and pixel areas, on the ellipsoid, for any CRS."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyproj import Geod, Transformer
    from rasterio.crs import CRS

    from rsov.types import Grid, Window


Vector = tuple[float, float, float]


def ground_steps(grid: Grid, col: float, row: float) -> tuple[Vector, Vector] | None:
    """One pixel step in x and one in y at a place, as vectors in metres from the centre of the Earth's axes.

    Geocentric vectors need no meridian, so poles and the antimeridian are places like any other. None without
    a CRS, or where the projection is not defined.
    """
    if grid.crs is None:
        return None
    way = _to_lonlat(grid.crs.to_wkt())
    if way is None:
        return None
    transformer, geod = way
    points = [(col - 0.5, row), (col + 0.5, row), (col, row - 0.5), (col, row + 0.5)]
    xs, ys = zip(*(grid.transform @ point for point in points), strict=True)
    lons, lats = transformer.transform(xs, ys)
    if not all(map(math.isfinite, (*lons, *lats))) or max(map(abs, lats)) > 90:
        return None
    places = [_geocentric(lon, lat, geod) for lon, lat in zip(lons, lats, strict=True)]
    steps = _difference(places[0], places[1]), _difference(places[2], places[3])
    return steps if all(math.hypot(*step) > 0 for step in steps) else None


def _geocentric(lon: float, lat: float, geod: Geod) -> Vector:
    """A point on the ellipsoid (degrees) as x, y, z in metres (EPSG method 9602, height 0)."""
    lam, phi = math.radians(lon), math.radians(lat)
    nu = geod.a / math.sqrt(1 - geod.es * math.sin(phi) ** 2)
    across = nu * math.cos(phi)
    return across * math.cos(lam), across * math.sin(lam), nu * (1 - geod.es) * math.sin(phi)


def _difference(a: Vector, b: Vector) -> Vector:
    return b[0] - a[0], b[1] - a[1], b[2] - a[2]


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
        (ax, ay, az), (bx, by, bz) = steps
        return math.hypot(ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    sides = _by_unit(grid)
    if sides is None:
        return None
    t, (a, b) = grid.transform, grid.pixel_size
    return float(abs(t.a * t.e - t.b * t.d) / (a * b) * sides[0] * sides[1])


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
        factor: float = float(crs.linear_units_factor[1])
    except CRSError:
        return 1.0
    return factor if factor > 0 else 1.0


@lru_cache(maxsize=32)
def _to_lonlat(wkt: str) -> tuple[Transformer, Geod] | None:
    from pyproj import CRS, Geod, Transformer
    from pyproj.exceptions import ProjError

    try:
        crs = CRS.from_wkt(wkt).to_2d()
        if crs.is_compound:
            crs = crs.sub_crs_list[0]
        geographic = crs.geodetic_crs
        if geographic is None:  # a local grid, tied to no datum
            return None
        geographic = geographic.to_2d()
        return Transformer.from_crs(crs, geographic, always_xy=True), geographic.get_geod() or Geod(
            ellps="WGS84"
        )
    except ProjError:
        return None
