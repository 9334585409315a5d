"""Polygons of a map into a file: trace, simplify, measure, write, in one stream.

Written with fiona. Fields are always the same five; names of classes stand in values only. Coordinates
are x = easting or longitude, y = northing or latitude, outer rings counterclockwise.
"""

from __future__ import annotations

import math
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.errors import InputError, OutputError, ResourceError
from rsov.geodesy import horizontal
from rsov.kernels.rings import to_ground
from rsov.term import number_text, size_text
from rsov.types import NODATA
from rsov.vector.earth import check_lonlat, decimals
from rsov.vector.globe import Globe
from rsov.vector.measure import ground
from rsov.vector.trace import MAX_VERTICES, Regions, RowBlock, trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fiona.model import Feature, Geometry
    from numpy.typing import NDArray

    from rsov.types import Grid, Legend, Notices

DRIVERS = {"gpkg": "GPKG", "geojson": "GeoJSON", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile"}
FIELDS = {"class": "str", "class_id": "int", "area_m2": "float", "perim_m": "float", "conf_mean": "float"}
SHAPEFILE_LIMIT = 1_900_000_000
"""Bytes of a .shp or .dbf; the format ends at 2 GiB (M14)."""
SHAPEFILE_TEXT = 254
"""Bytes of a text in a .dbf."""
DBF_NUMBER = 24
"""Bytes of a number in a .dbf, at most."""
GEOJSON_WARNING = 200 * 2**20
"""Bytes above which readers begin to refuse GeoJSON (M15)."""
NOISE_PIXELS = 2.0
"""Regions that are smaller on average are noise."""
POINTS_AT_ONCE = 1 << 16
"""Points that stand in memory as Python floats."""
REFUSED_LAYER_STARTS = "`~!@#$%^&*()+-={}|[]\\:\";'<>?,./"
"""First characters of a layer name that GDAL refuses ("may not contain special characters or spaces")."""
RESERVED_LAYER_PREFIXES = ("gpkg", "sqlite", "rtree_")
"""Beginnings of table names that GeoPackage and SQLite keep for themselves."""


@dataclass
class VectorStats:
    """What was written: polygons, rings, points, polygons cut for their size, box in CRS coordinates."""

    count: int = 0
    rings: int = 0
    points: int = 0
    cut: int = 0
    bounds: tuple[float, float, float, float] | None = None
    layer: str = ""
    pixels: dict[int, int] = field(default_factory=dict)
    """Pixels of each class in polygons."""

    def add(self, regions: Regions, xy: NDArray[np.float64]) -> None:
        """Count a batch."""
        self.count += len(regions)
        self.rings += len(regions.rings) - 1
        self.points += len(xy)
        self.cut += int(regions.cut.sum())
        (left, bottom), (right, top) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
        if self.bounds is not None:
            left, bottom = min(left, self.bounds[0]), min(bottom, self.bounds[1])
            right, top = max(right, self.bounds[2]), max(top, self.bounds[3])
        self.bounds = (left, bottom, right, top)
        for class_id in np.unique(regions.class_id).tolist():
            found = int(regions.pixels[regions.class_id == class_id].sum())
            self.pixels[class_id] = self.pixels.get(class_id, 0) + found


def write_polygons(
    blocks: Iterable[RowBlock],
    grid: Grid,
    legend: Legend,
    path_part: Path,
    fmt: str,
    *,
    simplify_m: float = 0.0,
    style_qml: str | None = None,
    layer: str | None = None,
    start_time: datetime | None = None,
    max_features: int | None = None,
    max_vertices: int = MAX_VERTICES,
    measured: Grid | None = None,
    notices: Notices,
) -> VectorStats:
    """Write the polygons of a class raster to a new file.

    Args:
        blocks: rows of the raster from the top, any heights; confidence beside labels gives ``conf_mean``.
        grid: the raster's grid.
        legend: names of the classes; ``NODATA`` and the legend's ``none_id`` make no polygons.
        path_part: the file to make; must not exist and end as the format wants.
        fmt: ``gpkg``, ``geojson``, ``fgb`` or ``shp``.
        simplify_m: tolerance in metres (pixels without a CRS); 0 keeps every corner.
        style_qml: QGIS style to store as the default, GeoPackage only.
        layer: name of the layer; the file's stem by default.
        start_time: of the run; the only clock in the file, so that equal runs give equal bytes.
        max_features: more polygons than that are refused (M11).
        max_vertices: size at which a single polygon is cut.
        measured: grid to measure areas and lengths on, where ``grid`` has no CRS to do so.
        notices: takes ``W-polygon-cut``, ``W-geojson-large``, ``W-shapefile-text``.

    Raises:
        InputError: GeoJSON wanted and no way to WGS 84 (Z01).
        OutputError: too large for a Shapefile (M14).
        ResourceError: more than ``max_features`` (M11).
        fiona.errors.DriverIOError: GDAL could not write; an ``OSError``.
    """
    import fiona

    check_format(fmt, grid, filled=False)
    metric = ground(measured or grid)
    stats = VectorStats(layer=layer_name(layer if layer is not None else path_part.stem, fmt))
    names = _names(legend, fmt, notices)
    area = simplify_m**2 / metric.pixel_area if simplify_m > 0 else 0.0
    regions = trace(
        blocks,
        grid.width,
        skip=(NODATA, legend.none_id),
        simplify_area=area,
        max_vertices=max_vertices,
    )

    kept = decimals(math.sqrt(metric.pixel_area))
    globe = Globe(grid, kept) if fmt == "geojson" else None

    def features() -> Iterator[Feature]:
        transform = np.array(grid.transform[:6], np.float64)
        for batch in regions:
            xy = to_ground(batch.xy, batch.rings, transform)
            stats.add(batch, xy)
            _check_size(stats, fmt, max_features)
            shapes = _shapes(batch, xy) if globe is None else _on_globe(globe, batch, xy)
            yield from _features(batch, shapes, names, *metric.measure(batch))

    with fiona.Env(**_environment(start_time)):
        creation = _creation(grid, fmt, stats.layer)
        if fmt == "geojson":
            creation |= {"RFC7946": "YES", "COORDINATE_PRECISION": kept}
        _write(path_part, features(), creation)
    if fmt == "gpkg":
        _finish_geopackage(path_part, stats.layer, style_qml, start_time)
    _warn(stats, fmt, path_part, max_vertices, notices)
    return stats


def _write(path: Path, features: Iterator[Feature], creation: dict[str, Any]) -> None:
    """All features into a new file; what GDAL says becomes one class of error."""
    import fiona
    from fiona._err import CPLE_BaseError  # what GDAL says while a file is closed; public nowhere
    from fiona.errors import DriverIOError, FionaError

    try:
        with fiona.open(path, "w", **creation) as out:
            out.writerecords(features)
    except (FionaError, CPLE_BaseError, RuntimeError) as error:
        first = error.__context__ or error  # closing after a failed write fails as well
        raise DriverIOError(str(first) or type(first).__name__) from error


def check_format(fmt: str, grid: Grid, *, filled: bool = True) -> None:
    """See that polygons on ``grid`` can be written as ``fmt``; cheap, for the plan.

    ``filled``: polygons reach the corners; else those may lie off the earth, as those of a whole disk do.

    Raises:
        InputError: GeoJSON without a CRS, with one that has no place on the earth (Z01), with corners off it,
            or over a pole that GDAL cannot cut open (Z17).
    """
    if fmt not in DRIVERS:
        raise ValueError(f"unknown vector format {fmt}")
    if fmt != "geojson":
        return
    if grid.crs is None or horizontal(grid).geodetic_crs is None:
        raise InputError(
            "E-no-crs",
            "GeoJSON is always WGS 84, and the input has no CRS that leads there",
            where="the input's CRS",
            why="RFC 7946 allows no other coordinates",
            fix="state it with --crs EPSG:CODE, or write another format: --vector-format gpkg",
        )
    check_lonlat(grid, filled)


def layer_name(name: str, fmt: str = "gpkg") -> str:
    """A layer name that the format takes: no control characters, no reserved beginning."""
    clean = "".join(c if c.isprintable() else "_" for c in name).strip() or "classes"
    if fmt == "gpkg" and (
        clean.lower().startswith(RESERVED_LAYER_PREFIXES) or clean[0] in REFUSED_LAYER_STARTS
    ):
        clean = f"map_{clean}"
    return clean


def _names(legend: Legend, fmt: str, notices: Notices) -> dict[int, str]:
    names = {item.id: item.name for item in legend}
    if fmt == "shp":
        for key, name in names.items():
            if len(name.encode()) > SHAPEFILE_TEXT:
                names[key] = name.encode()[:SHAPEFILE_TEXT].decode(errors="ignore")
                notices.warn(
                    "W-shapefile-text", f"class {key}: a Shapefile holds {SHAPEFILE_TEXT} bytes of its name"
                )
    return names


def _features(
    batch: Regions,
    shapes: Iterator[Geometry],
    names: dict[int, str],
    area: NDArray[np.float64],
    perim: NDArray[np.float64],
) -> Iterator[Feature]:
    from fiona.model import Feature, Properties

    values = zip(
        batch.class_id.tolist(), area.tolist(), perim.tolist(), batch.confidence.tolist(), strict=True
    )
    for shape, (class_id, area_m2, perim_m, confidence) in zip(shapes, values, strict=True):
        yield Feature(
            geometry=shape,
            properties=Properties(
                **{
                    "class": names.get(class_id, str(class_id)),
                    "class_id": class_id,
                    "area_m2": area_m2,
                    "perim_m": perim_m,
                    "conf_mean": confidence if confidence == confidence else None,  # noqa: PLR0124 - NaN
                }
            ),
        )


def _shapes(batch: Regions, xy: NDArray[np.float64]) -> Iterator[Geometry]:
    """Geometries as they are.

    The writer takes each ring's points once and in order: an iterator keeps millions of them from standing in
    memory as Python floats, and is faster than lists.
    """
    from fiona.model import Geometry

    points = _points(xy)
    sizes, parts = np.diff(batch.rings).tolist(), batch.parts.tolist()
    for start, stop in pairwise(parts):
        yield Geometry(type="Polygon", coordinates=[islice(points, size) for size in sizes[start:stop]])


def _on_globe(globe: Globe, batch: Regions, xy: NDArray[np.float64]) -> Iterator[Geometry]:
    """Geometries in longitude and latitude; those across 180 degrees or at a pole are cut."""
    import shapely
    from fiona.model import Geometry

    places = globe.places(xy)
    turns = globe.turn(xy, places, batch.rings, batch.parts)
    points = np.diff(batch.rings[batch.parts])
    places[:, 0] -= np.repeat(np.nan_to_num(turns), points)
    for k, shape in enumerate(_shapes(batch, places)):
        if np.isnan(turns[k]):
            for ring in shape.coordinates:  # these are cut instead; the next polygon's points follow
                deque(ring, maxlen=0)
            rings = [xy[a:b] for a, b in pairwise(batch.rings[batch.parts[k] : batch.parts[k + 1] + 1])]
            yield Geometry.from_dict(shapely.geometry.mapping(globe.cut(rings)))
        else:
            yield shape


def _points(xy: NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    for start in range(0, len(xy), POINTS_AT_ONCE):
        chunk = xy[start : start + POINTS_AT_ONCE]
        yield from zip(chunk[:, 0].tolist(), chunk[:, 1].tolist(), strict=True)


def _creation(grid: Grid, fmt: str, layer: str) -> dict[str, Any]:
    """Arguments of ``fiona.open``."""
    fields = dict(FIELDS)
    options: dict[str, Any] = {"driver": DRIVERS[fmt]}
    if fmt == "shp":
        fields["class"] = f"str:{SHAPEFILE_TEXT}"
        options |= {"encoding": "UTF-8", "2GB_LIMIT": "YES"}
    else:
        options["layer"] = layer
    if fmt == "geojson":
        options["crs"] = "EPSG:4326"
    elif grid.crs is not None:
        options["crs_wkt"] = horizontal(grid).to_wkt()
    elif fmt == "gpkg":
        options["SRID"] = "-1"  # undefined Cartesian
    geometry = "Polygon" if fmt != "geojson" else ["Polygon", "MultiPolygon"]  # cut at 180 degrees
    options["schema"] = {"geometry": geometry, "properties": fields}
    return options


def _environment(start_time: datetime | None) -> dict[str, str]:
    """GDAL options that must not come from outside: journal, durability, clock."""
    options = {"OGR_SQLITE_JOURNAL": "DELETE", "OGR_SQLITE_SYNCHRONOUS": "OFF"}  # the publication syncs
    if start_time is not None:
        options["OGR_CURRENT_DATE"] = _stamp(start_time)
    return options


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _check_size(stats: VectorStats, fmt: str, max_features: int | None) -> None:
    if max_features is not None and stats.count > max_features:
        mean = sum(stats.pixels.values()) / stats.count
        noise, fixes = mean < NOISE_PIXELS, ("merge small regions with --min-area", "raise --max-features")
        raise ResourceError(
            "E-too-many-polygons",
            f"the map has more than {max_features:,} polygons",
            where="--max-features",
            why="noise: nearly every pixel is a region of its own"
            if noise
            else f"the first {stats.count:,} have {number_text(mean)} pixels on average",
            fix=", or ".join(fixes if noise else reversed(fixes)),
        )
    if fmt == "shp":
        shp = 100 + 52 * stats.count + 4 * stats.rings + 16 * stats.points
        dbf = 256 + (SHAPEFILE_TEXT + 4 * DBF_NUMBER) * stats.count
        if max(shp, dbf) > SHAPEFILE_LIMIT:
            raise OutputError(
                "E-shapefile-limit",
                f"the polygons need more than {size_text(SHAPEFILE_LIMIT)}, a Shapefile ends at 2 GiB",
                why=f"{stats.count:,} polygons with {stats.points:,} points so far",
                fix="write a GeoPackage: --vector-format gpkg",
            )


def _warn(stats: VectorStats, fmt: str, path: Path, max_vertices: int, notices: Notices) -> None:
    if stats.cut:
        notices.warn(
            "W-polygon-cut",
            f"{stats.cut} polygons with more than {max_vertices:,} points were cut along a pixel row",
        )
    if fmt == "geojson" and path.stat().st_size > GEOJSON_WARNING:
        notices.warn(
            "W-geojson-large",
            f"GeoJSON of {size_text(path.stat().st_size)}: many readers stop at {size_text(GEOJSON_WARNING)};"
            " --vector-format gpkg has no limit",
        )


def _finish_geopackage(path: Path, layer: str, style_qml: str | None, start_time: datetime | None) -> None:
    """Store the style as QGIS does, and leave one plain file without a journal."""
    time = _stamp(start_time or datetime.now(UTC))
    with closing(sqlite3.connect(path)) as database, database:
        if style_qml is not None:
            database.execute(
                "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "
                "f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), "
                "f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, "
                "useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)"
            )
            database.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
                "styleName, styleQML, styleSLD, useAsDefault, description, owner, ui, update_time) "
                "SELECT '', '', table_name, column_name, 'classes', ?, '', 1, 'land cover', '', NULL, ? "
                "FROM gpkg_geometry_columns WHERE table_name = ?",
                (style_qml, time, layer),
            )
            database.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
                (time,),
            )
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA optimize")
