"""How a thread gets its own handle on the picture: the file as it is, or a warped view of it."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from affine import Affine

from rsov.errors import InputError, ResourceError, RsovError
from rsov.raster.env import forbidden_drivers
from rsov.raster.longitudes import source_plane
from rsov.raster.preflight import Fingerprint, Source, unreadable
from rsov.types import Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

_EXIF_AFFINES: dict[int, Callable[[int, int], Affine]] = {
    2: lambda w, _: Affine(-1, 0, w, 0, 1, 0),
    3: lambda w, h: Affine(-1, 0, w, 0, -1, h),
    4: lambda _, h: Affine(1, 0, 0, 0, -1, h),
    5: lambda *_: Affine(0, 1, 0, 1, 0, 0),
    6: lambda _, h: Affine(0, -1, h, 1, 0, 0),
    7: lambda w, h: Affine(0, -1, h, -1, 0, w),
    8: lambda w, _: Affine(0, 1, 0, -1, 0, w),
}
"""Stored pixel corners to upright ones, by EXIF orientation (EXIF 2.3, 4.6.4)."""


@dataclass(frozen=True)
class Warp:
    """A view on another grid at native resolution: bilinear, nearest for colour numbers, or an exact turn."""

    grid: Grid
    source_crs: CRS
    source_transform: Affine | None
    """None: the control points of the file."""
    nodata: float | None = None
    unified: str = "YES"
    exact: bool = False
    nearest: bool = False
    add_alpha: bool = True


@dataclass(frozen=True)
class View:
    """A picture that any thread can open for itself."""

    source: Source
    warp: Warp | None = None

    def warped(self, warp: Warp) -> View:
        """The same file seen on another grid."""
        return replace(self, warp=warp)

    @contextmanager
    def open(self) -> Iterator[DatasetReader]:
        """A handle for one thread; raises :class:`InputError` if the file is not the one that was checked."""
        with _opened(self.source) as ds:
            if self.warp is None:
                yield ds
                return
            with closing(_warped(ds, self.warp)) as view:
                yield view


@contextmanager
def _opened(source: Source) -> Iterator[DatasetReader]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    settings = {} if _sidecars_are_safe() else {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # said once, as W-no-gsd
    with undecodable(source.target) as target:
        try:
            # rasterio's environments belong to a thread, and another one may close the handle.
            with rasterio.Env(**settings):
                ds = rasterio.open(target, driver=source.driver)
        except gdal_errors() as error:
            raise open_error(source, error) from error
        with closing(ds):
            if Fingerprint.of(source.path.stat()) != source.fingerprint:
                raise changed_error(source, "it was replaced or changed after it was checked")
            yield ds


@contextmanager
def undecodable(target: str) -> Iterator[str]:
    """A name for GDAL (UTF-8) of a file whose own name is not UTF-8: its open descriptor."""
    try:
        target.encode("utf-8")
    except UnicodeEncodeError:
        if not sys.platform.startswith("linux"):
            raise InputError(
                "E-input-name", f"{target} has a name that is not UTF-8", fix="rename the file"
            ) from None
        descriptor = os.open(target, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        yield target


@lru_cache(maxsize=1)
def _sidecars_are_safe() -> bool:
    """GDAL opens files beside a picture with any driver it has: not with those that rsov forbids."""
    return not forbidden_drivers()


def _warped(ds: DatasetReader, warp: Warp) -> Any:
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    options: dict[str, Any] = {
        "crs": warp.grid.crs,
        "src_crs": source_plane(ds, warp.source_crs, warp.source_transform, warp.grid.crs),
        "resampling": Resampling.nearest if warp.nearest else Resampling.bilinear,
    }
    if (
        warp.source_transform is not None
    ):  # with control points rasterio takes no grid but the one GDAL suggests
        options |= {
            "src_transform": warp.source_transform,
            "transform": warp.grid.transform,
            "width": warp.grid.width,
            "height": warp.grid.height,
        }
    if warp.add_alpha:
        options["add_alpha"] = True
    if warp.nodata is not None:
        options |= {"src_nodata": warp.nodata, "UNIFIED_SRC_NODATA": warp.unified}
    return WarpedVRT(ds, **options)


@lru_cache(maxsize=1)
def gdal_errors() -> tuple[type[Exception], ...]:
    """What rasterio raises for GDAL's faults; now and then GDAL's own, from an earlier call, come through."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    return RasterioError, CPLE_BaseError, OSError, ValueError, MemoryError, OverflowError


