"""Names of the files of a prediction, from `-o` and the options; nothing is touched here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rsov.jobs.options import PredictOptions

LONGEST_NAME = 255
"""Bytes of a name in the file systems of today."""
RASTER_SUFFIXES = {".tif", ".tiff"}
VECTOR_SUFFIXES = {"gpkg": ".gpkg", "geojson": ".geojson", "fgb": ".fgb", "shp": ".shp"}


@dataclass(frozen=True)
class Outputs:
    """Final paths of one map; ``None`` where it was not asked for."""

    classes: Path
    style: Path
    report: Path
    confidence: Path | None = None
    probs: Path | None = None
    quicklook: Path | None = None
    vectors: dict[str, Path] = field(default_factory=dict)
    others: tuple[Path, ...] = ()
    """What other options would write beside these; files of an earlier run may lie there."""

    def vector_kinds(self) -> dict[str, str]:
        """Kind -> format: ``polygons`` where there is one file, else ``polygons_gpkg`` and so on."""
        return {"polygons" if len(self.vectors) == 1 else f"polygons_{name}": name for name in self.vectors}

    def kinds(self) -> dict[str, Path]:
        """Kind -> path, in the order in which they are published: the report is the commit mark, last."""
        found: dict[str, Path | None] = {"classes": self.classes, "style": self.style}
        found |= {"confidence": self.confidence, "probs": self.probs}
        found |= {kind: self.vectors[name] for kind, name in self.vector_kinds().items()}
        found |= {"quicklook": self.quicklook, "report": self.report}
        return {kind: path for kind, path in found.items() if path is not None}


def plan_outputs(
    inputs: Sequence[Path], out: str | os.PathLike[str] | None, options: PredictOptions
) -> list[Outputs]:
    """Where each input's map goes.

    Args:
        inputs: the pictures.
        out: ``None`` (the current folder), a folder (existing, or ending with a slash), or NAME.tif for one
            input.
        options: which outputs are wanted.

    Raises:
        OutputError: a name longer than file systems take.
        UsageError: ``out`` is neither a folder nor a name that fits.
    """
    text = os.fspath(out) if out is not None else ""
    if text != readable(text):
        raise UsageError("E-output-name", f"-o {text} is not UTF-8", fix="choose another name with -o")
    target = Path(text)
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in target.parts):
        raise OutputError(
            "E-output-name", f"-o {text[:40]}... is too long", fix="choose a shorter name with -o"
        )
    if not text or target.is_dir() or text.endswith(("/", os.sep)):
        return [_outputs(target, readable(each.stem).replace("\\", "_"), None, options) for each in inputs]
    if target.suffix.lower() not in RASTER_SUFFIXES:
        raise UsageError(
            "E-output-name",
            f"-o {text} is neither a folder nor a .tif file",
            fix=f"-o {text}/ makes a folder, -o {target.with_suffix('.tif')} names the class raster",
        )
    if len(inputs) > 1:
        raise UsageError(
            "E-output-name",
            f"-o {text} is one file, but there are {len(inputs)} inputs",
            fix=f"-o {target.with_suffix('')}/ takes all of them",
        )
    if "\\" in target.name:
        raise UsageError("E-output-name", f"-o {text} has a backslash in its name", fix="choose another name")
    return [_outputs(target.parent, target.stem, target, options)]


def readable(name: str) -> str:
    r"""``name`` with bytes that are no UTF-8 as ``\xff``: GDAL and SQLite take no others.

    A backslash parts folders for some of GDAL's drivers: names of outputs have none.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _outputs(folder: Path, stem: str, classes: Path | None, options: PredictOptions) -> Outputs:
    raster = classes or folder / f"{stem}_classes.tif"
    further = {name: folder / f"{stem}_{name}" for name in ("confidence.tif", "probs.tif", "quicklook.png")}
    vectors = {name: folder / f"{stem}_classes{suffix}" for name, suffix in VECTOR_SUFFIXES.items()}
    found = Outputs(
        classes=raster,
        style=raster.with_suffix(".qml") if classes else folder / f"{stem}_classes.qml",
        report=folder / f"{stem}_report.json",
        confidence=further["confidence.tif"] if options.confidence else None,
        probs=further["probs.tif"] if options.probs else None,
        quicklook=further["quicklook.png"] if options.quicklook else None,
        vectors={name: vectors[name] for name in options.vector_format},
    )
    written = set(found.kinds().values())
    others = [path for path in (*further.values(), *vectors.values()) if path not in written]
    return replace(found, others=tuple(others))
