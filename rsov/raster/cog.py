"""The finished raster: a Cloud Optimized GeoTIFF, copied from the work file and checked by reopening."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from rsov.errors import OutputError
from rsov.raster.faults import writing
from rsov.raster.overviews import with_overviews
from rsov.types import BLOCK, NODATA, NODATA_NAME, NONE_COLOUR, NONE_NAME, Legend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS

    from rsov.types import Grid

    Points = tuple[Sequence[GroundControlPoint], CRS | None]

DEFLATE_LEVEL = {"mode": 6, "average": 4}
"""Labels: 6 is as fast as 1 and three times smaller; 9 takes five times as long for one percent.
Confidence and probabilities are noise in their low bits: levels above 4 cost time and win nothing."""

CHECKED_SAMPLES = 32 << 20
"""Samples of all bands compared at once: many bands of a wide map do not fit the memory."""

SCORE_NODATA = 255
"""Value of confidence and probability rasters where nothing is known."""


@dataclass(frozen=True)
class CogSpec:
    """What a finished raster says beside its pixels.

    Args:
        overview: how overviews are made; ``mode`` keeps labels labels.
        nodata: declared value of unknown pixels.
        bands: a name for each band.
        tags: tags of the file.
        band_tags: tags of the first band.
        colours: value -> (R, G, B), for a colour table; only with one uint8 band.
        values: all values that may occur, where they can be counted.
        gcps: ground control points and their CRS, for a grid without transform.
    """

    overview: Literal["mode", "average"]
    nodata: int
    bands: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[int, tuple[int, int, int]] | None = None
    values: frozenset[int] | None = None
    gcps: Points | None = None


def class_spec(legend: Legend, tags: Mapping[str, str], gcps: Points | None = None) -> CogSpec:
    """The class raster: mode overviews, colour table (up to 254 classes), class names in the band's tags."""
    colours = {c.id: c.colour for c in legend} | {legend.none_id: NONE_COLOUR}
    names = {c.id: c.name for c in legend} | {NODATA: NODATA_NAME, legend.none_id: NONE_NAME}
    return CogSpec(
        overview="mode",
        nodata=NODATA,
        bands=("class",),
        tags=tags,
        band_tags={f"class_{value}": name for value, name in sorted(names.items())},
        colours=colours if legend.dtype == "uint8" else None,
        values=frozenset(names),
        gcps=gcps,
    )


def score_spec(bands: Sequence[str], tags: Mapping[str, str], gcps: Points | None = None) -> CogSpec:
    """Confidence (one band) or probabilities (a band a class): 0..250 = 0..1, 255 = no data."""
    return CogSpec(
        overview="average",
        nodata=SCORE_NODATA,
        bands=tuple(bands),
        tags={**tags, "RSOV_SCALE": "value / 250 = probability; 255 = no data"},
        gcps=gcps,
    )


def kept_points(points: Sequence[GroundControlPoint], crs: CRS | None, grid: Grid) -> Points:
    """Control points of a picture for a raster on ``grid``, whose transform leads to the picture's pixels."""
    from rasterio.control import GroundControlPoint

    moved = []
    for point in points:
        col, row = ~grid.transform @ (point.col, point.row)
        moved.append(GroundControlPoint(row, col, point.x, point.y, point.z, point.id, point.info))
    return moved, crs


def provenance(items: Mapping[str, object]) -> dict[str, str]:
    """Tags ``RSOV_<KEY>`` of a run: texts as they are, everything else as JSON, sorted by key."""
    tags = {
        f"RSOV_{key.upper()}": value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        for key, value in sorted(items.items())
    }
    return {"TIFFTAG_SOFTWARE": f"rsov {items.get('version', '')}".strip(), **tags}


def stamp(work: Path, spec: CogSpec) -> None:
    """Give a work file its tags, names and colours; nobody may open it meanwhile.

    An update rewrites the TIFF directory, and for a moment the header points nowhere.

    Raises:
        OutputError: the disk is full.
    """
    with writing(work), rasterio.open(work, "r+") as dataset:
        dataset.update_tags(**spec.tags)
        dataset.update_tags(1, **spec.band_tags)
        for index, name in enumerate(spec.bands, 1):
            dataset.set_band_description(index, name)
        if spec.colours is not None:
            dataset.write_colormap(1, {NODATA: (0, 0, 0, 0)} | dict(spec.colours))
        if spec.gcps is not None:
            dataset.transform = Affine.identity()  # a file has one or the other
            dataset.gcps = spec.gcps


def write_cog(work: Path, target: Path, spec: CogSpec, *, threads: int = 2) -> None:
    """Copy a work file into a COG and check the result.

    Args:
        work: the work file, after :func:`stamp`, so that the copy is made with tags, names and
            colours and never updated.
        target: name of the part to make (GDAL creates it and perhaps ``<target>.ovr.tmp`` at once).
        spec: what the raster says beside its pixels.
        threads: threads for overviews and compression.

    Raises:
        OutputError: the disk is full, or the result does not hold what it should.
    """
    options = {"predictor": "YES", "overviews": "IGNORE_EXISTING", "overview_resampling": "AVERAGE"}
    made = [work]
    with writing(target):
        if spec.overview == "mode":
            made += with_overviews(work)
            options = {"predictor": "NO", "overviews": "FORCE_USE_EXISTING"}
        rasterio.shutil.copy(
            str(made[-1]),
            str(target),
            driver="COG",
            compress="DEFLATE",
            level=DEFLATE_LEVEL[spec.overview],
            blocksize=BLOCK,
            sparse_ok=True,
            bigtiff="IF_SAFER",
            num_threads=threads,
            **options,
        )
        for path in made[1:]:
            path.unlink()
    verify_cog(target, work, spec)


