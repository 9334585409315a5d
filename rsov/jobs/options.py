"""Options of the predict job: one frozen object that the command line fills and the report records."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from rsov.errors import UsageError
from rsov.raster.scene_options import Alpha, BadBlock, MaskRule, PointsRule, ReadOptions
from rsov.types import Window

VectorFormat = Literal["gpkg", "geojson", "fgb", "shp"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

MAX_GSD = 1000.0
"""Metres per pixel: a coarser picture shows no land cover that words of this tool name."""
MAX_FEATURES = 50_000_000
"""Default limit of polygons (M11)."""
TILE_RANGE = (64, 8192)
"""Work pixels: below, a tile holds no context; above, one forward pass takes longer than a stop may."""


class OptionError(UsageError):
    """A wrong value; ``option`` is the field's name, so that the edge can say where it was set."""

    def __init__(self, option: str, problem: str, *, fix: str = "", id: str = "E-option-value") -> None:
        super().__init__(id, f"{flag(option)}: {problem}", fix=fix)
        self.option = option
        self.problem = problem


def flag(option: str) -> str:
    """``min_area`` -> ``--min-area``; the fields and the command line use the same names."""
    return "--" + option.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ReadOptions):
    """What `predict` can be told, besides its inputs and prompts. ``None`` leaves the choice to rsov.

    Attributes:
        background: file of names that compete with the prompts, or ``none``; the shipped ones by default.
        model: name or folder.
        device, precision: where and in which numbers the network computes.
        confidence, probs, quicklook: further outputs.
        vector_format: formats of the polygons; empty or ``none`` for none.
        min_area: regions below it go to their largest neighbour; m2, or pixels without georeference.
        simplify: tolerance of borders in metres, or pixels without georeference.
        max_features: more polygons are an error.
        overwrite: existing outputs are replaced.
        fail_empty: an input without a valid pixel is an error.
        tile: side in work pixels.
        overlap: work pixels, or percent of a tile.
        max_memory: bytes, ``8G`` or ``60%``.
        jobs: threads.
        fail_fast: the first input that fails ends the call.
        dry_run: plan, and write nothing.

    What it can be told about an input: see :class:`~rsov.raster.scene_options.ReadOptions`.

    Raises:
        OptionError: a value out of its range, or two options that exclude each other.
    """

    # words and model
    background: str | None = None
    model: str = "bundled"
    device: str = "auto"
    precision: Precision = "auto"
    # results
    confidence: bool = False
    probs: bool = False
    vector_format: tuple[VectorFormat, ...] = ("gpkg",)
    min_area: float = 0.0
    simplify: float = 0.0
    max_features: int = MAX_FEATURES
    quicklook: bool = False
    overwrite: bool = False
    fail_empty: bool = False
    # the run
    tile: int | None = None
    overlap: str | None = None
    max_memory: str | None = None
    jobs: int | None = None
    fail_fast: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in (*_PATHS, *_LISTS, *_TEXTS, *_FOUR):
            object.__setattr__(self, name, _natural(name, getattr(self, name)))
        for name, (low, high, unit) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise OptionError(name, f"must be {unit}, from {low:g} to {high:g}, not {value:g}")
        for name, choices in CHOICES.items():
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if value not in choices:
                    raise OptionError(name, f"must be one of {', '.join(choices)}, not {value!r}")
        for one, other in _EXCLUSIVE:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise OptionError(
                    one,
                    f"cannot be combined with {flag(other)}",
                    fix="leave one of the two",
                    id="E-option-conflict",
                )
        if self.bounds is not None:
            west, south, east, north = self.bounds
            degrees = max(abs(west), abs(east)) <= _HALF_TURN or self.bounds_crs is not None
            over_180 = west > east and degrees  # RFC 7946 5.2; the reader knows whether they are degrees
            if south >= north or not (west < east or over_180):
                given = ",".join(f"{value:.12g}" for value in self.bounds)
                raise OptionError("bounds", f"must have west < east and south < north, not {given}")
        elif self.bounds_crs is not None:
            raise OptionError("bounds_crs", "needs --bounds", id="E-option-conflict")

    def as_dict(self) -> dict[str, Any]:
        """For the report: plain JSON values, every option, defaults included."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


_PATHS = ("aoi", "like", "stats")
_LISTS = ("bands", "nodata", "vector_format")
_NONE = ("nodata", "vector_format")
"""Lists for which ``none`` stands for an empty one, as on the command line."""
_TEXTS = ("overlap", "max_memory")
_FOUR = {"window": "column, row, width, height", "bounds": "west, south, east, north"}
_HALF_TURN = 180


def _natural(name: str, value: Any) -> Any:
    """What a script passes as a matter of course, as the field's own type: text for paths, lists."""
    if value is None or isinstance(value, Window):
        return value
    if name in _PATHS:
        return Path(value)
    if name in _TEXTS:
        return str(value)
    if name in _FOUR:
        return _four(name, value)
    if isinstance(value, str):
        none = name in _NONE and value.strip().lower() == "none"
        parts = [] if none else [part.strip() for part in value.split(",")]
        return tuple(int(part) if part.isdecimal() else part for part in parts)
    return (value,) if isinstance(value, (int, float)) else tuple(value)


