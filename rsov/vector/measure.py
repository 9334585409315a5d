"""Areas and lengths of polygons on the ground, for any CRS, without projecting a single vertex.

What a pixel step means in metres changes smoothly over a scene. The metric tensor of the pixel grid
(E, F, G of differential geometry: squared lengths of the two steps and their product) is found on
the ellipsoid at the nodes of a coarse table and interpolated; areas and lengths are integrals over it
(:func:`rsov.kernels.rings.measure`). Rotated, mirrored, geographic and feet grids need no case of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rsov.kernels import rings as kernel

if TYPE_CHECKING:
    import pyproj
    from numpy.typing import NDArray

    from rsov.types import Grid
    from rsov.vector.trace import Regions

    Floats = NDArray[np.float64]

NODE_SPACING_M = 50_000.0
"""Between nodes; the relative error of interpolation is (spacing / earth radius)**2 / 8, below 1e-5."""
MAX_NODES = 1025
"""Along a side: 50 km over the whole earth."""
STEP_M = 2_000.0
"""Step of the numeric derivative: 1e-8 of error, and far above the half millimetre of inverse projections."""


@dataclass(frozen=True)
class Ground:
    """The metric of a grid: (rows, columns, 3) of E, F, G in m2 (``unit`` "m") or pixels ("px")."""

    tensor: Floats
    width: int
    height: int
    unit: str

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in the middle of the scene, m2."""
        rows, columns = self.tensor.shape[:2]
        middle = self.tensor[(rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1]
        e, f, g = middle.mean(axis=(0, 1))
        return math.sqrt(max(e * g - f * f, 0.0))

    def measure(self, regions: Regions) -> tuple[Floats, Floats]:
        """Areas (m2) and lengths of all borders, holes included (m), of polygons in pixel coordinates."""
        return kernel.measure(
            regions.xy, regions.rings, regions.parts, self.tensor, (self.width, self.height)
        )


def ground(grid: Grid) -> Ground:
    """The metric of ``grid``.

    On the ellipsoid of its CRS; on the plane, in metres, where a CRS has no place on the earth
    (engineering CRS); in pixels without a CRS.
    """
    if grid.crs is None:
        return Ground(np.tile([1.0, 0.0, 1.0], (2, 2, 1)), grid.width, grid.height, "px")
    crs = horizontal(grid)
    if crs.is_bound and crs.source_crs is not None:  # a way to WGS 84 is attached; distances do not need it
        crs = crs.source_crs
    if crs.geodetic_crs is None:
        tensor = _planar(grid, crs)
    elif crs.is_geographic:
        tensor = _geographic(grid, crs)
    else:
        tensor = _projected(grid, crs)
    return Ground(np.ascontiguousarray(tensor), grid.width, grid.height, "m")


def horizontal(grid: Grid) -> pyproj.CRS:
    """The two-dimensional part of the grid's CRS (Z07)."""
    import pyproj

    assert grid.crs is not None  # noqa: S101 - callers have looked
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    return crs.to_2d()


def _planar(grid: Grid, crs: pyproj.CRS) -> Floats:
    t = grid.transform
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    metric = np.array([t.a**2 + t.d**2, t.a * t.b + t.d * t.e, t.b**2 + t.e**2]) * unit**2
    return np.tile(metric, (2, 2, 1))


def _nodes(grid: Grid, metres: tuple[float, float]) -> tuple[Floats, Floats]:
    """Pixel places of a table's nodes over a scene of that many metres; (rows, columns) each."""
    counts = [min(MAX_NODES, max(2, math.ceil(length / NODE_SPACING_M) + 1)) for length in metres]
    x, y = np.linspace(0, grid.width, counts[0]), np.linspace(0, grid.height, counts[1])
    columns, rows = np.meshgrid(x, y)
    return columns, rows


def _geographic(grid: Grid, crs: pyproj.CRS) -> Floats:
    """From the radii of curvature of the ellipsoid (Snyder 1987, equations 4-18 and 4-20)."""
    radian = crs.axis_info[0].unit_conversion_factor
    ellipsoid = crs.ellipsoid
    assert ellipsoid is not None  # noqa: S101 - geographic CRS have one
    major, minor = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    size = grid.pixel_size
    columns, rows = _nodes(
        grid, (grid.width * size[0] * radian * major, grid.height * size[1] * radian * major)
    )
    t = grid.transform
    phi = (t.d * columns + t.e * rows + t.f) * radian
    squared = 1 - (minor / major) ** 2
    w = 1 - squared * np.sin(phi) ** 2
    meridian = (major * (1 - squared) / w**1.5) ** 2
    parallel = (major * np.cos(phi) / np.sqrt(w)) ** 2
    a, b, d, e = (value * radian for value in (t.a, t.b, t.d, t.e))
    return np.stack(
        [
            parallel * a * a + meridian * d * d,
            parallel * a * b + meridian * d * e,
            parallel * b * b + meridian * e * e,
        ],
        axis=-1,
    )


def _projected(grid: Grid, crs: pyproj.CRS) -> Floats:
    """By geodesics along short steps of columns and rows."""
    import pyproj

    geodetic = crs.geodetic_crs
    geod = crs.get_geod()
    assert geodetic is not None  # noqa: S101 - the caller has looked
    assert geod is not None  # noqa: S101 - comes with it
    to_earth = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    degree = math.degrees(geodetic.axis_info[0].unit_conversion_factor)
    unit = crs.axis_info[0].unit_conversion_factor
    t = grid.transform

    def earth(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        lon, lat = to_earth.transform(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
        return np.asarray(lon) * degree, np.asarray(lat) * degree

    size = grid.pixel_size
    x, y = _nodes(grid, (grid.width * size[0] * unit, grid.height * size[1] * unit))
    here = earth(x, y)
    length, azimuth = [], []
    for axis in (0, 1):
        step = STEP_M / (size[axis] * unit)
        dx, dy = (step, 0.0) if axis == 0 else (0.0, step)
        ahead = earth(x + dx, y + dy)
        before, after = earth(x - dx / 2, y - dy / 2), earth(x + dx / 2, y + dy / 2)
        azimuth.append(np.radians(geod.inv(here[0], here[1], ahead[0], ahead[1])[0]))
        length.append(np.asarray(geod.inv(before[0], before[1], after[0], after[1])[2]) / step)
    product = length[0] * length[1] * np.cos(azimuth[0] - azimuth[1])
    tensor = np.stack([length[0] ** 2, product, length[1] ** 2], axis=-1)
    known = np.isfinite(tensor).all(axis=-1)
    if not known.any():
        return _planar(grid, crs)
    if not known.all():  # corners of the raster beyond the edge of the projection
        tensor[~known] = tensor[known][_nearest(x, y, known)]
    return tensor


def _nearest(x: Floats, y: Floats, known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each unknown node the index of the nearest known one."""
    import shapely

    tree = shapely.STRtree(shapely.points(x[known], y[known]))
    nearest: NDArray[np.intp] = tree.nearest(shapely.points(x[~known], y[~known]))
    return nearest
