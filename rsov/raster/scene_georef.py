"""Where a picture lies: CRS, transform, ground control points, pixel size; plausible, or refused."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from affine import Affine

from rsov.errors import InputError, UsageError
from rsov.geodesy import degrees_per_unit, horizontal
from rsov.raster.area import pixel_gsd
from rsov.raster.outputs import world_files
from rsov.term import number_text
from rsov.types import Grid, Notices

if TYPE_CHECKING:
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

    from rsov.raster.scene_options import ReadOptions

_GSD_DIFFERENCE = 0.10
_LEAST_POINTS = 3
"""An affine needs three."""
PLAUSIBLE_METRES = (0.002, 1000.0)
"""Pixel sizes of pictures of the ground; where the CRS is not known, others are no metres."""
_DEGREES_SLACK = 1.0
_ROUNDING = 1e-6
"""Degrees. Grids of the whole world reach half a pixel beyond +-90, those with --res nearly a whole one."""


@dataclass(frozen=True)
class Place:
    """Result of :func:`locate`.

    ``gsd`` is in metres (x, y), None if not known; ``how`` and ``gsd_how`` say where georeference and GSD
    came from; ``gcps`` are control points to warp with or to keep, in ``gcps_crs``.
    """

    grid: Grid
    gsd: tuple[float, float] | None
    how: str
    gsd_how: str
    gcps: tuple[GroundControlPoint, ...] = ()
    gcps_crs: CRS | None = None


def parse_crs(text: str, option: str) -> CRS:
    """A CRS from a user's text; raises :class:`UsageError` (E-crs)."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        crs = CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise UsageError(
            "E-crs", f'{option} "{text}" is not a CRS', why=str(error), fix="e.g. EPSG:32632"
        ) from error
    if why := no_plane(crs):
        raise UsageError(
            "E-crs",
            f'{option} "{text}" has no plane: no map can be drawn in it',
            why=why,
            fix="e.g. EPSG:32632",
        )
    return crs


def no_plane(crs: CRS) -> str:
    """Why no map can be drawn in a CRS: it is geocentric, or of heights only; empty if one can."""
    import pyproj
    from pyproj.exceptions import CRSError

    try:
        kind = pyproj.CRS.from_wkt(crs.to_wkt())
    except CRSError:
        return ""
    if kind.is_geocentric:
        return f"{kind.name} is geocentric"
    return f"{kind.name} is a system of heights" if kind.is_vertical and not kind.is_compound else ""


def check_crs(ds: DatasetReader, options: ReadOptions, name: str) -> None:
    """Refuse a CRS that PROJ cannot understand, unless another is stated; asked first of all.

    rasterio reports the fault once, with whatever is asked first.
    """
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError

    for question in ("colorinterp", "crs"):
        try:
            getattr(ds, question)
        except (CPLE_BaseError, CRSError) as error:
            if options.crs is None:
                raise InputError(
                    "E-input-crs",
                    f"{name} has a CRS that cannot be understood",
                    where=str(error)[:200],
                    fix="state the right one: --crs EPSG:32632",
                ) from error


