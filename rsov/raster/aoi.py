"""Area of interest: polygons of a vector file in any CRS, as a mask on the picture's grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from rsov.errors import InputError
from rsov.raster.longitudes import full_turn
from rsov.types import Grid, Window

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

    Edges = tuple[float, float, float, float]

_SEGMENTS_PER_SIDE = 64
"""Straight lines bend when reprojected; the outline is cut into pieces of 1/64 of its extent first."""
_TURNS = (-2, -1, 0, 1, 2)
"""Pictures may begin or end a whole turn from where the longitudes of a polygon do."""
_OF_QGIS = ("layer_styles", "qgis_projects")
"""Tables without places that QGIS, and rsov, keep in a GeoPackage beside its layers."""
_FORMATS = "give polygons as GeoPackage, GeoJSON, FlatGeobuf or Shapefile"


class AreaOfInterest:
    """Polygons in pixel coordinates of a grid; a pixel is inside if its centre is (GDAL's rule)."""

    def __init__(self, polygons: list[Polygon]) -> None:
        import shapely

        self._tree = shapely.STRtree(polygons)
        self._polygons = np.asarray(polygons, object)
        shapely.prepare(self._polygons)

    def extent(self) -> Window:
        """The whole pixels that hold all polygons."""
        import shapely

        left, top, right, bottom = shapely.total_bounds(self._polygons)
        col, row = math.floor(left), math.floor(top)
        return Window(col, row, max(1, math.ceil(right) - col), max(1, math.ceil(bottom) - row))

    def outside(self, window: Window) -> bool:
        """No polygon touches the window (in grid pixels)."""
        import shapely

        return bool(self._tree.query(shapely.box(*_edges(window)), predicate="intersects").size == 0)

    def mask(self, window: Window, scale: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.bool_] | None:
        """True inside, (h, w) of a window of the grid or of one with ``scale`` (x, y) grid pixels per pixel.

        None if all of the window is inside.
        """
        import shapely
        from rasterio.features import rasterize

        sx, sy = scale
        left, top, right, bottom = _edges(window)
        box = shapely.box(left * sx, top * sy, right * sx, bottom * sy)
        near = self._polygons[self._tree.query(box, predicate="intersects")]
        if len(near) == 0 or window.width == 0 or window.height == 0:
            return np.zeros((window.height, window.width), bool)
        if len(near) == 1 and shapely.contains_properly(near[0], box):
            return None
        clipped = [
            g for g in shapely.clip_by_rect(near, *box.buffer(1.0 + max(sx, sy)).bounds) if not g.is_empty
        ]
        if not clipped:
            return np.zeros((window.height, window.width), bool)
        transform = Affine.scale(sx, sy) @ Affine.translation(window.col, window.row)
        inside: NDArray[np.bool_] = rasterize(
            clipped,
            out_shape=(window.height, window.width),
            transform=transform,
            fill=0,
            default_value=1,
            dtype="uint8",
        ).astype(bool)
        return inside


def _edges(window: Window) -> tuple[int, int, int, int]:
    return window.col, window.row, window.right, window.bottom


def read_aoi(path: Path, grid: Grid, region: Window) -> AreaOfInterest:
    """Read the polygons of a vector file into pixel coordinates of ``grid``, of which ``region`` is mapped.

    Raises:
        InputError: not readable, no polygons, several layers, no CRS on one side only, or no overlap.
    """
    shapes, crs = _read(path)
    if (crs is None) != (grid.crs is None):
        side = path.name if crs is None else "the picture"
        raise InputError(
            "E-aoi-crs",
            f"{side} has no CRS, so the area of interest cannot be placed",
            where=str(path),
            fix="save it with its CRS" if crs is None else "state the picture's: --crs EPSG:32632",
        )
    polygons = on_grid(shapes, crs, grid)
    if polygons is None:
        raise InputError(
            "E-aoi-crs",
            "the area of interest cannot be brought into the CRS of the picture",
            where="--aoi",
            fix="cut it to the surroundings of the picture, or save it in the picture's CRS",
        )
    aoi = AreaOfInterest(polygons) if polygons else None
    box = aoi.extent().intersect(region) if aoi is not None else None
    if aoi is None or box is None or not box.width * box.height or aoi.outside(region):
        whole = region == grid.window
        part = "the picture" if whole else "the part of the picture asked for with --bounds or --window"
        raise InputError(
            "E-aoi-overlap",
            f"the area of interest in {path} does not touch {part}",
            fix="check its CRS, or look at both in a GIS"
            + ("" if whole else "; or leave one of the two out"),
        )
    return aoi


def _read(path: Path) -> tuple[list[Polygon], CRS | None]:
    import fiona
    import shapely
    from fiona.errors import DriverError, FionaError
    from rasterio.crs import CRS
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    from rsov.raster.preflight import missing_file

    if not path.exists():
        raise missing_file(path, "--aoi")
    if not path.is_file():  # GDAL takes folders as well
        raise InputError("E-aoi", f"{path} is not a file", where="--aoi", fix=_FORMATS)
    try:
        layers = [name for name in fiona.listlayers(path) if name not in _OF_QGIS]
        if len(layers) > 1:
            raise InputError(
                "E-aoi-layers",
                f"{path} has {len(layers)} layers: {', '.join(layers[:8])}",
                fix="copy the one that is meant into a file of its own",
            )
        with fiona.open(path, layer=layers[0] if layers else None) as source:
            wkt = source.crs_wkt
            shapes = [shape(f.geometry) for f in source if f.geometry is not None]
    except (FionaError, OSError, ValueError, ShapelyError) as error:
        raise InputError(
            "E-aoi",
            f"{path} cannot be read as polygons",
            where="--aoi",
            why="it is no vector file, or a damaged one" if isinstance(error, DriverError) else str(error),
            fix=_FORMATS,
        ) from error
    polygons = _polygons(shapes)
    if not polygons:
        raise InputError("E-aoi", f"{path} has no polygons", where="--aoi", fix=_FORMATS)
    if not np.isfinite(shapely.get_coordinates(polygons)).all():
        raise InputError(
            "E-aoi",
            f"{path} has coordinates that are infinite or no numbers",
            where="--aoi",
            fix="repair it in a GIS, or leave out the polygons that have them",
        )
    return polygons, CRS.from_wkt(wkt) if wkt else None


def on_grid(shapes: list[Polygon], crs: CRS | None, grid: Grid) -> list[Polygon] | None:
    """Polygons of a CRS in pixel coordinates of a grid: their parts near it, valid.

    Longitudes are angles: a polygon lies on every place of the grid that is a whole turn away. None where
    the CRS of the grid has no coordinates for some place of them.
    """
    import shapely
    from shapely.affinity import affine_transform

    if crs is not None and grid.crs is not None and crs != grid.crs:
        shapes = _within(shapes, bounds_in(grid, crs), crs)  # farther away there may be no coordinates
        if (degrees := _degrees_over_180(crs, grid)) is not None:
            shapes, crs = [_reproject(shape, crs, degrees) for shape in shapes], degrees.crs
        half = full_turn(crs) / 2
        if half and shapes:  # beyond +-180 a line would jump to the other side of the grid's CRS
            _, bottom, _, top = shapely.total_bounds(shapes)
            shapes = _within(shapes, (-half, bottom, half, top), crs)
        shapes = [_reproject(shape, crs, grid) for shape in shapes]
        if not np.isfinite(shapely.get_coordinates(shapes)).all():
            return None
    shapes = _within(shapes, bounds_in(grid, grid.crs), grid.crs)
    t = ~grid.transform
    return _polygons(
        [shapely.make_valid(affine_transform(shape, (t.a, t.b, t.d, t.e, t.c, t.f))) for shape in shapes]
    )


def _degrees_over_180(crs: CRS, grid: Grid) -> Grid | None:
    """Degrees around a grid, to cut polygons of another plane in; None unless it lies beside 180 degrees."""
    from rasterio.crs import CRS

    lonlat = CRS.from_epsg(4326)
    edges = bounds_in(grid, lonlat) if not full_turn(crs) and not full_turn(grid.crs) else None
    if edges is None or edges[2] - edges[0] > 180 or max(abs(edges[1]), abs(edges[3])) >= 90:
        return None
    left, bottom, right, top = edges
    if left > -180 and right < 180:
        return None
    return Grid(1, 1, Affine(right - left, 0, left, 0, bottom - top, top), lonlat)


def _polygons(shapes: Iterable[BaseGeometry]) -> list[Polygon]:
    """The polygons in geometries of any kind, collections in collections included."""
    import shapely

    found: list[Polygon] = []
    for shape in shapes:
        if shape.geom_type == "Polygon":
            found += [] if shape.is_empty else [shape]
        elif shape.geom_type in ("MultiPolygon", "GeometryCollection"):
            found += _polygons(shapely.get_parts(shape))
    return found


def _within(shapes: list[Polygon], frame: Edges | None, crs: CRS | None) -> list[Polygon]:
    """The parts inside of left, bottom, right, top, at every turn that has some; without a frame, all."""
    import shapely
    from shapely.affinity import translate

    if frame is None or not shapes:
        return shapes
    turn, sound = full_turn(crs), _polygons(shapely.make_valid(shape) for shape in shapes)
    if not sound:
        return []
    west, _, east, _ = shapely.total_bounds(sound)
    parts: list[BaseGeometry] = []
    for shift in (turn * n for n in _TURNS) if turn else (0.0,):
        if west + shift < frame[2] and east + shift > frame[0]:
            moved = [translate(shape, shift) for shape in sound] if shift else sound
            parts += [shapely.clip_by_rect(shape, *frame) for shape in moved]
    return _polygons(parts)


def extent_in(grid: Grid, crs: CRS | None) -> Edges | None:
    """What the grid covers, left, bottom, right, top in a CRS; degrees run on over the antimeridian.

    None where that is out of the CRS.
    """
    from rasterio.warp import transform_bounds

    from rsov.raster.scene_view import gdal_errors

    edges = grid.extent
    if crs is not None and grid.crs is not None and crs != grid.crs:
        try:
            edges = transform_bounds(grid.crs, crs, *edges, densify_pts=21)
        except gdal_errors():
            return None
    left, bottom, right, top = edges
    if left > right:
        right += full_turn(crs)
    return (left, bottom, right, top) if np.isfinite(edges).all() else None


def bounds_in(grid: Grid, crs: CRS | None) -> Edges | None:
    """What surrounds the grid by its own size, at most once around: left, bottom, right, top in a CRS.

    None where that has no rectangle: out of the CRS.
    """
    edges = extent_in(grid, crs)
    if edges is None:
        return None
    left, bottom, right, top = edges
    if left >= right or bottom >= top:
        return None
    margin, turn = max(right - left, top - bottom), full_turn(crs)
    aside = min(margin, max(0.0, turn - (right - left)) / 2) if turn else margin
    return left - aside, bottom - margin, right + aside, top + margin


def _reproject(shape: Polygon, source: CRS, grid: Grid) -> Polygon:
    import shapely
    from pyproj import Transformer

    assert grid.crs is not None  # noqa: S101 - on_grid has looked
    left, bottom, right, top = shape.bounds
    piece = max(right - left, top - bottom) / _SEGMENTS_PER_SIDE
    dense = shapely.segmentize(shape, piece) if piece > 0 else shape
    transformer = Transformer.from_crs(source.to_wkt(), grid.crs.to_wkt(), always_xy=True)
    turn, frame = full_turn(grid.crs), bounds_in(grid, grid.crs)
    tears = turn > 0 and frame is not None and frame[2] - frame[0] < turn
    middle = (frame[0] + frame[2]) / 2 if frame is not None else 0.0

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = transformer.transform(xy[:, 0], xy[:, 1])
        if tears:  # longitudes jump at 180 degrees; half a turn from the picture nothing is left of the shape
            x = x - turn * np.round((x - middle) / turn)
        return np.column_stack((x, y))

    return shapely.transform(dense, move)
