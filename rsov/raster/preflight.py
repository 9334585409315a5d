"""Is this path a picture that can be read to its end? Asked before GDAL opens it or a model is loaded."""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rsov.errors import InputError, UsageError
from rsov.raster.preflight_checksum import check_sha256
from rsov.raster.preflight_image import jp2_fault, jpeg_fault, png_fault
from rsov.raster.preflight_tiff import CODECS, Directory, TiffDamageError, read_directories
from rsov.raster.scene_options import ReadOptions

if TYPE_CHECKING:
    from rsov.types import Notices

MAX_BANDS = 1024
"""More bands than any imaging spectrometer has; GDAL builds an object for each one that a header claims."""
_REMOTE = re.compile(r"^(https?|s3|gs|az|abfss?|ftp|file|swift|oss|hdfs|webhdfs):/", re.IGNORECASE)
_HANDLES = "allow more open files (ulimit -n), or read with fewer threads (--jobs)"
_AWAY = "check the disk or the network share, then run the same command again"
_REMEDY = {errno.EMFILE: _HANDLES, errno.ENFILE: _HANDLES, errno.EIO: _AWAY, errno.ESTALE: _AWAY}
_CONNECTION = re.compile(r"^([A-Za-z][A-Za-z0-9_+.-]+:|<|\{)")
_OTHER_KINDS = (
    (b"\x89HDF", "an HDF5 or NetCDF file"),
    (b"CDF", "a NetCDF file"),
    (b"GRIB", "a GRIB file"),
    (b"EHFA_HEADER_TAG", "an Erdas Imagine (HFA) file"),
    (b"GIF8", "a GIF"),
    (b"RIFF", "a RIFF file (WebP?)"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"SQLite format 3", "a SQLite file (GeoPackage?)"),
    (b"<MRF", "an MRF description"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"msid", "a MrSID file"),
    (b"BM", "a BMP"),
)


@dataclass(frozen=True)
class Fingerprint:
    """What tells whether a file is still the same: size in bytes, time of change, place on disk."""

    size: int
    mtime_ns: int
    inode: tuple[int, int]

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """From ``os.stat`` or ``os.fstat``."""
        return cls(status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))


@dataclass(frozen=True)
class Source:
    """A file that passed the checks: how GDAL is to open it, and what its directories say.

    ``target`` is what GDAL gets (absolute path, page of a TIFF, or a rebuilt VRT); ``directory`` is the TIFF
    directory concerned, None for other kinds.
    """

    path: Path
    driver: str
    target: str
    fingerprint: Fingerprint
    directory: Directory | None = None
    pages: int = 1
    sources: tuple[Path, ...] = ()

    @property
    def codec(self) -> str:
        """Name of the compression of a TIFF, else of the kind of file."""
        if self.directory is None:
            return self.driver
        number = self.directory.compression
        return CODECS.get(number, f"compression {number}")


def check_source(path: Path, options: ReadOptions, notices: Notices) -> Source:
    """Check one input: it is a file, of a known kind, complete, and not a bomb.

    Raises:
        UsageError: a remote path, a GDAL connection string, a page that does not exist.
        InputError: missing, unreadable, not a picture, cut off, too large, checksum differs.
    """
    refuse_connection(path)
    status = _status(path)
    fingerprint = Fingerprint.of(status)
    try:
        with path.open("rb") as file:
            check_sha256(path, file, options.input_sha256)
            return _check_content(path, file, fingerprint, options, notices)
    except OSError as error:
        raise unreadable(path, error) from error


def refuse_connection(path: Path) -> None:
    """Raise :class:`UsageError` for URLs and for texts that GDAL takes as connection strings (R21-R28)."""
    text = os.fspath(path)
    if (scheme := _REMOTE.match(text)) is not None:
        address = f"{scheme.group(1)}://{text[scheme.end() :].lstrip('/')}"  # a path has lost one slash
        raise UsageError(
            "E-input-remote",
            f"{address} is a remote address; rsov reads local files only",
            fix="download the file and give its path",
        )
    if text.startswith(("/vsi", "\\vsi")) or (_CONNECTION.match(text) and not path.exists()):
        raise UsageError(
            "E-input-connection",
            f"{text[:80]} is a GDAL connection string, not a file",
            fix="give the path of an existing file; pages of a TIFF are chosen with --subdataset N",
        )


