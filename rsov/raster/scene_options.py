"""What a user may say about an input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - get_type_hints of this class and of those that inherit it
from typing import Literal

from rsov.types import Window  # noqa: TC001 - as above

Alpha = Literal["auto", "yes", "no"]
MaskRule = Literal["any", "all"]
PointsRule = Literal["refuse", "warp", "keep", "ignore"]
BadBlock = Literal["fail", "nodata"]

MAX_PIXELS = 200_000_000_000
"""Default limit of a source's size (R12): 200 Gpx, a country at 0.5 m."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options of reading; the defaults take everything from the file. Jobs that read inherit them.

    Attributes:
        bands: three band numbers (from 1) or names for red, green, blue; repeats are allowed.
        sensor: name of a preset of ``assets/sensors.toml``.
        alpha: whether a band tagged alpha is validity; ``auto`` looks at its values.
        nodata: values for all bands or one per used band, NaN allowed; empty tuple = none; None = the file's.
        mask_rule: a pixel is invalid if any, or if all, used bands have their nodata value.
        nodata_tolerance: values this near to nodata count as nodata (JPEG).
        scale: ``auto``, ``none``, ``MIN,MAX`` or ``pLOW,pHIGH``; None = auto.
        stats: radiometry to reuse: JSON, report or an output of rsov.
        gsd: metres per pixel of the input; stands above the file's.
        work_gsd: metres per pixel that the model sees.
        crs: CRS assigned to the input (no warp). dst_crs: CRS to warp to.
        gcp: what to do with a picture that has control points or RPCs instead of a grid.
        bounds: left, bottom, right, top in ``bounds_crs`` (default: the input's CRS).
        aoi: vector file; pixels outside become nodata.
        window: pixels of the input.
        res, like: pixel size (CRS units) or raster whose grid the output lies on.
        subdataset: page of a TIFF, from 1.
        on_bad_block: stop at a block that cannot be decoded, or count it as nodata.
        apply_exif_orientation: turn a picture without coordinates upright.
        allow_vrt: open virtual rasters (checked: plain sources inside the folder).
        isolate: decode everything once in a child process first.
        max_pixels: larger inputs are refused.
        input_sha256: checksum that the file must have.
    """

    bands: tuple[int | str, ...] | None = None
    sensor: str | None = None
    alpha: Alpha = "auto"
    nodata: tuple[float, ...] | None = None
    mask_rule: MaskRule = "any"
    nodata_tolerance: float = 0.0
    scale: str | None = None
    stats: Path | None = None
    gsd: float | None = None
    work_gsd: float | None = None
    crs: str | None = None
    dst_crs: str | None = None
    gcp: PointsRule = "refuse"
    bounds: tuple[float, float, float, float] | None = None
    bounds_crs: str | None = None
    aoi: Path | None = None
    window: Window | None = None
    res: float | None = None
    like: Path | None = None
    subdataset: int | None = None
    on_bad_block: BadBlock = "fail"
    apply_exif_orientation: bool = False
    allow_vrt: bool = False
    isolate: bool = False
    max_pixels: int = MAX_PIXELS
    input_sha256: str | None = None
