"""Checks of the outputs in the plan, before anything is read, loaded or written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import OutputError, UsageError
from rsov.term import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rsov.types import Notices

SHAPEFILE_PARTS = (".dbf", ".shx", ".cpg", ".prj")
"""Files that make one Shapefile with the ``.shp``, in the order in which they are published."""

SPACE_MARGIN = 1.1
"""Estimates of compressed sizes are good to about a tenth; somebody else writes to the disk as well."""


def companions(path: Path) -> list[Path]:
    """Files that are one output together with ``path``."""
    return [path.with_suffix(suffix) for suffix in SHAPEFILE_PARTS] if path.suffix == ".shp" else []


def stale_sidecars(path: Path) -> list[Path]:
    """Existing files that programs would apply to ``path``.

    The `.aux.xml` of an earlier output can move a new one to another place (GDAL reads it first).
    """
    return [sidecar for sidecar in sidecars(path) if _exists(sidecar)]


def sidecars(path: Path) -> list[Path]:
    """Names of what programs would apply to ``path``: statistics, overviews, masks, logs, world files."""
    kind = path.suffix.lower().replace(".tiff", ".tif")
    if kind in {".gpkg", ".shp"}:
        added, exchanged = _OF_VECTORS[kind]
        names = [path.with_suffix(end) for end in exchanged]
    elif kind in _RASTERS:
        added, names = _OF_RASTERS, world_files(path)
        names += [path.with_suffix(end) for end in (".aux", ".rrd")]
    else:
        return []
    return [path.with_name(path.name + end) for end in added] + names


_RASTERS = frozenset({".tif", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".vrt"})
_OF_RASTERS = (".aux.xml", ".ovr", ".ovr.aux.xml", ".msk", ".msk.ovr", ".vat.dbf")
_OF_VECTORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    ".gpkg": ((".aux.xml", "-wal", "-shm", "-journal"), ()),
    ".shp": ((".xml",), (".qix", ".sbn", ".sbx", ".fix", ".qpj")),
}
"""What is added to the name, and what its suffix is exchanged for."""


def world_files(path: Path) -> list[Path]:
    """Names of a picture's world file: .wld, its suffix and a w, first and last letter of that and a w."""
    kind = path.suffix.lstrip(".").lower()
    return [
        path.with_suffix(f".{end}") for end in dict.fromkeys((f"{kind}w", f"{kind[:1]}{kind[-1:]}w", "wld"))
    ]


def family(path: Path) -> list[Path]:
    """``path`` and all that is or would be read as part of it."""
    return [path, *companions(path), *stale_sidecars(path)]