def locate(ds: DatasetReader, options: ReadOptions, path: Path, notices: Notices) -> Place:
    """The grid of an open file as the options say it is to be understood.

    Raises:
        InputError: control points or RPCs only and no ``gcp`` option; a transform that is none; a CRS that
            cannot be read or has no plane; degrees outside of the globe.
    """
    name = path.name
    crs = _crs(ds, options, name, notices)
    transform, how = ds.transform, "file"
    points, _ = ds.gcps
    no_grid = transform == Affine.identity()
    if points and no_grid:
        return _with_points(ds, options, name, notices)
    if no_grid and (ds.rpcs is not None or "GEOLOCATION" in ds.tag_namespaces()):
        if options.gcp not in ("ignore", "keep"):
            raise InputError(
                "E-rpc",
                f"{name} has no grid, only a camera model (RPC) or geolocation arrays",
                fix="orthorectify it first (gdalwarp -rpc with an elevation model), or --gcp ignore",
            )
        crs = None
        notices.warn(
            "W-gcp-ignored", f"{name}: its camera model is ignored, the map lies in pixel coordinates"
        )
    if no_grid and not points:
        crs = crs if options.crs is not None else None
        how = "none"
    _check_transform(transform, name)
    world = _world_file(path)
    if world is not None and world.name in {Path(file).name for file in ds.files} and not no_grid:
        how = "world file"
    elif world is not None and how == "none":
        raise InputError(
            "E-input-transform",
            f"the world file beside {name} cannot be used",
            where=str(world),
            why="six lines of numbers are expected, the first and fourth not zero",
            fix="repair it, or move it away and use --gsd",
        )
    if how == "none" and path.with_name(path.name + ".aux.xml").exists():
        notices.warn(
            "W-aux-unused",
            f"{name} holds no georeference, and what {path.name}.aux.xml beside it may say is not read: "
            f"gdal_translate {path.name} NEW.tif writes it into the file",
        )
    grid = Grid(ds.width, ds.height, transform, crs)
    if how != "none":
        _check_plane(grid.crs, name)
        _check_degrees(grid, name)
    elif options.crs is not None:
        notices.warn("W-crs-unused", f"{name} has no coordinates: --crs alone does not say where it lies")
        grid = Grid(ds.width, ds.height, transform, None)
    gsd, gsd_how = find_gsd(grid, how != "none", options.gsd, name, notices)
    if grid.crs is None:
        _tell_stated(options.gsd, name, notices)
    return Place(grid, gsd, how, gsd_how)


def _tell_stated(gsd: float | None, name: str, notices: Notices) -> None:
    if gsd is not None:
        notices.warn(
            "W-no-crs",
            f"{name} has no CRS, so its map has no georeference; areas come from --gsd {gsd:g} m",
        )


def find_gsd(
    grid: Grid, georeferenced: bool, stated: float | None, name: str, notices: Notices
) -> tuple[tuple[float, float] | None, str]:
    """Metres per pixel in x and y at the centre, and how they were found; None if they are not known."""
    own = pixel_gsd(grid) if georeferenced else None
    how = "CRS and transform"
    if own is None and georeferenced and grid.crs is None:
        sides = grid.pixel_size
        if all(PLAUSIBLE_METRES[0] <= side <= PLAUSIBLE_METRES[1] for side in sides):
            own, how = sides, "transform, units taken as metres"
            if stated is None:
                notices.warn(
                    "W-no-crs",
                    f"{name} has no CRS: pixel sizes {sides[0]:g} x {sides[1]:g} are taken as metres (--crs)",
                )
    if stated is not None:
        if not (math.isfinite(stated) and stated > 0):
            raise UsageError(
                "E-gsd", f"--gsd {stated} is not a length", fix="metres per pixel, e.g. --gsd 0.2"
            )
        if (
            own is not None
            and grid.crs is not None
            and abs(math.sqrt(own[0] * own[1]) / stated - 1) > _GSD_DIFFERENCE
        ):
            x, y = (number_text(side, 4) for side in own)
            notices.warn("W-gsd", f"{name}: --gsd {stated:g} m stands, the file says {x} x {y} m")
        ratio = math.sqrt(own[0] / own[1]) if own else 1.0
        return (stated * ratio, stated / ratio), "--gsd"
    if own is None:
        notices.warn(
            "W-no-gsd",
            f"{name} does not say how large its pixels are: it is read as if they had the model's "
            "size (--gsd), and areas are in pixels",
        )
        return None, "assumed"
    return own, how


def _crs(ds: DatasetReader, options: ReadOptions, name: str, notices: Notices) -> CRS | None:
    from rasterio.errors import CRSError

    try:
        own = ds.crs
    except CRSError:  # check_crs let it pass because another is stated
        own = None
    if options.crs is None:
        return own or None
    stated = parse_crs(options.crs, "--crs")
    if own and own != stated:
        notices.warn("W-crs", f"{name}: --crs {options.crs} stands above the CRS of the file")
    return stated


