"""The finished raster: a Cloud Optimized GeoTIFF, copied from the work file and checked by reopening."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from rsov.errors import OutputError
from rsov.raster.faults import writing
from rsov.raster.overviews import Kind, level_sizes, shows, with_overviews
from rsov.types import BLOCK, NODATA, NODATA_NAME, NONE_COLOUR, NONE_NAME, Legend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

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
        gcps: ground control points and their CRS, for a grid without transform.
    """

    overview: Kind
    nodata: int
    bands: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[int, tuple[int, int, int]] | None = None
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
    """Tags ``RSOV_<KEY>`` of a run: texts, everything else as JSON, sorted by key.

    Blanks at the ends of a text go, and texts of nothing else: GDAL's XML does not give them back.
    """
    texts = {
        f"RSOV_{key.upper()}": value.strip()
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        for key, value in sorted(items.items())
    }
    tags = {key: text for key, text in texts.items() if text}
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


def write_cog(
    work: Path, target: Path, spec: CogSpec, *, threads: int = 2, going_on: Callable[[], None] = lambda: None
) -> None:
    """Copy a work file into a COG and check the result.

    Args:
        work: the work file, after :func:`stamp`, so that the copy is made with tags, names and
            colours and never updated. Overviews stand beside it meanwhile.
        target: name of the part to make (GDAL creates it at once).
        spec: what the raster says beside its pixels.
        threads: threads for compression.
        going_on: called between rows; raises where nobody waits for the result any more.

    Raises:
        OutputError: the disk is full, or the result does not hold what it should.
    """
    with writing(target):
        made = with_overviews(work, spec.overview, going_on)
        rasterio.shutil.copy(
            str(made[-1]),
            str(target),
            driver="COG",
            compress="DEFLATE",
            level=DEFLATE_LEVEL[spec.overview],
            predictor="YES" if spec.overview == "average" else "NO",
            blocksize=BLOCK,
            sparse_ok=True,
            bigtiff="IF_SAFER",
            num_threads=threads,
            overviews="FORCE_USE_EXISTING",
        )
        for path in made:
            path.unlink()
    verify_cog(target, work, spec, going_on)


def verify_cog(path: Path, work: Path, spec: CogSpec, going_on: Callable[[], None] = lambda: None) -> None:
    """Reopen a COG and compare it with its work file and its specification.

    Compares size, type, nodata, transform, CRS, names, tags and colours, every pixel, the layout,
    and every pixel of each overview with those of the level below. A full disk can leave a file
    that opens without error and reads as zeros, so the absence of an error proves nothing.

    Args:
        path: the COG.
        work: what it was copied from.
        spec: what it should say.
        going_on: called between rows; raises where nobody waits for the result any more.

    Raises:
        OutputError: something differs.
    """
    with writing(path), rasterio.open(path) as result, rasterio.open(work) as source:
        _verify_head(path, result, source, spec)
        sizes = level_sizes(result.width, result.height)
        _verify_layout(path, result, len(sizes))
    for level in range(max(1, len(sizes))):
        _verify_pixels(path, work, spec, level, sizes=sizes, going_on=going_on)


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


def _verify_layout(path: Path, result: Any, levels: int) -> None:
    if result.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG":
        raise OutputError.damaged(path, "the layout is not that of a COG")
    if (found := len(result.overviews(1))) != levels:
        raise OutputError.damaged(path, f"{found} of {levels} overviews are there")
    offsets = [int(result.get_tag_item("IFD_OFFSET", "TIFF", 1))]
    offsets += [int(result.get_tag_item("IFD_OFFSET", "TIFF", 1, level)) for level in range(levels)]
    if offsets != sorted(offsets):
        raise OutputError.damaged(path, "the directories are not in the order of a COG")


def _verify_pixels(
    path: Path,
    work: Path,
    spec: CogSpec,
    level: int,
    *,
    sizes: Sequence[tuple[int, int]],
    going_on: Callable[[], None],
) -> None:
    """Read a level once (0 is the map): compare the map with the work file, the next level with this one.

    So every overview follows from pixels that were compared before.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(writing(path))
        this = stack.enter_context(rasterio.open(path, **({"overview_level": level - 1} if level else {})))
        source = stack.enter_context(rasterio.open(work)) if level == 0 else None
        coarser = None
        if level < len(sizes):
            coarser = stack.enter_context(rasterio.open(path, overview_level=level))
            if (coarser.width, coarser.height) != sizes[level]:
                raise OutputError.damaged(path, f"overview {level} has not the size {sizes[level]}")
        for window in _blocks(this):
            going_on()
            data = this.read(window=window)
            if source is not None and not np.array_equal(data, source.read(window=window)):
                raise OutputError.damaged(path, f"rows from {window.row_off} differ from what was computed")
            if coarser is not None:
                half = coarser.read(window=_halved(window))
                if not shows(half, data, spec.overview, spec.nodata):
                    raise OutputError.damaged(
                        path, f"overview {level} does not show rows from {window.row_off}"
                    )


def _blocks(dataset: Any) -> Iterator[RasterioWindow]:
    """Windows of whole blocks, row by row, of about :data:`CHECKED_SAMPLES` samples at most."""
    columns = max(1, CHECKED_SAMPLES // (BLOCK * BLOCK * dataset.count)) * BLOCK
    for row in range(0, dataset.height, BLOCK):
        for col in range(0, dataset.width, columns):
            yield RasterioWindow(
                col, row, min(columns, dataset.width - col), min(BLOCK, dataset.height - row)
            )


def _halved(window: RasterioWindow) -> RasterioWindow:
    return RasterioWindow(
        window.col_off // 2, window.row_off // 2, (window.width + 1) // 2, (window.height + 1) // 2
    )
