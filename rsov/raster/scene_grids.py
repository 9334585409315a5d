"""Crops and output grids: which pixels are mapped, and on which grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from affine import Affine

from rsov.errors import InputError, UsageError
from rsov.raster.aoi import extent_in, on_grid
from rsov.raster.area import pixel_gsd
from rsov.raster.longitudes import full_turn
from rsov.raster.scene_georef import no_plane, off_the_globe, parse_crs
from rsov.raster.scene_options import ReadOptions
from rsov.term import number_text
from rsov.types import Grid, Notices, Window

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.crs import CRS


_EDGE = 1e-6
"""Pixels: a border this near to a pixel edge is on it (rounding of coordinates)."""
_HANDFUL = 16
_FAR_COARSER = 8
"""A map of fewer pixels across, from a picture of pixels that much finer, is hardly what was meant."""


@dataclass(frozen=True)
class GridMap:
    """Positions on one grid to positions on another, per axis: ``x * scale_x + offset_x`` (pixel corners)."""

    scale_x: float
    offset_x: float
    scale_y: float
    offset_y: float

    @property
    def shift(self) -> tuple[int, int] | None:
        """Whole columns and rows between both grids, if that is all they differ by."""
        whole = self.offset_x.is_integer() and self.offset_y.is_integer()
        if not whole or (self.scale_x, self.scale_y) != (1.0, 1.0):
            return None
        return int(self.offset_x), int(self.offset_y)

    def under(self, grid: Grid) -> Window:
        """The pixels of the other grid that ``grid`` touches."""
        col, row = math.floor(self.offset_x + _EDGE), math.floor(self.offset_y + _EDGE)
        right = math.ceil(self.offset_x + self.scale_x * grid.width - _EDGE)
        bottom = math.ceil(self.offset_y + self.scale_y * grid.height - _EDGE)
        return Window(col, row, right - col, bottom - row)


_NAME = 40  # characters of a CRS in a message
_LIKE = "give a georeferenced raster, such as the map that the new one is to lie on"


def like_grid(path: Path) -> Grid:
    """The grid of the raster given with ``--like``; raises :class:`InputError` if it has none."""
    import rasterio
    from rasterio.errors import RasterioError

    from rsov.raster.preflight import check_source, missing_file

    if not path.exists():
        raise missing_file(path, "--like")
    source = check_source(path, ReadOptions(), Notices())
    try:
        with rasterio.Env(), rasterio.open(source.target, driver=source.driver) as ds:
            grid = Grid(ds.width, ds.height, ds.transform, ds.crs or None)
    except RasterioError as error:
        raise InputError("E-like", f"{path} cannot be opened", where="--like", fix=_LIKE) from error
    if grid.crs is None or grid.transform == Affine.identity():
        raise InputError("E-like", f"{path} has no grid to lie on", where="--like", fix=_LIKE)
    if why := no_plane(grid.crs):
        raise InputError("E-like", f"{path} has a CRS without a plane", where="--like", why=why, fix=_LIKE)
    if why := off_the_globe(grid, any_turn=True):
        raise InputError("E-like", f"{path} has a CRS in degrees, but {why}", where="--like", fix=_LIKE)
    return grid


def crop_window(grid: Grid, options: ReadOptions) -> Window:
    """The part of the view that ``--window`` or ``--bounds`` name; all of it without them."""
    if options.window is not None and options.bounds is not None:
        raise UsageError("E-crop", "--window and --bounds exclude each other", fix="leave one of the two")
    if options.window is not None:
        asked = options.window
        where = f"--window {asked.col},{asked.row},{asked.width},{asked.height}"
        there = f"{grid.width} columns and {grid.height} rows, counted from 0"
    elif options.bounds is not None:
        crs = parse_crs(options.bounds_crs, "--bounds-crs") if options.bounds_crs is not None else None
        asked = bounds_window(grid, options.bounds, crs)
        where = f"--bounds {','.join(f'{v:.12g}' for v in options.bounds)}"
        there = _extent(grid, crs)
    else:
        return grid.window
    inside = asked.intersect(grid.window)
    if inside.width == 0 or inside.height == 0:
        raise InputError(
            "E-crop",
            "the part asked for does not touch the picture",
            where=where,
            fix=f"ask for a part of what the picture covers: {there}",
        )
    return inside


def _extent(grid: Grid, crs: CRS | None = None) -> str:
    """West,south,east,north as ``--bounds`` wants, in ``crs`` if they have a place there; with the CRS."""
    edges = extent_in(grid, crs) if crs is not None else None
    if edges is None:
        edges, crs = grid.extent, grid.crs
    numbers = ",".join(f"{value:.10g}" for value in edges)
    return f"{numbers} ({crs.to_string()[:_NAME] if crs is not None else 'no CRS'})"


def bounds_window(grid: Grid, bounds: tuple[float, float, float, float], crs: CRS | None) -> Window:
    """All pixels that a rectangle touches. In geographic CRS left > right means over the antimeridian.

    ``crs``: that of the rectangle; None: the grid's.
    """
    import shapely

    left, bottom, right, top = bounds
    if crs is not None and grid.crs is None:
        raise InputError(
            "E-bounds", "the picture has no CRS, so --bounds-crs cannot be used", fix="--crs, or --window"
        )
    crs = crs or grid.crs
    if left > right:  # RFC 7946, 5.2
        right += full_turn(crs)
    if not all(map(math.isfinite, bounds)) or bottom >= top or left >= right:
        raise UsageError(
            "E-bounds",
            f"--bounds {bounds} is no rectangle",
            fix="left,bottom,right,top; left > right only in degrees, over the meridian of 180",
        )
    parts = on_grid([shapely.box(left, bottom, right, top)], crs, grid)
    if parts is None:
        raise InputError(
            "E-bounds",
            "the rectangle cannot be brought into the CRS of the picture",
            where="--bounds",
            fix=f"ask for a part of what the picture covers: {_extent(grid, crs)}",
        )
    if not parts:
        return Window(grid.width, grid.height, 0, 0)
    x0, y0, x1, y1 = shapely.total_bounds(parts)
    col, row = math.floor(x0 + _EDGE), math.floor(y0 + _EDGE)
    return Window(col, row, max(1, math.ceil(x1 - _EDGE) - col), max(1, math.ceil(y1 - _EDGE) - row))


def output_grid(grid: Grid, region: Window, options: ReadOptions, notices: Notices) -> tuple[Grid, GridMap]:
    """The grid of the results and where its pixels lie on the source grid, of which ``region`` is mapped."""
    if options.res is not None and options.like is not None:
        raise UsageError("E-res", "--res and --like exclude each other", fix="leave one of the two")
    if options.like is not None:
        target = like_grid(options.like)
    elif options.res is not None:
        _check_resolution(grid, options.res, options.max_pixels, notices)
        target = _at_resolution(grid.crop(region), options.res)
    else:
        target = grid.crop(region)
    move = at_turn_of(target, grid).pixels_of(target)
    axis = GridMap(move.a, move.c, move.e, move.f)
    right, bottom = move.c + move.a * target.width, move.f + move.e * target.height
    if (
        max(move.c, right) <= region.col
        or min(move.c, right) >= region.right
        or max(move.f, bottom) <= region.row
        or min(move.f, bottom) >= region.bottom
    ):
        raise InputError(
            "E-like",
            "the grid given with --like does not touch the picture",
            where=str(options.like),
            fix=f"give a raster of the same place; the picture covers {_extent(grid)}",
        )
    if move.a <= 0 or move.e <= 0:
        raise InputError(
            "E-like",
            "the grid given with --like runs the other way: it or the picture is mirrored or south-up",
            where=str(options.like),
            fix="bring both into the same direction with gdalwarp",
        )
    return target, axis


def at_turn_of(other: Grid, grid: Grid) -> Grid:
    """``grid`` as its longitudes count where another one of its CRS lies: 190 for -170 degrees."""
    turn = full_turn(grid.crs)
    if not turn:
        return grid
    west, _, east, _ = other.extent
    left, _, right, _ = grid.extent
    shift = turn * round((west + east - left - right) / 2 / turn)
    return replace(grid, transform=Affine.translation(shift, 0) @ grid.transform) if shift else grid


def _check_resolution(grid: Grid, res: float, max_pixels: int, notices: Notices) -> None:
    """See that ``--res`` fits the whole picture: metres for degrees, or the reverse, are a common slip.

    Raises:
        UsageError: no pixel size, no coordinates, a pixel larger than the picture, or too many pixels.
    """
    if not (math.isfinite(res) and res > 0):
        raise UsageError(
            "E-res", f"--res {res} is not a pixel size", fix="a length above 0 in units of the map's CRS"
        )
    if grid.transform == Affine.identity() and grid.crs is None:
        raise UsageError(
            "E-res", "--res needs a picture with coordinates", fix="--work-gsd chooses what the model sees"
        )
    x, y = grid.pixel_size
    wide, high = grid.width * x, grid.height * y
    count = (wide / res) * (high / res)
    metres = pixel_gsd(grid)
    unit = _unit_name(grid)
    sizes = f"the picture is {number_text(wide, 4)} x {number_text(high, 4)} {unit}"
    per_unit = None
    if metres is not None:
        per_unit = math.sqrt(metres[0] * metres[1] / (x * y))
        sizes += f" ({_ground(grid.width * metres[0])} x {_ground(grid.height * metres[1])})"
    asked = f"--res {res:g} is {res:g} {unit}" + (f", about {_ground(res * per_unit)}" if per_unit else "")
    own = f"{number_text(x, 4)} x {number_text(y, 4)}"
    fix = f"--res is in the unit of the CRS of the map ({unit}); pixels of the picture: {own}"
    if per_unit and unit == "degree":
        fix += f"; {res:g} m would be --res {res / per_unit:.4g}"
    if res > max(wide, high) * (1 + _EDGE):
        raise UsageError("E-res", f"{asked}: one pixel is larger than the picture", where=sizes, fix=fix)
    if count > max_pixels:
        raise UsageError(
            "E-res",
            f"{asked}: the map would have {count:.2g} pixels",
            where=f"{sizes}; --max-pixels",
            fix=fix,
        )
    across = max(wide, high) / res
    if across < _HANDFUL and res > _FAR_COARSER * max(x, y):
        notices.warn("W-res", f"{asked}; {sizes}: the map is only {math.ceil(across)} pixels across. {fix}")


def _unit_name(grid: Grid) -> str:
    if grid.crs is None:
        return "unit"
    return "degree" if grid.crs.is_geographic else str(grid.crs.linear_units or "unit")


def _ground(metres: float) -> str:
    return f"{number_text(metres / 1000, 4)} km" if metres >= 1000 else f"{number_text(metres, 4)} m"


def _at_resolution(grid: Grid, res: float) -> Grid:
    x, y = grid.pixel_size
    transform = grid.transform @ Affine.scale(res / x, res / y)
    width, height = (
        max(1, math.ceil(grid.width * x / res - _EDGE)),
        max(1, math.ceil(grid.height * y / res - _EDGE)),
    )
    return Grid(width, height, transform, grid.crs)