def check_msk(path: Path) -> None:
    """Refuse a ``.msk`` beside the picture that is not a TIFF: GDAL would open whatever it is (S06, S08)."""
    for beside in (Path(f"{path}.msk"), Path(f"{path}.MSK")):
        try:
            with beside.open("rb") as file:
                head = file.read(4)
        except OSError:
            continue
        if not _is_tiff(head):
            raise InputError(
                "E-sidecar",
                f"the mask beside {path.name} is not a TIFF",
                where=str(beside),
                fix=f"move {beside.name} away",
            )


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise missing_file(path) from None
    except OSError as error:
        raise unreadable(path, error) from error
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    for test, name in kinds:
        if test(status.st_mode):
            raise InputError(
                "E-input-kind", f"{path} is {name}, not a file", fix="give the path of a picture"
            )
    if status.st_size == 0:
        raise InputError("E-input-kind", f"{path} is empty", where="0 bytes", fix="copy or download it again")
    return status


def missing_file(path: Path, where: str = "") -> InputError:
    """For a path at which nothing is, with the name in its folder that may have been meant."""
    if any(mark in path.name for mark in "*?["):
        return InputError(
            "E-input-missing", f"no file matches {path}", where=where, fix="check the folder and the ending"
        )
    return InputError("E-input-missing", f"{path} does not exist", where=where, fix=_nearest(path))


def _nearest(path: Path) -> str:
    """The most similar name; endings count only between equal ones, since all pictures share a few."""
    try:
        entries = list(path.parent.iterdir())
    except OSError:
        return f"check the path: the folder {path.parent} does not exist either"
    suffix = path.suffix.casefold()
    for same, cutoff in ((True, 0.6), (False, 0.8)):
        names = {e.stem.casefold(): e.name for e in entries if (e.suffix.casefold() == suffix) is same}
        near = difflib.get_close_matches(path.stem.casefold(), names, n=1, cutoff=cutoff)
        if near:
            return f"did you mean {names[near[0]]} (same folder)?"
    return f"check the name, or list what is there: ls {path.parent}"


def unreadable(path: Path, error: OSError) -> InputError:
    """For a path that the system does not let be read."""
    return InputError(
        "E-input-unreadable",
        f"{path} cannot be read",
        why=error.strerror or str(error),
        fix=_REMEDY.get(error.errno or 0, "see that you may read the file and the folders above it: ls -l"),
    )


def _is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _check_content(
    path: Path, file: BinaryIO, fingerprint: Fingerprint, options: ReadOptions, notices: Notices
) -> Source:
    file.seek(0)
    head = file.read(1024)
    target = os.path.abspath(path)  # noqa: PTH100 - resolve() would lose the name of a link
    if _is_tiff(head):
        return _check_tiff(path, file, fingerprint, options, notices)
    if options.subdataset is not None:
        raise UsageError(
            "E-subdataset", f"{path.name} has no pages to choose from", fix="leave --subdataset out"
        )
    fault = ""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        driver, fault = "PNG", png_fault(file)
    elif head.startswith(b"\xff\xd8\xff"):
        driver, fault = "JPEG", jpeg_fault(file)
    elif head[4:8] == b"jP  " or head.startswith(b"\xff\x4f\xff\x51"):
        driver, fault = "JP2OpenJPEG", jp2_fault(file, fingerprint.size)
    elif b"<VRTDataset" in head:
        from rsov.raster.vrt import load_vrt

        vrt = load_vrt(path, allowed=options.allow_vrt)
        for source in vrt.sources:
            check_source(source, ReadOptions(max_pixels=options.max_pixels), notices)
        return Source(path, "VRT", vrt.xml, fingerprint, sources=vrt.sources)
    else:
        raise _unknown_kind(path, head)
    if fault:
        raise _truncated(path, f"file of {fingerprint.size} bytes: {fault}")
    check_msk(path)
    return Source(path, driver, target, fingerprint)


