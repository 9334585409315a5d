"""What a report says about an input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rsov.raster.aoi import extent_in

if TYPE_CHECKING:
    from rsov.raster.scene import Scene
    from rsov.types import Grid

_DECIMALS = 9
"""Of a degree: a tenth of a millimetre."""


def bbox(grid: Grid) -> list[float] | None:
    """West, south, east, north of a grid in degrees of WGS 84.

    West > east across 180 degrees (RFC 7946, 5.2), all longitudes around a pole. None for a grid that
    has no place on the earth.
    """
    from rasterio.crs import CRS

    edges = extent_in(grid, CRS.from_epsg(4326)) if grid.crs is not None else None
    if edges is None:
        return None
    west, south, east, north = edges
    if east - west >= 360:
        west, east = -180.0, 180.0
    else:
        width = east - west
        west = (west + 180) % 360 - 180
        east = west + width - (360 if west + width > 180 else 0)
    return [round(v, _DECIMALS) for v in (west, max(south, -90.0), east, min(north, 90.0))]


def describe(scene: Scene) -> dict[str, Any]:
    """Facts, JSON types only: path, size, place, GSD and how it was found, bands, validity, radiometry."""
    raw = scene.decoder.raw
    mask = raw.bands.mask
    grid, region = scene.place.grid, scene.region  # as the file counts its longitudes
    info: dict[str, Any] = {
        "path": str(scene.path),
        **scene.facts,
        "size": [grid.width, grid.height],
        "region": [region.col, region.row, region.width, region.height],
        "crs": _crs_text(scene),
        "bbox": bbox(grid),
        "transform": list(grid.transform)[:6],
        "georeference": scene.place.how,
        "gsd": list(scene.gsd) if scene.gsd else None,
        "gsd_from": scene.place.gsd_how,
        "work_gsd": list(scene.work_gsd) if scene.work_gsd else None,
        "work_size": [scene.work.width, scene.work.height],
        "dtype": raw.bands.dtype,
        "bits": raw.bands.bits or None,
        "bands": list(raw.bands.indexes),
        "band_names": list(raw.bands.names),
        "bands_from": raw.bands.how,
        "mask": mask.kind,
        "mask_rule": "all" if mask.every else "any",
        "nodata": [_plain(v) for v in mask.nodata],
        "radiometry": {
            "rule": scene.radiometry.rule,
            "lo": list(scene.radiometry.lo),
            "hi": list(scene.radiometry.hi),
            "gain": list(scene.radiometry.gain),
            "offset": list(scene.radiometry.offset),
        },
    }
    if raw.skip_bad:
        info["bad_blocks"] = sorted([r, c] for r, c in raw.bad.places)
    if scene.view.source.sources:
        info["sources"] = len(scene.view.source.sources)
    return info


def _crs_text(scene: Scene) -> str | None:
    crs = scene.grid.crs
    if crs is None:
        return None
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def _plain(value: float | None) -> float | str | None:
    if value is None:
        return None
    return value if math.isfinite(value) else str(value)