def _four(name: str, value: Any) -> Any:
    """A rectangle from four numbers, or from their text as on the command line."""
    kind = int if name == "window" else float
    try:
        parts = value.split(",") if isinstance(value, str) else value
        numbers = tuple(kind(part) for part in parts)
        if len(numbers) == 4 and numbers == tuple(map(float, parts)):
            return Window(*map(int, numbers)) if name == "window" else numbers
    except (TypeError, ValueError, OverflowError):
        pass
    raise OptionError(name, f"must be {_FOUR[name]}, not {value!r}")


_TINY = 1e-6
_RANGES: dict[str, tuple[float, float, str]] = {
    "gsd": (_TINY, MAX_GSD, "metres per pixel"),
    "work_gsd": (_TINY, MAX_GSD, "metres per pixel"),
    "res": (1e-9, 1e9, "a pixel size in units of the output's CRS"),
    "nodata_tolerance": (0, 1e6, "a difference of pixel values"),
    "subdataset": (1, 100_000, "the number of a page or sub-dataset"),
    "max_pixels": (1, 10**15, "a count of pixels"),
    "min_area": (0, 1e12, "square metres"),
    "simplify": (0, 1e6, "metres"),
    "max_features": (1, 10**10, "a count of polygons"),
    "tile": (*TILE_RANGE, "work pixels"),
    "jobs": (1, 1024, "a count of threads"),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "precision": get_args(Precision),
    "alpha": get_args(Alpha),
    "mask_rule": get_args(MaskRule),
    "gcp": get_args(PointsRule),
    "on_bad_block": get_args(BadBlock),
    "vector_format": get_args(VectorFormat),
}
_EXCLUSIVE = (
    ("window", "bounds"),
    ("window", "aoi"),
    ("res", "like"),
    ("dst_crs", "like"),
    ("scale", "stats"),
    ("bands", "sensor"),
)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Window):
        return [value.col, value.row, value.width, value.height]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


class PredictKeywords(TypedDict, total=False):
    """The fields of :class:`PredictOptions` but ``model``: type checkers know the keywords of `predict`.

    A TypedDict cannot be made from a dataclass: they stand here again, and a test keeps the two equal.
    """

    background: str | None
    device: str
    precision: Precision
    bands: tuple[int | str, ...] | None
    sensor: str | None
    alpha: Alpha
    nodata: tuple[float, ...] | None
    mask_rule: MaskRule
    nodata_tolerance: float
    scale: str | None
    stats: Path | None
    gsd: float | None
    work_gsd: float | None
    crs: str | None
    gcp: PointsRule
    subdataset: int | None
    apply_exif_orientation: bool
    on_bad_block: BadBlock
    input_sha256: str | None
    allow_vrt: bool
    isolate: bool
    max_pixels: int
    bounds: tuple[float, float, float, float] | None
    bounds_crs: str | None
    aoi: Path | None
    window: Window | None
    res: float | None
    like: Path | None
    dst_crs: str | None
    confidence: bool
    probs: bool
    vector_format: tuple[VectorFormat, ...]
    min_area: float
    simplify: float
    max_features: int
    quicklook: bool
    overwrite: bool
    fail_empty: bool
    tile: int | None
    overlap: str | None
    max_memory: str | None
    jobs: int | None
    fail_fast: bool
    dry_run: bool