def check_outputs(
    outputs: Sequence[Path],
    inputs: Iterable[Path] = (),
    *,
    overwrite: bool = False,
    needed: int | None = None,
    probe: bool = True,
    notices: Notices | None = None,
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Refuse outputs that cannot, or must not, be written.

    Args:
        outputs: all final paths of the run (of a batch: of all its inputs).
        inputs: every file that is read, members of a VRT and masks included.
        overwrite: existing outputs may be replaced.
        needed: bytes that the run writes beside its first output, work files included.
        probe: try to write a file in each folder; a dry run does not.
        notices: takes the warning about a folder that others can rename files in.
        free: bytes free for the user in a folder.

    Raises:
        UsageError: two outputs have one name, or an output is an input.
        OutputError: an output exists (all are named), a folder is missing, not writable, or full, or Python's
            encoding of file names has not all letters of one.
    """
    _check_encoding(outputs)
    _check_collisions(outputs)
    _check_inputs(outputs, inputs)
    for folder in dict.fromkeys(path.parent for path in outputs):
        _check_folder(folder, probe=probe, notices=notices)
    existing = [path for output in outputs for path in family(output) if _exists(path)]
    odd = [path for path in existing if stat.S_IFMT(path.lstat().st_mode) not in {stat.S_IFREG, stat.S_IFLNK}]
    if odd:
        raise OutputError(
            "E-output-kind",
            f"{odd[0]} is not a file",
            where=str(odd[0]),
            fix="choose another name with -o",
        )
    if existing and not overwrite:
        raise OutputError(
            "E-output-exists",
            f"{len(existing)} output{'s exist' if len(existing) > 1 else ' exists'} already",
            where=", ".join(str(path) for path in existing),
            fix="add --overwrite, or choose another place with -o",
        )
    if needed is not None and outputs:
        _check_room(_nearest(outputs[0].parent), needed, free)


def space_needed(
    pixels: int, *, confidence: bool = False, prob_bands: int = 0, polygons: int = 1, sieved: bool = False
) -> int:
    """Bytes that a run writes at most at one time for ``pixels`` output pixels, rough but not small.

    The work files and the finished ones with their overviews (a third) stand beside each other for a moment,
    and the overviews of the raster that is copied just then, one at a time, a second time; with ``sieved`` a
    second work file of labels. The sieve's mask (uint16 maps) is gone before the first copy, which is larger.

    Args:
        pixels: output pixels that are not empty.
        confidence: scores of the winner are kept.
        prob_bands: bands of probabilities.
        polygons: files of polygons.
        sieved: small regions are merged.
    """
    rasters = [LABEL_BYTES, CONFIDENCE_BYTES if confidence else 0.0, CONFIDENCE_BYTES * prob_bands]
    per_pixel = sum(rasters) * (1 + 4 / 3) + max(rasters) / 3 + POLYGON_BYTES * polygons
    if sieved:
        per_pixel += LABEL_BYTES
    return int(pixels * per_pixel) + FIXED_BYTES


LABEL_BYTES = 0.1
CONFIDENCE_BYTES = 0.8
POLYGON_BYTES = 0.2
"""Compressed bytes a pixel of real maps: labels of detailed scenes, noisy confidence, dense polygons."""

FIXED_BYTES = 4_000_000
"""Quicklook, report, style, headers and indexes."""


def _check_encoding(outputs: Iterable[Path]) -> None:
    """Only scripts meet this: the command line runs in UTF-8 whatever the locale."""
    for path in outputs:
        try:
            os.fsencode(path)
        except UnicodeEncodeError as error:
            raise OutputError(
                "E-output-name",
                f"the name {path.name} cannot be written in this locale",
                where=str(path),
                why=f"Python's encoding of file names is {error.encoding}",
                fix="start Python in UTF-8 mode: PYTHONUTF8=1",
            ) from error


def _check_collisions(outputs: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for output in outputs:
        for path in (output, *companions(output)):
            name = os.path.normcase(Path(os.path.realpath(path.parent)) / path.name)
            if name in seen:
                raise UsageError(
                    "E-output-collision",
                    f"two outputs would have the name {path.name}",
                    where=f"{seen[name]}, {output}",
                    fix="give inputs of one name separate calls with -o FOLDER/, or rename one",
                )
            seen[name] = output


def _check_inputs(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    read = {}
    for given in inputs:
        for path in family(given):
            if (key := _identity(path)) is not None:
                read[key] = given
    for output in outputs:
        for path in family(output):
            key = _identity(path)
            if key is not None and key in read:
                raise UsageError(
                    "E-output-is-input",
                    f"the output {path.name} is the input {read[key].name}, or belongs to it",
                    where=f"{path} = {read[key]}",
                    fix="choose another name or folder with -o",
                )


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells one file from another, whatever its names: links of both kinds, mounts, case."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_folder(folder: Path, *, probe: bool, notices: Notices | None) -> None:
    if folder.exists() and not folder.is_dir():
        raise _no_folder(folder, f"{folder} is a file, not a folder")
    if not folder.exists() and not folder.parent.is_dir():
        raise _no_folder(folder, f"the folder {folder} does not exist, nor does the one above it")
    place = folder if folder.exists() else folder.parent
    mode = place.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX and notices is not None:
        notices.warn(
            "W-output-open-folder", f"everyone may rename files in {place}: others can exchange the results"
        )
    if not probe:
        if not os.access(place, os.W_OK | os.X_OK):
            raise _no_folder(place, f"no permission to write in {place}")
        return
    file = place / f".rsov-{secrets.token_hex(6)}.probe"
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        file.unlink()
    except OSError as error:
        raise _no_folder(place, f"cannot write in {place}", str(error)) from error


def _no_folder(folder: Path, what: str, why: str = "") -> OutputError:
    return OutputError(
        "E-output-folder",
        what,
        where=str(folder),
        why=why,
        fix="choose a folder that you can write to with -o",
    )


def _nearest(folder: Path) -> Path:
    return folder if folder.exists() else folder.parent


def _check_room(folder: Path, needed: int, free: Callable[[Path], int]) -> None:
    room = free(folder)
    if room < needed * SPACE_MARGIN:
        raise OutputError(
            "E-output-full",
            f"not enough room in {folder}",
            where=str(folder),
            why=f"about {size_text(round(needed * SPACE_MARGIN))} needed, {size_text(room)} free",
            fix="make room, choose another folder with -o, or write fewer outputs",
        )


def _exists(path: Path) -> bool:
    """Whether the name is taken, by a broken link as well."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(
                "E-output-name",
                f"the name {path.name[:40]}... is too long",
                where=str(path.parent),
                fix="choose a shorter name with -o",
            ) from error
        return False
    return True
