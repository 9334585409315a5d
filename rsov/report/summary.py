"""The report of a run: plain data to JSON (schema ``rsov/predict/1``)."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rsov.raster.outputs import companions
from rsov.types import NODATA, NODATA_NAME, NONE_NAME, Background, Legend, Notice

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "rsov/predict/1"

MAX_BYTES = 1_000_000
"""A report is opened in editors and mailed; what grows with tiles or with a file's tags is cut."""
_LIMITS = (sys.maxsize, 4096, 2048, 1024, 512, 256, 128, 64, 32)
"""Of characters in a text and items in a list: the first with which the report is small enough."""


@dataclass(frozen=True)
class ClassArea:
    """How much of the map a class covers.

    ``area_m2`` is ``None`` without georeference, ``share`` (of the valid area; of the valid pixels
    without georeference) is ``None`` for no data and where nothing is valid.
    """

    id: int
    name: str
    pixels: int
    area_m2: float | None
    share: float | None
    colour: tuple[int, int, int] | None


def class_areas(
    legend: Legend, pixels: Mapping[int, int], area_m2: Mapping[int, float] | None = None
) -> tuple[ClassArea, ...]:
    """One row a class in the order of the legend, then none-of-them and no data.

    Args:
        legend: the classes.
        pixels: raster value -> number of pixels; missing ones have none.
        area_m2: raster value -> area; ``None`` without georeference.
    """
    weights: Mapping[int, float] = pixels if area_m2 is None else area_m2
    values = [c.id for c in legend] + [legend.none_id]
    valid = sum(weights.get(value, 0) for value in values)

    def row(value: int, name: str, colour: tuple[int, int, int] | None) -> ClassArea:
        area = None if area_m2 is None else float(area_m2.get(value, 0.0))
        share = weights.get(value, 0) / valid if valid and value != NODATA else None
        return ClassArea(value, name, int(pixels.get(value, 0)), area, share, colour)

    rows = [row(c.id, c.name, c.colour) for c in legend]
    return (*rows, row(legend.none_id, NONE_NAME, None), row(NODATA, NODATA_NAME, None))


def output_entry(kind: str, final: Path, written: Path | None = None) -> dict[str, Any]:
    """Entry of the report for an output; ``written`` is where its bytes lie before it is published."""
    source = written or final
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": str(final),
        "path_abs": str(final.absolute()),
        "kind": kind,
        "bytes": source.stat().st_size,
        "sha256": digest,
    }


def output_entries(kind: str, final: Path, written: Path) -> Iterator[dict[str, Any]]:
    """Entries for an output and for the files that are one with it, as those of a Shapefile."""
    yield output_entry(kind, final, written)
    for part, name in zip(companions(written), companions(final), strict=True):
        if part.is_file():  # a Shapefile without CRS has no .prj
            yield output_entry(f"{kind}_part", name, part)


@dataclass(frozen=True)
class RunReport:
    """All that is known about a finished run, as plain data.

    ``run`` holds what differs between two equal runs (``id``, ``started``); everything else is the
    same for the same input, words, model and settings, ``timing`` apart. ``bbox`` is west, south, east, north
    of the map in degrees, ``None`` without a place on the earth.
    """

    legend: Legend
    areas: tuple[ClassArea, ...] = ()
    background: Background | None = None
    inputs: Sequence[Mapping[str, Any]] = ()
    outputs: Sequence[Mapping[str, Any]] = ()
    bbox: Sequence[float] | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[Notice] = ()
    errors: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    status: str = "ok"
    exit_code: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The report with JSON's own types: NaN and infinity are ``None``, paths are texts.

        Texts and lists that would make it larger than a megabyte are cut; ``truncated`` names them.
        """
        content = self._content()
        for limit in _LIMITS:
            cut: list[str] = []
            plain: dict[str, Any] = _plain(content, "", limit, cut)
            if cut:
                plain["truncated"] = cut[: _LIMITS[-1]]
            if len(_encode(plain)) <= MAX_BYTES:
                break
        return plain

    def to_json(self) -> bytes:
        r"""UTF-8; names of files that are no UTF-8 appear with ``\\udcXX`` escapes."""
        return _encode(self.to_dict())

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "status": self.status,
            "exit_code": int(self.exit_code),
            "run_id": self.run.get("id"),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "bbox": self.bbox,
            "legend": [
                {
                    "id": c.id,
                    "name": c.name,
                    "texts": c.texts,
                    "colour": "#" + bytes(c.colour).hex(),
                    "threshold": c.threshold,
                }
                for c in self.legend
            ],
            "background": self.background
            and {
                "source": self.background.source,
                "terms": [term.name for term in self.background.terms],
                "dropped": [{"name": name, "too_close_to": near} for name, near in self.background.dropped],
            },
            "model": self.model,
            "settings": self.settings,
            "areas": [
                {"id": a.id, "name": a.name, "pixels": a.pixels, "area_m2": a.area_m2, "share": a.share}
                for a in self.areas
            ],
            "warnings": [{"id": notice.id, "message": notice.message} for notice in self.warnings],
            "errors": self.errors,
            "metrics": self.metrics,
            "timing": self.timing,
            "versions": self.versions,
            "run": self.run,
        }


def _encode(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _plain(value: Any, place: str, limit: int, cut: list[str]) -> Any:
    """``value`` with JSON's types only.

    Texts and lists longer than ``limit`` are cut, and their places appended to ``cut``.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}.{key}", limit, cut) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
        if len(items) > limit:
            cut.append(f"{place.lstrip('.')}: {len(items)} items")
        return [_plain(item, f"{place}[{index}]", limit, cut) for index, item in enumerate(items[:limit])]
    if hasattr(value, "item"):  # NumPy's scalars
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    text = str(value)
    if len(text) > limit:
        cut.append(f"{place.lstrip('.')}: {len(text)} characters")
    return text[:limit]
