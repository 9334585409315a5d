"""What the sample says against the file or the options: warnings, before anything is mapped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rsov.raster.scene_sample import FRINGE

if TYPE_CHECKING:
    from rsov.raster.radiometry import Radiometry
    from rsov.raster.scene_bands import MaskPlan
    from rsov.raster.scene_options import ReadOptions
    from rsov.raster.scene_sample import Sample
    from rsov.types import Notices

_HOLES = 0.01
_REAL = {"0": " (black roofs)", "255": " (white roofs)"}
"""What often has a value that is also nodata."""
_COLLAR = 0.02
"""Pixels of exact black in all bands are rare in a picture; more than this share is a frame of no data."""
_BLACK_EDGE, _RARER = 0.5, 8
"""Beside no data most pixels are almost black, and elsewhere so many times fewer: that is no ground."""
_MOST, _FLATTER = 0.5, 8.0
"""A stated radiometry that clips most samples, or leaves so little of the contrast, is of another picture."""


def judge_validity(
    sample: Sample, mask: MaskPlan, options: ReadOptions, *, left_out: float, name: str, notices: Notices
) -> None:
    """Warn where pixels that count as picture look like no data, or those of no data like picture.

    ``left_out``: share of the picture that is not in the file, and read as 0.
    """
    if sample.isolated > _HOLES:
        stated = ", ".join(dict.fromkeys(f"{v:g}" for v in mask.nodata if v is not None))
        notices.warn(
            "W-nodata-holes",
            f"{name}: {sample.isolated:.0%} of the pixels are single holes of nodata"
            f"{f' ({stated})' if stated else ''} inside valid ones; if they are real values"
            f"{_REAL.get(stated, '')}, use --nodata none, --mask-rule all, or a mask band",
        )
    values = sample.values
    if values.shape[1] == 0:
        notices.warn("W-no-valid", f"{name}: no valid pixel in the sample; the picture may be all nodata")
        return
    alike = values.shape[1] > 1 and bool((values == values[:, :1]).all())
    if alike and not (left_out and values.any()):
        colour = ", ".join(f"{v:g}" for v in values[:, 0].tolist())
        notices.warn(
            "W-no-contrast",
            f"{name}: all pixels of the sample are alike ({colour}): there is nothing to see, and the map is "
            "a guess; if that is no data, state it: --nodata",
        )
        return
    black = float((values == 0).all(0).mean())
    if options.nodata is None and mask.kind in ("none", "nodata"):
        black += left_out * (1 - black)
        if _COLLAR < black < 1:
            notices.warn(
                "W-nodata-undeclared",
                f"{name}: {black:.0%} of the pixels are 0 in all bands and count as picture: the file does "
                "not say that 0 is nodata; if they are a frame around it: --nodata 0, else --nodata none",
            )
    near = float((values <= FRINGE).all(0).mean())
    if sample.fringe > max(_BLACK_EDGE, _RARER * near) and not options.nodata_tolerance:
        notices.warn(
            "W-nodata-fringe",
            f"{name}: {sample.fringe:.0%} of the pixels beside its no data are almost black, as that is, and "
            "count as picture: an edge that JPEG or resampling left; to leave it out: "
            f"--nodata 0 --nodata-tolerance {FRINGE} --mask-rule all",
        )


def judge_radiometry(
    stated: Radiometry, own: Radiometry, sample: Sample, *, option: str, name: str, notices: Notices
) -> None:
    """Warn where a radiometry from elsewhere leaves little of the picture: clipped, or all one grey.

    ``own``: what the picture would have by itself. ``option``: ``--stats``, or ``--scale`` with its value.
    """
    if sample.values.shape[1] == 0:
        return
    clipped, gains = stated.clipped(sample.values), zip(own.gain, stated.gain, strict=True)
    flatter = max(abs(mine / theirs) if theirs else math.inf for mine, theirs in gains)
    if clipped > _MOST or (own.lo < own.hi and flatter > _FLATTER):
        lost = f"{clipped:.0%} of its samples end as black or white" if clipped > _MOST else ""
        left = f"becomes {flatter:.3g} times smaller than" if flatter < math.inf else "is lost, unlike"
        lost = lost or f"its contrast {left} under its own scale"
        asked = "was it taken from a picture of the same kind?" if option == "--stats" else "--scale auto?"
        notices.warn(
            "W-stats-range" if option == "--stats" else "W-scale-range",
            f"{name}: the radiometry of {option} ({_span(stated)}) does not fit the picture ({_span(own)}): "
            f"{lost}; {asked}",
        )


def _span(radiometry: Radiometry) -> str:
    return f"{min(radiometry.lo):g} to {max(radiometry.hi):g}"
