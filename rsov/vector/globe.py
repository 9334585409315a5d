"""Polygons as RFC 7946 wants them: longitude and latitude of WGS 84, cut at 180 degrees, closed over a pole.

GDAL's own cut leaves lines, spikes or lost holes where a border lies on 180 degrees, and knows few poles.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.geodesy import degrees_per_unit, horizontal, metres_per_unit
from rsov.vector.earth import STEPS, off_the_earth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from rsov.types import Grid

    Floats = NDArray[np.float64]

_HALF, _TURN, _POLE = 180.0, 360.0, 90.0
_SLACK = 1e-6
"""Degrees of rounding."""
_WIDE = 5.0
_LONG_M = 2e6
"""Edges of more degrees or metres bend on the earth so much that their ends do not tell where they run."""
_ON = 10
"""Steps of the file's numbers: a border this near to 180 degrees is on it, and no sliver lies beside it."""
_LONGEST = 90.0
"""Degrees of an edge in the file: readers take those of nearly a turn as edges over 180 degrees."""


class Globe:
    """Brings polygons of a grid with a CRS to WGS 84; ``decimals`` of a degree are kept."""

    def __init__(self, grid: Grid, decimals: int) -> None:
        import pyproj

        crs = horizontal(grid)
        self._name = crs.name[:60]
        self._to = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
        plain = crs.is_geographic and not crs.is_derived  # no rotated pole
        self._degrees = degrees_per_unit(crs) if plain else 0.0
        self._zero = self._to.transform(0.0, 0.0)[0] if plain else 0.0
        self._long = _LONG_M / metres_per_unit(crs)
        self._step = 10.0**-decimals
        self._poles: list[tuple[float, float, float]] = []
        if not plain:
            for pole in (_POLE, -_POLE):
                x, y = self._to.transform(0.0, pole, direction="INVERSE")
                if np.isfinite([x, y]).all():
                    self._poles.append((x, y, pole))

    def places(self, xy: Floats) -> Floats:
        """(n, 2) longitudes and latitudes of (n, 2) coordinates; from degrees, longitudes run on beyond 180.

        Raises:
            InputError: a place that is none on the earth (E-geojson-crs).
        """
        lon, lat = self._to.transform(xy[:, 0], xy[:, 1])
        lost = ~(np.isfinite(lon) & (np.abs(lat) <= _POLE + _SLACK))
        if lost.any():
            x, y = xy[int(np.argmax(lost))]
            raise off_the_earth(f"{x:.10g}, {y:.10g} is outside of what {self._name} describes")
        if self._degrees:
            lon = lon + _TURN * np.round((xy[:, 0] * self._degrees + self._zero - lon) / _TURN)
        return np.column_stack([lon, np.clip(lat, -_POLE, _POLE)])

    def turn(self, xy: Floats, places: Floats, rings: NDArray[np.int64], parts: NDArray[np.int64]) -> Floats:
        """For each polygon the degrees that bring it within +-180 as it is; NaN where it must be cut."""
        first = rings[parts[:-1]]
        west = np.minimum.reduceat(places[:, 0], first)
        east = np.maximum.reduceat(places[:, 0], first)
        turn = _TURN * np.round((west + east) / 2 / _TURN)
        whole = (west - turn >= -_HALF) & (east - turn <= _HALF)
        if not self._degrees:
            steps = np.diff(xy, axis=0, append=xy[-1:])
            wide = np.abs(np.diff(places[:, 0], append=places[-1, 0])) > _WIDE
            wide |= np.hypot(*steps.T) > self._long
            wide |= np.abs(places[:, 1]) > _POLE - _SLACK
            wide[rings[1:] - 1] = False  # from ring to ring
            whole &= ~np.logical_or.reduceat(wide, first) & (np.abs([west, east]) < _HALF).all(axis=0)
        turn[~whole] = np.nan
        return turn

    def cut(self, rings: list[Floats]) -> BaseGeometry:
        """A polygon of closed rings, coordinates of the CRS, as a polygon or several within +-180 degrees."""
        import shapely

        found = shapely.Polygon()
        for ring in rings:
            for loop in self._loops(ring):
                half = _TURN * np.round((loop[:, 0] - _HALF) / _TURN) + _HALF
                on = np.abs(loop[:, 0] - half) < _ON * self._step
                loop[on, 0] = half[on]
                area = shapely.make_valid(shapely.Polygon(loop), method="structure", keep_collapsed=False)
                folded = _folded(area, self._step)
                found = _areas(shapely.symmetric_difference(found, folded, grid_size=self._step))
        return shapely.segmentize(found, _LONGEST)

    def _loops(self, ring: Floats) -> Iterator[Floats]:
        """Closed rings of longitudes that run on; a ring around or through a pole is closed along it."""
        if self._degrees:
            yield self.places(ring)
            return
        ring = self._bent(ring)
        places = self.places(ring)
        at = np.flatnonzero(np.abs(places[:-1, 1]) > _POLE - _SLACK)
        if len(at):
            around = np.concatenate([places[at[0] : -1], places[: at[0] + 1]])
            ends = np.append(at - at[0], len(places) - 1)
            for start, stop in pairwise(ends):
                if stop - start > 1:
                    yield _closed(_running(around[start + 1 : stop]), around[start, 1])
            return
        places = _running(places)
        if abs(places[-1, 0] - places[0, 0]) > _HALF:
            places = _closed(places, self._pole_in(ring, places))
        yield places

    def _bent(self, ring: Floats) -> Floats:
        """The ring with points on its long edges, and with one where an edge runs through a pole."""
        lon = _running(self.places(ring))[:, 0]
        step = np.diff(ring, axis=0)
        wide = (np.abs(np.diff(lon)) > _WIDE) | (np.hypot(*step.T) > self._long)
        pieces = []
        for k, (start, along) in enumerate(zip(ring[:-1], step, strict=True)):
            shares = set(np.arange(STEPS) / STEPS) if wide[k] else {0.0}
            for x, y, _ in self._poles if wide[k] else ():
                aside = np.array([x, y]) - start
                share = float(aside @ along / (along @ along))
                if 0 < share < 1 and np.abs(aside - share * along).max() < _SLACK * np.abs(along).max():
                    shares.add(share)
            pieces.append(start + np.array(sorted(shares))[:, None] * along)
        return np.concatenate([*pieces, ring[-1:]])

    def _pole_in(self, ring: Floats, places: Floats) -> float:
        import shapely

        inside = shapely.Polygon(ring)
        for x, y, pole in self._poles:
            if shapely.contains_xy(inside, x, y):
                return pole
        return _POLE if places[:, 1].mean() > 0 else -_POLE


def _running(places: Floats) -> Floats:
    lon = np.unwrap(places[:, 0], period=_TURN)
    return np.column_stack([lon, places[:, 1]])


def _closed(places: Floats, pole: float) -> Floats:
    return np.vstack([places, [places[-1, 0], pole], [places[0, 0], pole], places[:1]])


def _folded(polygon: Any, step: float) -> Any:
    """All of a polygon brought within +-180 degrees."""
    import shapely

    west, _, east, _ = polygon.bounds
    found = shapely.Polygon()
    for turn in range(int(np.floor((west + _HALF) / _TURN)), int(np.ceil((east - _HALF) / _TURN)) + 1):
        shifted = shapely.transform(polygon, lambda places, by=turn * _TURN: places - [by, 0.0])
        inside = shapely.intersection(shifted, shapely.box(-_HALF, -_POLE, _HALF, _POLE), grid_size=step)
        found = _areas(shapely.union(found, _areas(inside), grid_size=step))
    return found


def _areas(found: Any) -> Any:
    """The polygons alone, without lines and points where areas only touch."""
    import shapely

    parts = [part for part in shapely.get_parts(found) if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