def upright(orientation: int, width: int, height: int, crs: CRS) -> Warp:
    """The view that turns a picture upright; ``crs`` is any CRS, only to tell GDAL that both sides agree."""
    turned = (height, width) if orientation >= 5 else (width, height)
    grid = Grid(*turned, Affine.identity(), crs)
    affine = _EXIF_AFFINES[orientation](width, height)
    return Warp(grid, crs, affine, exact=True, nearest=True, add_alpha=False)


def system_fault(source: Source, error: BaseException) -> RsovError | None:
    """What ails the system or the file as a whole when GDAL cannot read; None if the place read is damaged.

    GDAL does not pass on the system's error numbers, so the file is opened once more: out of handles, a lost
    share, a removed file show then. ``EIO`` alone is a bad sector, which is damage.
    """
    try:
        with source.path.open("rb") as file:
            file.read(1)
            now = Fingerprint.of(os.fstat(file.fileno()))
    except OSError as fault:
        removed = isinstance(fault, FileNotFoundError)
        return changed_error(source, "it was removed") if removed else unreadable(source.path, fault)
    if now != source.fingerprint:
        return changed_error(source, f"{source.fingerprint.size} bytes at the start, {now.size} now")
    if is_memory(error):
        return memory_error(source, error)
    if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
        return unreadable(source.path, error)
    return None


def deepest(error: BaseException) -> str:
    """GDAL's own words: the message at the bottom of a chain of exceptions."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None or isinstance(inner, RsovError):
            return str(error) or type(error).__name__
        error = inner


def open_error(source: Source, error: BaseException) -> RsovError:
    """Why GDAL did not open a file that passed the checks."""
    if (fault := system_fault(source, error)) is not None:
        return fault
    if source.directory is not None and source.directory.compression not in (1, 5, 7, 8, 32773, 32946):
        return codec_error(source, error)
    return InputError(
        "E-input-open",
        f"{source.path} cannot be opened as {source.driver}",
        where=deepest(error),
        why="the file is damaged, or of a sort that this GDAL does not know",
        fix="copy it again, or convert it with another program",
    )


def codec_error(source: Source, error: BaseException) -> InputError:
    """A compression that this GDAL may lack."""
    return InputError(
        "E-input-codec",
        f"{source.path} is compressed with {source.codec}, which this GDAL cannot decode here",
        where=deepest(error),
        fix=f"convert it: gdal_translate -co COMPRESS=DEFLATE -co TILED=YES {source.path.name} picture.tif",
    )


def changed_error(source: Source, what: str) -> InputError:
    """The input is not what it was at the start."""
    return InputError(
        "E-input-changed",
        f"{source.path} changed while it was read",
        why=what,
        fix="wait until it is complete, then run the same command again",
    )


def is_memory(error: BaseException) -> bool:
    """Whether a chain of exceptions ends in a lack of memory."""
    link: BaseException | None = error
    while link is not None:
        text = str(link).lower()
        if (
            isinstance(link, MemoryError)
            or "out of memory" in text
            or "cannot allocate" in text
            or "malloc" in text
        ):
            return True
        link = link.__cause__ or link.__context__
    return False


def memory_error(source: Source, error: BaseException) -> ResourceError:
    """Memory ran out while reading."""
    return ResourceError(
        "E-memory-reading",
        f"memory ran out while {source.path} was read",
        where=deepest(error),
        fix="smaller tiles (--tile), fewer threads (--jobs), or more memory",
    )
