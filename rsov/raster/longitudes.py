"""Longitudes beyond 180 degrees: the same meridian may be 190 in a picture and -170 everywhere else."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rsov.geodesy import degrees_per_unit, unit_factor

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader


@lru_cache(maxsize=32)
def full_turn(crs: CRS | None) -> float:
    """What longitudes differ by at one place, in the unit of the CRS (360, 400 grads); 0 if x is none."""
    import pyproj

    if crs is None or not crs.is_geographic:
        return 0.0
    return 360.0 / degrees_per_unit(pyproj.CRS.from_wkt(crs.to_wkt()))


@lru_cache(maxsize=32)
def unrolled(crs: CRS, middle: float) -> CRS:
    """A geographic CRS as a plane of the same numbers, on which longitudes run on through 180 degrees.

    PROJ gives longitudes within half a turn of the prime meridian. An equidistant cylindrical projection
    (EPSG 1029) whose unit of length is a degree on the equator gives them within half a turn of ``middle``.
    The CRS itself where it cannot be the base of a projection (a rotated pole).
    """
    import pyproj
    from pyproj.exceptions import CRSError
    from rasterio.crs import CRS

    try:
        flat = pyproj.CRS.from_wkt(crs.to_wkt())
        document = _projected(flat.to_2d().to_json_dict(), middle, flat)
        return CRS.from_wkt(pyproj.CRS.from_json_dict(document).to_wkt())
    except CRSError:
        return crs


def _projected(base: dict[str, Any], middle: float, crs: Any) -> dict[str, Any]:
    if base["type"] == "BoundCRS":  # a way to WGS 84 is attached: it is kept
        return base | {"source_crs": _projected(base["source_crs"], middle, crs)}
    radius = crs.ellipsoid.semi_major_metre
    unit = {
        "type": "LinearUnit",
        "name": "degree on the equator",
        "conversion_factor": radius * unit_factor(crs),
    }
    parameters = {
        ("Latitude of 1st standard parallel", 8823): (0.0, "degree"),
        ("Longitude of natural origin", 8802): (middle * degrees_per_unit(crs), "degree"),
        ("False easting", 8806): (middle, unit),
        ("False northing", 8807): (0.0, unit),
    }
    return {
        "type": "ProjectedCRS",
        "name": f"{base['name']}, unrolled",
        "base_crs": base,
        "conversion": {
            "name": "unrolled",
            "method": {
                "name": "Equidistant Cylindrical (Spherical)",
                "id": {"authority": "EPSG", "code": 1029},
            },
            "parameters": [
                {"name": name, "value": value, "unit": of, "id": {"authority": "EPSG", "code": code}}
                for (name, code), (value, of) in parameters.items()
            ],
        },
        "coordinate_system": {
            "subtype": "Cartesian",
            "axis": [
                {"name": "Easting", "abbreviation": "E", "direction": "east", "unit": unit},
                {"name": "Northing", "abbreviation": "N", "direction": "north", "unit": unit},
            ],
        },
    }


def source_plane(ds: DatasetReader, crs: CRS, transform: Affine | None, target: CRS) -> CRS:
    """The CRS to warp a picture from: its own, unrolled where its longitudes leave +-180 degrees.

    ``transform`` is None for control points; from degrees to degrees GDAL moves these itself.

    Raises:
        ValueError: control points half a turn apart or more: 179 and -179 are no neighbours on a plane.
    """
    half = full_turn(crs) / 2
    if not half or crs == target or (transform is None and full_turn(target)):
        return crs
    if transform is None:
        xs = [point.x for point in ds.gcps[0]]
        if max(xs) - min(xs) >= half:
            raise ValueError("its control points lie on both sides of 180 degrees, or half around the globe")
    else:
        xs = [(transform @ (column, row))[0] for column in (0, ds.width) for row in (0, ds.height)]
    west, east = min(xs), max(xs)
    return crs if -half <= west and east <= half else unrolled(crs, (west + east) / 2)