def verify_cog(path: Path, work: Path, spec: CogSpec) -> None:
    """Reopen a COG and compare it with its work file and its specification.

    Compares size, type, nodata, transform, CRS, names, tags and colours, every pixel, the layout,
    and of each overview level the values and that no valid area is missing. A full disk can leave
    a file that opens without error and reads as zeros, so the absence of an error proves nothing.

    Raises:
        OutputError: something differs.
    """
    with writing(path), rasterio.open(path) as result, rasterio.open(work) as source:
        _verify_head(path, result, source, spec)
        valid = np.zeros(result.count, dtype=np.int64)
        for window in _blocks(result):
            data = result.read(window=window)
            if not np.array_equal(data, source.read(window=window)):
                raise OutputError.damaged(path, f"rows from {window.row_off} differ from what was computed")
            valid += _count_valid(data, spec.nodata)
        levels = len(result.overviews(1))
        offsets = [int(result.get_tag_item("IFD_OFFSET", "TIFF", 1))]
        offsets += [int(result.get_tag_item("IFD_OFFSET", "TIFF", 1, level)) for level in range(levels)]
    if offsets != sorted(offsets):
        raise OutputError.damaged(path, "the directories are not in the order of a COG")
    if levels == 0 and max(result.width, result.height) > BLOCK:
        raise OutputError.damaged(path, "the overviews are missing")
    for level in range(levels):
        valid = _verify_overview(path, level, spec, valid)


def _verify_head(path: Path, result: Any, source: Any, spec: CogSpec) -> None:
    for what in ("width", "height", "count", "dtypes", "nodata", "transform", "crs", "descriptions"):
        found, wanted = getattr(result, what), getattr(source, what)
        if found != wanted:
            raise OutputError.damaged(path, f"{what} is {found}, should be {wanted}")
    if result.nodata != spec.nodata or result.descriptions != spec.bands:
        raise OutputError.damaged(path, "nodata or the names of the bands are not as planned")
    if len(result.gcps[0]) != len(spec.gcps[0] if spec.gcps else ()):
        raise OutputError.damaged(path, "ground control points are missing")
    tags = result.tags()
    if any(tags.get(key) != value for key, value in spec.tags.items()):
        raise OutputError.damaged(path, "tags are missing")
    if any(result.tags(1).get(key) != value for key, value in spec.band_tags.items()):
        raise OutputError.damaged(path, "class names are missing")
    if spec.colours is not None:
        table = result.colormap(1)
        if any(table[value][:3] != colour for value, colour in spec.colours.items()):
            raise OutputError.damaged(path, "the colour table is not as planned")
    if result.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG":
        raise OutputError.damaged(path, "the layout is not that of a COG")


def _verify_overview(path: Path, level: int, spec: CogSpec, finer: NDArray[np.int64]) -> NDArray[np.int64]:
    """Check an overview against the count of valid pixels of the next finer level; returns its own count.

    Unknown pixels take no part in mode and average, so each valid pixel makes its cell valid and
    at least a quarter as many cells are valid. Odd sizes shift cells by less than a tenth.
    """
    valid = np.zeros_like(finer)
    with writing(path), rasterio.open(path, overview_level=level) as overview:
        for window in _blocks(overview):
            data = overview.read(window=window)
            valid += _count_valid(data, spec.nodata)
            if spec.values is not None and not _only(data, spec.values):
                raise OutputError.damaged(path, f"overview {level} holds values that are no class")
    if (valid < 0.9 * (finer // 4)).any():
        raise OutputError.damaged(path, f"overview {level} lacks a part of the picture")
    return valid


def _blocks(dataset: Any) -> Iterator[RasterioWindow]:
    """Windows of whole blocks, row by row, of about :data:`CHECKED_SAMPLES` samples at most."""
    columns = max(1, CHECKED_SAMPLES // (BLOCK * BLOCK * dataset.count)) * BLOCK
    for row in range(0, dataset.height, BLOCK):
        for col in range(0, dataset.width, columns):
            yield RasterioWindow(
                col, row, min(columns, dataset.width - col), min(BLOCK, dataset.height - row)
            )


def _count_valid(data: NDArray[Any], nodata: int) -> NDArray[np.int64]:
    return np.array([np.count_nonzero(band != nodata) for band in data], dtype=np.int64)


def _only(data: NDArray[Any], values: frozenset[int]) -> bool:
    allowed = np.zeros(np.iinfo(data.dtype).max + 1, dtype=bool)
    allowed[list(values)] = True
    return bool(allowed[data].all())
