"""Can the place of a picture be right? A flipped bit in a header moves it without any error (R07)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rsov.geodesy import horizontal, lonlat
from rsov.raster.scene_georef import PLAUSIBLE_METRES
from rsov.term import number_text, plain

if TYPE_CHECKING:
    from rsov.raster.scene_georef import Place
    from rsov.types import Grid, Notices

_BESIDE = 0.5
"""A CRS serves neighbours of its area too: zone 32 all of Germany. Part of the area's size, on each side."""
_LEAST_BESIDE = 1.0
"""Degrees."""
_HALF_TURN, _TURN = 180.0, 360.0
_NAME = 60


def check_pixel_size(place: Place, name: str, notices: Notices) -> None:
    """Warn of pixels that the file makes smaller or larger than those of any picture of the ground."""
    low, high = PLAUSIBLE_METRES
    sizes = place.gsd
    if sizes is None or place.gsd_how == "--gsd" or all(low <= size <= high for size in sizes):
        return
    x, y = map(number_text, sizes)
    notices.warn(
        "W-pixel-size",
        f"{name}: pixels of {x} x {y} m are not those of a picture of the ground: a damaged header, or the "
        "wrong CRS (--crs, --gsd)",
    )


def check_area(grid: Grid, name: str, option: str, notices: Notices) -> None:
    """Warn of a grid far outside of the area that its CRS is made for; ``option`` states the CRS."""
    if grid.crs is None:
        return
    columns, rows = np.meshgrid(*(np.linspace(0.0, size, 3) for size in (grid.width, grid.height)))
    places = lonlat(grid, columns.ravel(), rows.ravel())
    if places is None:
        return
    crs, (lon, lat) = horizontal(grid), places
    label, middle = plain(crs.name)[:_NAME], len(lon) // 2
    if not np.isfinite(lon[middle]):  # corners alone may be off the earth, as those of a whole disk are
        notices.warn(
            "W-crs-area",
            f"{name}: the coordinates of its middle are none in {label}: a damaged header, or the wrong CRS "
            f"({option})",
        )
        return
    area = crs.area_of_use
    if area is None:
        return
    width = (area.east - area.west) % _TURN or _TURN
    height = area.north - area.south
    aside = np.abs((lon - area.west - width / 2 + _HALF_TURN) % _TURN - _HALF_TURN) - width / 2
    above = np.abs(lat - (area.south + area.north) / 2) - height / 2
    far = (aside > max(_LEAST_BESIDE, _BESIDE * width)) | (above > max(_LEAST_BESIDE, _BESIDE * height))
    if far.any():
        worst = int(np.argmax(far))
        notices.warn(
            "W-crs-area",
            f"{name}: longitude {lon[worst]:.4g}, latitude {lat[worst]:.4g} is far outside of where {label} "
            f"is used ({area.west:.4g} to {area.east:.4g}, {area.south:.4g} to {area.north:.4g}): a damaged "
            f"header, or the wrong CRS ({option})",
        )
