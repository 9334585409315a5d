"""From a path and options to a :class:`~rsov.raster.scene.Scene`, step by step."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from rsov.errors import InputError, ResourceError
from rsov.raster.aoi import read_aoi
from rsov.raster.env import check_environment, forbidden_drivers
from rsov.raster.preflight import Source, check_source
from rsov.raster.preflight_image import orientation, png_exif
from rsov.raster.radiometry import Rule, estimate, parse_rule, read_stats
from rsov.raster.scene import Scene
from rsov.raster.scene_bands import BandPlan, MaskPlan, plan_bands
from rsov.raster.scene_cache import SharedCache
from rsov.raster.scene_chunks import lattice_of
from rsov.raster.scene_decode import BadBlocks, Decoder, RawReader
from rsov.raster.scene_georef import Place, check_crs, locate
from rsov.raster.scene_grids import at_turn_of, crop_window, like_grid, output_grid
from rsov.raster.scene_judge import judge_radiometry, judge_validity
from rsov.raster.scene_plausible import check_area, check_pixel_size
from rsov.raster.scene_sample import Sample, take_sample
from rsov.raster.scene_view import View, gdal_errors, open_error, upright
from rsov.raster.scene_warp import warp_for
from rsov.raster.workgrid import choose_scale, work_grid
from rsov.term import size_text
from rsov.types import Grid, Notices, Window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from rsov.raster.aoi import AreaOfInterest
    from rsov.raster.radiometry import Radiometry
    from rsov.raster.scene_options import ReadOptions

MEMORY = 2 << 30
"""Bytes that reading assumes where nobody says what the run may take."""
DECODED_BYTES = 160 << 20
"""Decoded pixels kept between tiles (M05)."""
_BLOCK_SHARE = 4
"""A decoded block may take this part of the memory budget: GDAL holds it, rsov a copy, the codec its own."""
_UNCOMPRESSED = 1
_FULL_ALPHA = {"uint16": 65535, "int16": 32767, "int8": 32767}
"""What GDAL's warper writes where a pixel is covered; 255 for all other types."""
_MEAN_PIXELS = 200_000
_ALPHA_VALUES, _ALPHA_SHARE = 2, 0.05
"""A band tagged alpha is data if it has more than two values between none and full, in more than 5 % of its
pixels: feathered edges of a real alpha are few, reflectances are everywhere (Z32)."""


@dataclass(frozen=True)
class _Opened:
    """What the file says, before any sample is read."""

    view: View
    place: Place
    bands: BandPlan
    block: tuple[int, int]
    facts: dict[str, Any]


def open_scene(
    path: Path,
    options: ReadOptions,
    model_gsd: float,
    model_gsd_range: tuple[float, float],
    notices: Notices,
    *,
    source: Source | None = None,
    memory: int = MEMORY,
    cache: int = DECODED_BYTES,
) -> Scene:
    """Open a picture for a model of a given ground sampling distance (metres); reads a sample, no more.

    Args:
        path: the picture.
        options: what the user says about it.
        model_gsd: that the model was made for.
        model_gsd_range: finest and coarsest that it takes.
        notices: takes warnings.
        source: what :func:`rsov.raster.preflight.check_source` gave with these options, if it was called.
        memory: bytes that the run may take; a decoded block may be a quarter of them.
        cache: bytes of decoded pixels kept between tiles.

    Raises:
        UsageError, InputError, ResourceError: see ``docs/robustness.md``, groups R, Z and S.
    """
    check_environment()
    _warn_about_drivers(notices)
    rule = parse_rule(options.scale)
    stats = read_stats(options.stats) if options.stats is not None else None
    source = source or check_source(path, options, notices)
    try:
        if options.isolate:
            from rsov.raster.preflight_isolate import decode_apart

            decode_apart(source, options)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:  # minutes after the checks, where other inputs come first
        raise open_error(source, error) from error
    try:
        file, opened = _checked(source, options, memory, notices)
        grid = opened.place.grid
        region, aoi = _mapped(opened, options)
        sample = _sampled(file, options, path.name, notices)
        raw = _raw_reader(opened, options)
        scale = choose_scale(opened.place.gsd, model_gsd, model_gsd_range, options.work_gsd, notices)
        work = work_grid(grid.width, grid.height, scale)
        pixels = work.width * work.height
        radiometry = _radiometry(raw, sample, rule, stats, pixels, name=path.name, notices=notices)
        decoder = Decoder.build(raw, radiometry)
        out_grid, axis = output_grid(grid, region, options, notices)
        if options.res is not None:  # pixels of the map that reach beyond what was asked for are mapped whole
            region = axis.under(out_grid).intersect(grid.window)
        return Scene(
            path=path,
            view=opened.view,
            place=opened.place,
            grid=at_turn_of(out_grid, grid),
            region=region,
            output_grid=out_grid,
            output_to_source=axis,
            work=work,
            decoder=decoder,
            radiometry=radiometry,
            fill=_mean_colour(sample, decoder),
            lattice=lattice_of(work, grid, opened.block),
            aoi=aoi,
            notices=notices,
            facts=opened.facts | {"sampled_pixels": int(sample.values.shape[1])},
            descriptor=descriptor,
            chunks=SharedCache(cache, lambda chunk: chunk.nbytes),
        )
    except BaseException:
        os.close(descriptor)
        raise


