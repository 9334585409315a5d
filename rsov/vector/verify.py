"""Whether a file of polygons is whole: looked at again before it is published.

GDAL's word alone is not enough: a FlatGeobuf torn by a full disk states its number of features and
yields none, a Shapefile ends early without an error. So features are counted by reading them, and a
GeoPackage is checked by SQLite itself.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from rsov.errors import OutputError, root_cause

if TYPE_CHECKING:
    from pathlib import Path

Bounds = tuple[float, float, float, float]

SQLITE_VERSIONS = slice(18, 20)
"""Bytes of the header that are 1 without a write-ahead log (SQLite file format, 1.3.3)."""
_GEOMETRY_COLUMN = "SELECT table_name, column_name FROM gpkg_geometry_columns"
_MAGIC = "4750"  # "GP", as every geometry of a GeoPackage begins
BOUNDS_TOLERANCE = 1e-6
"""Share of the box by which coordinates may lie outside: rounding."""


def verify_vector(
    path: Path, fmt: str, count: int, bounds: Bounds | None = None, layer: str | None = None
) -> None:
    """See that ``path`` holds ``count`` polygons within ``bounds`` (CRS of the file; not for GeoJSON).

    Raises:
        OutputError: it does not, or cannot be read.
    """
    try:
        if fmt == "geojson":
            found = _count_geojson(path)
        else:
            rows = _count_rows(path) if fmt == "gpkg" else None
            found = _count_features(path, bounds, layer, rows)
    except (OSError, ValueError, sqlite3.Error, RuntimeError) as error:
        raise OutputError.damaged(path, root_cause(error)) from error
    if found != count:
        raise OutputError.damaged(path, f"{found} of {count} polygons can be read")


def _count_rows(path: Path) -> int:
    """Polygons of a GeoPackage with one layer; SQLite is many times faster than making features of them."""
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            raise ValueError(f"{path.name}{suffix} was left beside the file")
    with path.open("rb") as file:
        if file.read(100)[SQLITE_VERSIONS] != b"\x01\x01":
            raise ValueError("the GeoPackage is in write-ahead mode")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        answer = database.execute("PRAGMA quick_check").fetchone()[0]
        if answer != "ok":
            raise ValueError(f"SQLite: {answer}")
        table, column = (_quoted(name) for name in database.execute(_GEOMETRY_COLUMN).fetchone())
        query = f"SELECT COUNT(*) FROM {table} WHERE substr({column}, 1, 2) = x'{_MAGIC}'"  # noqa: S608 - quoted
        return int(database.execute(query).fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _count_features(path: Path, bounds: Bounds | None, layer: str | None, rows: int | None) -> int:
    """Features as GDAL reads them; with ``rows`` only their stated number and the box are read."""
    import fiona

    with fiona.open(path, layer=layer) as source:
        try:
            stated: int | None = len(source)
        except TypeError:  # a FlatGeobuf without features cannot be counted
            stated = None
        if stated and bounds is not None:
            _check_bounds(source.bounds, bounds)
        found = sum(1 for feature in source if feature.geometry is not None) if rows is None else rows
    if stated not in {None, found}:
        raise ValueError(f"the file states {stated} polygons and yields {found}")
    return found


def _check_bounds(found: Bounds, bounds: Bounds) -> None:
    slack = BOUNDS_TOLERANCE * max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    inside = (
        found[0] >= bounds[0] - slack
        and found[1] >= bounds[1] - slack
        and found[2] <= bounds[2] + slack
        and found[3] <= bounds[3] + slack
    )
    if not inside:
        raise ValueError(f"polygons reach {found}, the map {bounds}")


def _count_geojson(path: Path) -> int:
    """Line by line, as GDAL writes one feature a line: memory does not grow with the file."""
    count, last = 0, ""
    with path.open(encoding="utf-8") as file:
        for line in file:
            text = line.strip()
            if text.startswith('{ "type": "Feature",'):
                json.loads(text.removesuffix(","))
                count += 1
            last = text or last
    if last != "}":
        raise ValueError("the file ends in the middle")
    return count
