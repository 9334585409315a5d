"""The reader of `dataset.toml`: which pictures a set has, which classes, at what ground sample distance.

Two sorts of set exist. One with `kind` (`dense`, `single`) holds pictures with labels and is read here. One
without `kind` is a multispectral, date or change set; :func:`find_sets` skips it with a reason.
"""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rsov.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IGNORE = 255
OTHER = "other"  # class name of "everything else" in sets of kind single
_NEEDED = (
    "dataset.toml needs kind, bundle, gsd_m, [[class]] with id and name, and [split] with names of pictures; "
    "they lie in images/, a PNG of labels for each in labels/"
)

SplitPart = Literal["train", "val", "all"]


@dataclass(frozen=True)
class SetClass:
    """One class of a set's legend."""

    id: int
    name: str
    synonyms: tuple[str, ...] = ()
    description: str = ""
    general: str = ""

    @property
    def bag(self) -> tuple[str, ...]:
        """Name and synonyms, each once."""
        return tuple(dict.fromkeys((self.name, *self.synonyms)))


@dataclass(frozen=True)
class PictureRef:
    """Place of a picture and of its labels (same size), and its GSD in metres."""

    name: str
    image: Path
    label: Path
    gsd: float


@dataclass(frozen=True)
class DataSet:
    """A set of pictures with labels; pixels of value 255 carry no label."""

    name: str
    folder: Path
    kind: Literal["dense", "single"]
    bundle: Literal["yes", "cite", "no"]
    licence: str
    gsd: float
    classes: tuple[SetClass, ...]
    train: tuple[PictureRef, ...] = ()
    val: tuple[PictureRef, ...] = ()

    def pictures(self, part: SplitPart) -> tuple[PictureRef, ...]:
        """The pictures of a part of the split, in the order of the file."""
        return {"train": self.train, "val": self.val, "all": self.train + self.val}[part]


@dataclass(frozen=True)
class Skipped:
    """A folder that holds a data set of another sort."""

    name: str
    reason: str


def _fail(path: Path, what: str, why: str = "") -> InputError:
    return InputError("E-dataset", what, where=str(path), why=why, fix=_NEEDED)


def read_set(folder: Path) -> DataSet | Skipped:
    """Read `folder/dataset.toml`; raises InputError when it is broken or names files that are not there."""
    path = folder / "dataset.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _fail(path, "the description of the data set cannot be read", str(error)) from error
    kind = table.get("kind")
    if kind is None:
        return Skipped(folder.name, str(table.get("task", "no kind is given")))
    if kind not in ("dense", "single"):
        raise _fail(path, f"kind {kind!r} is neither dense nor single")
    try:
        classes = _classes(table["class"])
        gsd = _gsd(table["gsd_m"])
        bundle = table["bundle"]
        split = table["split"]
        own = {row["file"]: _gsd(row.get("gsd", gsd)) for row in table.get("picture", ())}
        parts = {part: _refs(folder, table, split.get(part, []), own, gsd) for part in ("train", "val")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _fail(
            path, "the description of the data set is incomplete or wrong", f"{type(error).__name__}: {error}"
        ) from error
    if bundle not in ("yes", "cite", "no"):
        raise _fail(path, f"bundle {bundle!r} is none of yes, cite, no")
    return DataSet(
        name=folder.name,
        folder=folder,
        kind=kind,
        bundle=bundle,
        licence=str(table.get("licence", "")),
        gsd=gsd,
        classes=classes,
        train=parts["train"],
        val=parts["val"],
    )


def _gsd(value: Any) -> float:
    gsd = float(value)
    if not 0 < gsd < math.inf:
        raise ValueError(f"a GSD of {gsd:g} m")
    return gsd


def _classes(rows: Sequence[dict[str, Any]]) -> tuple[SetClass, ...]:
    """The legend; no number and no name stands for two classes, and none for pixels without a label."""
    classes = tuple(_class(row) for row in rows)
    for what in ("id", "name"):
        values = [getattr(item, what) for item in classes]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f"two classes have the {what} {twice[0]!r}")
    return classes


def _class(row: dict[str, Any]) -> SetClass:
    number, synonyms = row["id"], row.get("synonyms", [])
    if type(number) is not int or not 0 <= number < IGNORE:
        raise ValueError(f"the id of a class is {number!r}, not one of 0 to {IGNORE - 1}")
    if not isinstance(synonyms, list) or not all(isinstance(text, str) for text in synonyms):
        raise ValueError(f"the synonyms of a class are {synonyms!r}, not a list of texts")
    return SetClass(
        id=number,
        name=str(row["name"]),
        synonyms=tuple(synonyms),
        description=str(row.get("description", "")),
        general=str(row.get("general", "")),
    )


def _refs(
    folder: Path, table: dict[str, Any], names: Sequence[str], own: dict[str, float], gsd: float
) -> tuple[PictureRef, ...]:
    images = folder / str(table.get("images_dir", "images"))
    result = []
    for name in names:
        label = folder / "labels" / (Path(name).stem + ".png")
        for path in (images / name, label):
            if not path.is_file():
                raise ValueError(f"{path.name} is not there")
        result.append(PictureRef(name, images / name, label, own.get(name, gsd)))
    return tuple(result)


def _folders(root: Path) -> Iterator[Path]:
    """Folders with a `dataset.toml`; links are followed, each place once."""
    seen: set[str] = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:
            inner.clear()
            continue
        seen.add(place)
        if "dataset.toml" in files:
            yield Path(folder)


def find_sets(root: Path) -> tuple[list[DataSet], list[Skipped]]:
    """All sets in `root` and its subfolders; those without `kind` come back as skipped, with the reason."""
    found: list[DataSet] = []
    skipped: list[Skipped] = []
    for folder in sorted(_folders(root)):
        item = read_set(folder)
        if isinstance(item, DataSet):
            found.append(item)
        else:
            skipped.append(item)
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise _fail(root, f"two data sets are called {name!r}")
    return found, skipped
