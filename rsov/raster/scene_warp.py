"""Warped views: the grid on which a picture is seen in another CRS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsov.errors import InputError, UsageError
from rsov.raster.aoi import extent_in
from rsov.raster.longitudes import full_turn, source_plane, unrolled
from rsov.raster.scene_georef import Place, parse_crs
from rsov.raster.scene_view import Warp, gdal_errors
from rsov.types import Grid

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

    from rsov.raster.scene_bands import BandPlan
    from rsov.raster.scene_options import ReadOptions

_PARALLEL = 1e-6
_SAMPLES = 21
"""Places along each side, as many as GDAL looks at."""
_FAR_LARGER = 8
"""Pixels so much larger than the picture's do not come from a warp at native resolution."""
_MERCATORS = (3857, 900913, 3395)
_MERCATOR_LATITUDE = 85.0511287798066
"""Where Web Mercator's square world ends; beyond, coordinates run to infinity (Z18)."""
_TORN = "the picture lies across an edge of that CRS, such as 180 degrees or a pole"


def warp_for(
    ds: DatasetReader, place: Place, bands: BandPlan, options: ReadOptions, like: Grid | None
) -> Warp | None:
    """The warped view that the options need, at the picture's native resolution; None if none is needed."""
    points = place.how == "control points, warped"
    source_crs = place.gcps_crs if points else place.grid.crs
    target = parse_crs(options.dst_crs, "--dst-crs") if options.dst_crs is not None else None
    if like is not None:
        if target is not None and target != like.crs:
            raise UsageError(
                "E-like",
                "--dst-crs and the grid given with --like have different CRS",
                fix="leave out --dst-crs",
            )
        target = like.crs
    if not points:
        turned = like is not None and not _parallel(place.grid.transform, like.transform)
        if target is None or (target == source_crs and not turned):
            return None
        if source_crs is None:
            raise InputError(
                "E-no-crs",
                f"{Path(ds.name).name} has no CRS, so it cannot be warped",
                fix="state it: --crs EPSG:32632",
            )
    assert source_crs is not None  # noqa: S101 - refused above and by locate
    grid = _warped_grid(ds, place, source_crs, target or source_crs, points)
    if bands.mask.kind != "alpha" and any(interp.name == "alpha" for interp in ds.colorinterp):
        name = Path(ds.name).name
        raise InputError(
            "E-warp-alpha",
            f"{name} has a band tagged alpha that is used as data; GDAL cannot warp that",
            fix=f"copy the colours first: gdal_translate -b 1 -b 2 -b 3 {name} rgb.tif",
        )
    numbers = [v for v in bands.mask.nodata if v is not None]
    return Warp(
        grid,
        source_crs,
        None if points else place.grid.transform,
        nodata=numbers[0] if bands.mask.kind == "nodata" and numbers else None,
        unified="YES" if bands.mask.every else "PARTIAL",
        nearest=bands.palette is not None,
        add_alpha=bands.mask.kind != "alpha",
    )


def _warped_grid(ds: DatasetReader, place: Place, source: CRS, target: CRS, points: bool) -> Grid:
    try:
        return _suggested(ds, place, source, target, points)
    except gdal_errors() as error:
        raise InputError(
            "E-warp",
            f"{Path(ds.name).name} cannot be brought into {target.to_string()[:60]}",
            why=str(error),
            fix="choose a CRS made for the place of the picture, such as its UTM zone; "
            "if the picture's own is wrong, state the right one: --crs EPSG:32632",
        ) from error


def _suggested(ds: DatasetReader, place: Place, source: CRS, target: CRS, points: bool) -> Grid:
    """The grid of native resolution that GDAL suggests; ValueError where that is no map of the picture."""
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import calculate_default_transform

    plane = source_plane(ds, source, None if points else place.grid.transform, target)
    if points:
        with WarpedVRT(ds, crs=target, src_crs=plane) as suggested:
            return _whole(Grid(suggested.width, suggested.height, suggested.transform, target))
    edges = extent_in(place.grid, target)
    goal = target
    if edges is not None and _over_180(edges, target):  # degrees that run on make one map of both sides
        goal = unrolled(target, (edges[0] + edges[2]) / 2)
    bounds = _clamped(place.grid, source, target)
    transform, width, height = calculate_default_transform(plane, goal, ds.width, ds.height, *bounds)
    grid = _whole(Grid(width, height, transform, target))
    _check_steps(place.grid, plane, grid.transform, goal)
    return grid


def _over_180(edges: tuple[float, float, float, float], crs: CRS) -> bool:
    half = full_turn(crs) / 2
    return half > 0 and not -half <= edges[0] < edges[2] <= half


def _whole(grid: Grid) -> Grid:
    if grid.width < 1 or grid.height < 1:
        raise ValueError(_TORN)
    return grid


def _check_steps(grid: Grid, plane: CRS, warped: Affine, goal: CRS) -> None:
    """Refuse a warped grid whose pixels are far larger than those of the picture.

    GDAL divides what it takes for the extent by the size of the picture. Where a projection tears the picture
    apart, that is the size of the world. ``plane``: the CRS that the picture is warped from, to ``goal``.
    """
    from pyproj import Transformer

    transformer = Transformer.from_crs(plane.to_wkt(), goal.to_wkt(), always_xy=True)
    columns, rows = np.meshgrid(*(np.linspace(0, size, _SAMPLES) for size in (grid.width, grid.height)))
    x, y = ~warped @ transformer.transform(*(grid.transform @ (columns, rows)))
    with np.errstate(invalid="ignore"):  # infinite where the target has no place
        across = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)) / (grid.width / (_SAMPLES - 1))
        down = np.hypot(np.diff(x, axis=0), np.diff(y, axis=0)) / (grid.height / (_SAMPLES - 1))
    steps = np.concatenate([across.ravel(), down.ravel()])
    steps = steps[np.isfinite(steps)]
    if steps.size and np.median(steps) < 1 / _FAR_LARGER:
        raise ValueError(_TORN)


def _clamped(grid: Grid, source: CRS, target: CRS) -> tuple[float, float, float, float]:
    """Bounds of the grid, in a geographic CRS cut where Web Mercator ends if that is the target.

    ValueError where nothing of it lies on this side.
    """
    from rasterio.crs import CRS

    left, bottom, right, top = grid.extent
    if target.to_epsg() not in _MERCATORS:
        return left, bottom, right, top
    if source.is_geographic:
        bottom, top = max(bottom, -_MERCATOR_LATITUDE), min(top, _MERCATOR_LATITUDE)
        beyond = bottom >= top
    else:
        edges = extent_in(grid, CRS.from_epsg(4326))
        beyond = edges is not None and (edges[1] >= _MERCATOR_LATITUDE or edges[3] <= -_MERCATOR_LATITUDE)
    if beyond:
        raise ValueError(f"all of it lies beyond {_MERCATOR_LATITUDE:.2f} degrees, where Mercator ends")
    return left, bottom, right, top


def _parallel(a: Affine, b: Affine) -> bool:
    """Both grids have their axes in the same directions, mirrored ones included."""
    move = ~a @ b
    return bool(abs(move.b) < _PARALLEL * abs(move.e) and abs(move.d) < _PARALLEL * abs(move.a))
