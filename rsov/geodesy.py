"""What pixel steps mean on the ground, for any CRS: the metric tensor of a grid, on the ellipsoid.

Areas and lengths of pixels (``raster``) and of polygons (``vector``) both come from here. Rotated, mirrored,
geographic grids, feet and grads need no case of their own.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyproj
    from numpy.typing import NDArray

    from rsov.types import Grid

    Floats = NDArray[np.float64]
    Places = Callable[[Floats, Floats], Floats]

STEP_M = 2_000.0
"""Step of the numeric derivative: 1e-8 of error, and far above the rounding of inverse projections."""


def horizontal(grid: Grid) -> pyproj.CRS:
    """The two-dimensional part of the grid's CRS (Z07)."""
    import pyproj

    assert grid.crs is not None  # noqa: S101 - callers have looked
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    return crs.to_2d()


def unit_factor(crs: pyproj.CRS) -> float:
    """Metres, or radians, per unit of a CRS; feet, degrees, grads; 1 where it does not say."""
    factor: float = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    return factor if factor > 0 else 1.0


def metres_per_unit(crs: pyproj.CRS) -> float:
    """Metres per unit of a CRS; of a geographic one, along the equator."""
    radius = crs.ellipsoid.semi_major_metre if crs.is_geographic and crs.ellipsoid is not None else 1.0
    return unit_factor(crs) * radius


def metric(grid: Grid, columns: Floats, rows: Floats) -> Floats:
    """E, F, G of differential geometry at pixel places: squared lengths of the steps in x and y, and product.

    On the ellipsoid of the CRS, as vectors from the centre of the Earth's axes: these need no meridian, so
    poles and the antimeridian are places like any other. By the unit of length where a CRS has no place on
    the earth (engineering CRS) or nobody knows the way there; beyond the edge of a projection, that of the
    nearest place.

    Args:
        grid: with a CRS.
        columns: any shape (...).
        rows: the same.

    Returns:
        (..., 3), m2.
    """
    crs = horizontal(grid)
    unit, t = metres_per_unit(crs), grid.transform
    plane = np.array([t.a**2 + t.d**2, t.a * t.b + t.d * t.e, t.b**2 + t.e**2]) * unit**2
    tensor = np.tile(plane, (*columns.shape, 1))
    places = _places(crs.to_wkt())
    if places is None:
        return tensor

    def derivative(x: float, y: float) -> Floats:
        """Metres per pixel along a step of (x, y) pixels."""
        ends = [
            places(t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f)
            for column, row in ((columns - x / 2, rows - y / 2), (columns + x / 2, rows + y / 2))
        ]
        return (ends[1] - ends[0]) / (x + y)

    size = grid.pixel_size
    across, down = derivative(STEP_M / (size[0] * unit), 0.0), derivative(0.0, STEP_M / (size[1] * unit))
    found = np.stack([(a * b).sum(-1) for a, b in ((across, across), (across, down), (down, down))], axis=-1)
    known = np.isfinite(found).all(-1)
    if known.any():
        tensor[known] = found[known]
        tensor[~known] = found[known][_nearest(columns, rows, known)]
    return tensor


def lonlat(grid: Grid, columns: Floats, rows: Floats) -> Floats | None:
    """Longitudes from Greenwich and latitudes of pixel places, in degrees, on the CRS's own datum.

    NaN where the projection has no such place: where there is no way back either, or one to elsewhere.

    Args:
        grid: with a CRS.
        columns: any shape (...).
        rows: the same.

    Returns:
        (2, ...); None for a CRS that leads to no place on the earth.
    """
    crs = horizontal(grid)
    way = _to_geographic(crs.to_wkt())
    if way is None:
        return None
    transformer, geographic = way
    t = grid.transform
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    places = np.asarray(transformer.transform(x, y))
    back_x, back_y = transformer.transform(places[0], places[1], direction="INVERSE")
    with np.errstate(invalid="ignore"):  # infinite off the projection
        lost = ~(np.hypot(back_x - x, back_y - y) <= max(*grid.pixel_size, 1 / metres_per_unit(crs)))
    places[:, lost] = np.nan
    places *= degrees_per_unit(geographic)
    meridian = geographic.prime_meridian
    if meridian is not None:
        places[0] += math.degrees(meridian.longitude * float(meridian.unit_conversion_factor))
    return places


@lru_cache(maxsize=32)
def _to_geographic(wkt: str) -> tuple[pyproj.Transformer, pyproj.CRS] | None:
    """The way from x, y of a CRS to longitude and latitude of its datum, and the CRS that these are in.

    None where there is none: a local grid, tied to no datum, or a projection that PROJ does not know.
    """
    import pyproj
    from pyproj.exceptions import ProjError

    crs = pyproj.CRS.from_wkt(wkt)
    if crs.is_bound and crs.source_crs is not None:  # a way to WGS 84 is attached; distances do not need it
        crs = crs.source_crs
    geographic = crs.geodetic_crs
    if geographic is None:
        return None
    geographic = geographic.to_2d()
    try:
        return pyproj.Transformer.from_crs(crs, geographic, always_xy=True), geographic
    except ProjError:
        return None


@lru_cache(maxsize=32)
def _places(wkt: str) -> Places | None:
    """The way from x, y of a CRS to x, y, z in metres (EPSG method 9602, height 0); NaN off the projection.

    None where there is none.
    """
    import pyproj

    way = _to_geographic(wkt)
    if way is None:
        return None
    transformer, geographic = way
    radian, geod = unit_factor(geographic), geographic.get_geod() or pyproj.Geod(ellps="WGS84")

    def places(x: Floats, y: Floats) -> Floats:
        angles = np.asarray(transformer.transform(x, y)) * radian
        lam, phi = np.where(np.isfinite(angles), angles, np.nan)
        phi = np.clip(phi, -math.pi / 2, math.pi / 2)  # half a pixel beyond a pole there is no ground
        nu = geod.a / np.sqrt(1 - geod.es * np.sin(phi) ** 2)
        across = nu * np.cos(phi)
        xyz = across * np.cos(lam), across * np.sin(lam), nu * (1 - geod.es) * np.sin(phi)
        return np.stack(xyz, axis=-1)

    return places


def _nearest(x: Floats, y: Floats, known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each unknown place the index of the nearest known one."""
    import shapely

    tree = shapely.STRtree(shapely.points(x[known], y[known]))
    nearest: NDArray[np.intp] = tree.nearest(shapely.points(x[~known], y[~known]))
    return nearest


def degrees_per_unit(crs: pyproj.CRS) -> float:
    """Degrees per unit of a geographic CRS: grads, mils and radians exist."""
    return math.degrees(unit_factor(crs))