def _unknown_kind(path: Path, head: bytes) -> InputError:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower()
    if text.startswith((b"<!doctype", b"<html")):
        return InputError(
            "E-input-kind",
            f"{path} is not an image",
            where=f'starts with "{text[:5].decode("latin-1")}"',
            fix="looks like an error page saved by a download; fetch it again",
        )
    for magic, name in _OTHER_KINDS:
        if head.startswith(magic):
            return InputError(
                "E-input-kind",
                f"{path} is {name}; rsov reads GeoTIFF, JPEG, PNG and JPEG 2000",
                fix=f"convert it: gdal_translate {path.name} picture.tif (name the subdataset if several)",
            )
    return InputError(
        "E-input-kind",
        f"{path} is not an image that rsov reads (GeoTIFF, JPEG, PNG, JPEG 2000)",
        where=f"starts with {head[:8]!r}",
        fix="convert it to GeoTIFF",
    )


def _truncated(path: Path, where: str) -> InputError:
    return InputError(
        "E-input-truncated",
        f"{path} is cut off or damaged",
        where=where,
        why="the copy or download did not finish",
        fix="copy it again; compare sha256 with the source",
    )


def _check_tiff(
    path: Path, file: BinaryIO, fingerprint: Fingerprint, options: ReadOptions, notices: Notices
) -> Source:
    try:
        directories = read_directories(file)
    except TiffDamageError as damage:
        raise _truncated(path, f"TIFF header {damage}") from damage
    pages = [d for d in directories if not (d.reduced or d.mask)] or directories[:1]
    subdataset = options.subdataset
    page, target = pages[0], os.path.abspath(path)  # noqa: PTH100 - as above
    if subdataset is not None:
        if not 1 <= subdataset <= len(pages):
            raise UsageError(
                "E-subdataset",
                f"{path.name} has {len(pages)} pages, --subdataset {subdataset} is none of them",
                fix=f"give a number from 1 to {len(pages)}",
            )
        page = pages[subdataset - 1]
        if page is not directories[0]:
            target = f"GTIFF_DIR:{directories.index(page) + 1}:{target}"
    elif len(pages) > 1:
        sizes = ", ".join(f"{n}: {p.width} x {p.height}" for n, p in enumerate(pages[:8], 1))
        notices.warn(
            "W-multipage", f"{path.name} has {len(pages)} pages ({sizes}); the first is read (--subdataset N)"
        )
    _check_size(path, page, options.max_pixels)
    for directory in directories:
        end = directory.data_end
        if end > fingerprint.size:
            row, column, offset = directory.first_block_beyond(fingerprint.size)
            raise _truncated(
                path,
                f"file has {fingerprint.size} bytes, its directory points to data up to byte {end} "
                f"(block row {row}, column {column} at byte {offset}): incomplete copy?",
            )
    check_msk(path)
    return Source(path, "GTiff", target, fingerprint, page, len(pages))


def _check_size(path: Path, page: Directory, max_pixels: int) -> None:
    if page.samples > MAX_BANDS:
        raise InputError(
            "E-input-bands",
            f"{path} claims {page.samples} bands; rsov reads up to {MAX_BANDS}",
            why="a damaged or crafted header, unless it is an imaging spectrometer's",
            fix="copy the bands needed into a file of their own",
        )
    if page.width * page.height > max_pixels:
        raise InputError(
            "E-input-too-large",
            f"{path} claims {page.width} x {page.height} pixels, more than the limit of {max_pixels}",
            fix=f"if that is right: --max-pixels {page.width * page.height}",
        )