def _warn_about_drivers(notices: Notices) -> None:
    loaded = forbidden_drivers()
    if loaded:
        notices.warn(
            "W-gdal-loaded",
            f"GDAL was loaded before rsov, with {len(loaded)} drivers that rsov does not allow; "
            "files beside a picture (.msk, .tfw) are not used. Import rsov first.",
        )


def _checked(source: Source, options: ReadOptions, memory: int, notices: Notices) -> tuple[_Opened, _Opened]:
    try:
        return _open(source, options, memory, notices)
    except gdal_errors() as error:
        raise open_error(source, error) from error


def _open(source: Source, options: ReadOptions, memory: int, notices: Notices) -> tuple[_Opened, _Opened]:
    """The file as it is, and the view of it that is mapped."""
    name, view = source.path.name, View(source)
    with view.open() as ds:
        check_crs(ds, options, name)
        _check_block(source, ds, memory // _BLOCK_SHARE)
        bands = _judge_alpha(view, ds, plan_bands(ds, options, name, notices), options, notices)
        if source.directory is not None and source.directory.nodata and ds.nodata is None:
            notices.warn(
                "W-nodata-range",
                f"{name}: nodata {source.directory.nodata} cannot occur in {bands.dtype} samples, ignored",
            )
        place = locate(ds, options, source.path, notices)
        check_pixel_size(place, name, notices)
        check_area(place.grid, name, "--crs", notices)
        facts = _facts(source, ds)
        block = ds.block_shapes[bands.indexes[0] - 1]
        turned = _orientation(source, ds, options, place, notices)
        like = like_grid(options.like) if options.like is not None else None
        warp = warp_for(ds, place, bands, options, like)
        if turned > 1:
            from rasterio.crs import CRS

            warp = upright(turned, ds.width, ds.height, CRS.from_epsg(3857))
    file = _Opened(view, place, bands, block, facts)
    if warp is None:
        return file, file
    view = view.warped(warp)
    if warp.exact:
        place = replace(place, grid=Grid(warp.grid.width, warp.grid.height, Affine.identity(), None))
    else:
        from rsov.raster.scene_georef import find_gsd

        stated = "--dst-crs" if options.dst_crs is not None else "--crs" if like is None else "--like"
        check_area(warp.grid, name, stated, notices)
        gsd, gsd_how = find_gsd(warp.grid, True, options.gsd, name, notices)
        place = Place(warp.grid, gsd, f"{place.how}, warped", gsd_how)
    with view.open() as ds:
        block = ds.block_shapes[0]
        if warp.add_alpha:
            full = _FULL_ALPHA.get(bands.dtype, 255)
            mask = MaskPlan("alpha", ds.count, (full + 1) / 2, finite=bands.mask.finite)
            bands = replace(bands, mask=mask)
    return file, _Opened(view, place, bands, block, facts)


def _check_block(source: Source, ds: DatasetReader, limit: int) -> None:
    """Refuse blocks of more bytes than that when decoded (R13, M22)."""
    directory = source.directory
    if directory is not None and directory.compression == _UNCOMPRESSED and ds.block_shapes[0][0] == 1:
        return  # GDAL reads the rows of a picture in one uncompressed strip one by one
    rows, columns = directory.block if directory is not None else ds.block_shapes[0]
    together = 1 if ds.profile.get("interleave") == "band" else ds.count
    size = rows * columns * together * np.dtype(ds.dtypes[0].replace("complex_int16", "int32")).itemsize
    if size > limit:
        raise ResourceError(
            "E-input-block-size",
            f"{source.path} has blocks of {columns} x {rows} pixels, {size_text(size)} each when decoded",
            where=f"limit {size_text(limit)}, a quarter of the memory budget",
            fix=f"gdal raster convert --co TILED=YES {source.path.name} tiled.tif, or more --max-memory",
        )


def _orientation(
    source: Source, ds: DatasetReader, options: ReadOptions, place: Place, notices: Notices
) -> int:
    """EXIF orientation to apply, 1 = none."""
    value = 1
    if source.driver == "JPEG":
        text = ds.tags().get("EXIF_Orientation", "1").strip()
        value = int(text) if text in set("12345678") else 1
    elif source.driver == "PNG":
        with source.path.open("rb") as file:
            value = orientation(png_exif(file))
    if value == 1:
        return 1
    if place.how != "none":
        notices.warn(
            "W-exif",
            f"{source.path.name} is tagged as turned (EXIF {value}); ignored, for it has coordinates",
        )
        return 1
    if options.apply_exif_orientation:
        notices.warn("W-exif", f"{source.path.name} is turned upright (EXIF {value}); the map is too")
        return value
    notices.warn(
        "W-exif",
        f"{source.path.name} is tagged as turned (EXIF {value}); read as stored (--apply-exif-orientation)",
    )
    return 1


def _facts(source: Source, ds: DatasetReader) -> dict[str, Any]:
    tags = ds.tags()
    structure = ds.tags(ns="IMAGE_STRUCTURE")
    facts: dict[str, Any] = {
        "kind": source.driver,
        "codec": source.codec,
        "file_bytes": source.fingerprint.size,
        "file_size": [ds.width, ds.height],
        "file_bands": ds.count,
        "block": list(ds.block_shapes[0]) if ds.count else [],
    }
    times = {k: v for k, v in tags.items() if "DATETIME" in k.upper() or "ACQUISITION" in k.upper()}
    if times:
        facts["times"] = times
    if "SOURCE_COLOR_SPACE" in structure:
        facts["colour_space"] = structure["SOURCE_COLOR_SPACE"]
    if source.pages > 1:
        facts["pages"] = source.pages
    sparse = source.directory.sparse() if source.directory is not None else None
    if sparse is not None:
        facts["sparse_blocks"] = int(sparse.sum())
    return facts


def _raw_reader(opened: _Opened, options: ReadOptions) -> RawReader:
    """A reader of samples. Blocks without data are invalid by the file's own nodata, not by a stated one."""
    sparse, source, kind = None, opened.view.source, opened.bands.mask.kind
    own = kind == "alpha" or (kind == "nodata" and options.nodata is None)
    if opened.view.warp is None and source.directory is not None and own:
        sparse = source.directory.sparse()
    skip_bad = options.on_bad_block == "nodata"
    return RawReader(opened.view, opened.bands, opened.block, sparse, skip_bad, BadBlocks())


def _sampled(file: _Opened, options: ReadOptions, name: str, notices: Notices) -> Sample:
    """The sample, of the whole picture even where a part is asked for: maps of neighbouring parts meet."""
    raw, directory = _raw_reader(file, options), file.view.source.directory
    with file.view.open() as ds:
        sample = take_sample(raw, ds)
    sparse = directory.sparse() if directory is not None and raw.sparse is None else None
    left_out = float(sparse.mean()) if sparse is not None else 0.0
    judge_validity(sample, file.bands.mask, options, left_out=left_out, name=name, notices=notices)
    return sample


def _mapped(opened: _Opened, options: ReadOptions) -> tuple[Window, AreaOfInterest | None]:
    """Which pixels are to be mapped: a window, and an area within it."""
    grid, warp = opened.place.grid, opened.view.warp
    if options.bounds is not None and options.bounds_crs is None and warp and warp.source_crs != grid.crs:
        options = replace(options, bounds_crs=warp.source_crs.to_wkt())  # the input's, not the map's
    region = crop_window(grid, options)
    if options.aoi is None:
        return region, None
    aoi = read_aoi(options.aoi, grid, region)
    return region.intersect(aoi.extent()), aoi


def _radiometry(
    raw: RawReader,
    sample: Sample,
    rule: Rule,
    stats: Radiometry | None,
    pixels: int,
    *,
    name: str,
    notices: Notices,
) -> Radiometry:
    """The stated radiometry, else that of the sample; stated numbers are compared with the sample's own."""
    radiometry = stats or _estimated(raw, sample, rule, pixels)
    if stats is not None or rule.kind in ("range", "percent"):
        option = "--stats" if stats is not None else f"--scale {rule.text}"
        own = _estimated(raw, sample, parse_rule(None))
        judge_radiometry(radiometry, own, sample, option=option, name=name, notices=notices)
    return radiometry


def _estimated(raw: RawReader, sample: Sample, rule: Rule, pixels: float = math.inf) -> Radiometry:
    """The radiometry of the sample; refused where the file's own scale leaves the range of floats (Z39)."""
    bands, name = raw.bands, raw.view.source.path.name
    with np.errstate(all="ignore"):  # what comes out is looked at
        found = estimate(sample.values, rule, bands.scales, bands.offsets, bands.max_value, pixels=pixels)
    if not np.isfinite([*found.gain, *found.offset, *found.lo, *found.hi]).all() or 0 in found.gain:
        raise InputError(
            "E-input-scale",
            f"the values of {name} cannot be computed with",
            where=f"scale of the bands {bands.scales}, offset {bands.offsets}",
            why="they become infinite, or no numbers: a damaged header or values",
            fix=f"gdal_edit -scale 1 -offset 0 {name}; or --scale none if its samples are 0 to 255",
        )
    return found


def _judge_alpha(
    view: View, ds: DatasetReader, bands: BandPlan, options: ReadOptions, notices: Notices
) -> BandPlan:
    """The band plan after a look at the band tagged alpha: its full value, or that it is data."""
    dtype = np.dtype(bands.dtype)
    if bands.mask.kind != "alpha" or dtype.kind == "f":
        return bands
    name, shape = view.source.path.name, ds.block_shapes[bands.indexes[0] - 1]
    raw = RawReader(view, bands, shape, None, options.on_bad_block == "nodata", BadBlocks())
    values = take_sample(raw, ds).alpha
    largest = int(values.max()) if values.size else 0
    full = next(top for top in (1, 255, np.iinfo(dtype).max) if largest <= top)  # 8 bits in 16 are common
    between = values[(values != 0) & (values != full)]
    data = len(np.unique(between)) > _ALPHA_VALUES and between.size > _ALPHA_SHARE * values.size
    if data and options.alpha == "auto":
        notices.warn(
            "W-alpha-data",
            f"{name}: band {bands.mask.alpha} is tagged alpha but holds {len(np.unique(values))} values, "
            "treated as data (--alpha yes or no)",
        )
        return plan_bands(ds, replace(options, alpha="no"), name, notices)
    return replace(bands, mask=replace(bands.mask, threshold=(full + 1) / 2)) if largest else bands


def _mean_colour(sample: Sample, decoder: Decoder) -> NDArray[np.uint8]:
    """Mean 8-bit colour of the sample; middle grey if it is empty."""
    count = sample.values.shape[1]
    if count == 0:
        return np.full(3, 128, np.uint8)
    some = sample.values[:, :: max(1, count // _MEAN_PIXELS)].astype(np.float64)
    scaled = np.clip(some * decoder.gain[:, None] + decoder.offset[:, None], 0, 255)
    mean: NDArray[np.uint8] = np.floor(scaled.mean(1) + 0.5).astype(np.uint8)
    return mean