def _with_points(ds: DatasetReader, options: ReadOptions, name: str, notices: Notices) -> Place:
    points, points_crs = ds.gcps
    if len(points) < _LEAST_POINTS and options.gcp in ("refuse", "warp"):
        raise InputError(
            "E-input-transform",
            f"{name} has an impossible pixel size",
            where=f"{len(points)} tie point(s) and no pixel size, or one of zero",
            why="a damaged header or world file",
            fix="repair the georeference (gdal_edit -a_ullr), or --gcp ignore and --gsd",
        )
    if options.gcp == "refuse":
        raise InputError(
            "E-gcp",
            f"{name} has {len(points)} control points instead of a grid",
            fix=f"gdal_translate/gdalwarp it first (gdalwarp {name} warped.tif), or --gcp warp|keep|ignore",
        )
    grid = Grid(ds.width, ds.height, Affine.identity(), None)
    if options.gcp == "warp":
        if points_crs is None:
            raise InputError(
                "E-gcp", f"{name} does not say the CRS of its control points", fix="--gcp ignore"
            )
        _check_plane(points_crs, name)
        return Place(grid, None, "control points, warped", "", tuple(points), points_crs)
    gsd, gsd_how = find_gsd(grid, False, options.gsd, name, notices)
    if options.gcp == "ignore":
        _tell_stated(options.gsd, name, notices)
        return Place(grid, gsd, "none (control points ignored)", gsd_how)
    return Place(grid, gsd, "control points, kept", gsd_how, tuple(points), points_crs)


def _check_transform(transform: Affine, name: str) -> None:
    numbers = tuple(transform)[:6]
    if not all(map(math.isfinite, numbers)) or abs(transform.determinant) == 0:
        raise InputError(
            "E-input-transform",
            f"{name} has an impossible pixel size",
            where=f"transform {numbers}",
            why="a damaged header or world file",
            fix="repair the georeference (gdal_edit -a_ullr), or convert without it and use --gsd",
        )


def _check_plane(crs: CRS | None, name: str) -> None:
    if crs is not None and (why := no_plane(crs)):
        raise InputError(
            "E-input-crs",
            f"{name} has a CRS without a plane: no map can be drawn in it",
            why=why,
            fix="state the right one: --crs EPSG:32632",
        )


def _check_degrees(grid: Grid, name: str) -> None:
    """Degrees outside of the globe are metres with a wrong CRS (Z04)."""
    if why := off_the_globe(grid):
        raise InputError(
            "E-input-degrees",
            f"{name} has a CRS in degrees, but {why}",
            why="the coordinates are probably metres and the CRS is wrong",
            fix="state the right one: --crs EPSG:32632",
        )


def off_the_globe(grid: Grid, *, any_turn: bool = False) -> str:
    """How far the degrees of a grid leave the globe; empty if they do not, or are none.

    ``any_turn``: longitudes may count from any turn.
    """
    if grid.crs is None or not grid.crs.is_geographic:
        return ""
    corners = [grid.transform @ (c, r) for c in (0, grid.width) for r in (0, grid.height)]
    to_degrees = degrees_per_unit(horizontal(grid))
    pixel = max(grid.pixel_size) * to_degrees
    x = max(abs(c[0]) for c in corners) * to_degrees
    y = max(abs(c[1]) for c in corners) * to_degrees
    middle = abs((grid.transform @ (grid.width / 2, grid.height / 2))[1]) * to_degrees
    beside = x > 360 + _DEGREES_SLACK + pixel and not any_turn
    beyond = y > 90 + pixel + _ROUNDING or middle > 90
    return f"coordinates up to {x:.5g} and {y:.5g}" if beside or beyond else ""


def _world_file(path: Path) -> Path | None:
    """The world file beside a picture, in lower or upper case."""
    for name in world_files(path):
        for beside in (name, name.with_suffix(name.suffix.upper())):
            if os.path.isfile(beside):  # noqa: PTH113 - a name too long is no file either
                return beside
    return None
