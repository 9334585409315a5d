"""What stops a file from being written, as an error that says the cause, the place and the room left."""

from __future__ import annotations

import contextlib
import errno
import shutil
from typing import TYPE_CHECKING

from rsov.errors import OutputError, RsovError, root_cause
from rsov.term import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAKE_ROOM = "make room, or choose another folder with -o"
_MOVE = "choose another folder with -o"

_REASONS: dict[int, tuple[str, str, str]] = {
    errno.ENOSPC: ("E-output-full", "the disk is full", _MAKE_ROOM),
    errno.EDQUOT: ("E-output-quota", "your disk quota is used up", _MAKE_ROOM),
    errno.EFBIG: (
        "E-output-limit",
        "the file may not become larger",
        f"raise the limit (ulimit -f), or {_MOVE}",
    ),
    errno.EIO: ("E-output-io", "the device reports an error", "check the disk or the network share"),
    errno.EROFS: ("E-output-readonly", "the file system is read-only", _MOVE),
    errno.EACCES: (
        "E-output-denied",
        "no permission to write there",
        f"change the permissions, close programs that hold the file, or {_MOVE}",
    ),
    errno.EPERM: ("E-output-denied", "no permission to write there", f"change the permissions, or {_MOVE}"),
    errno.EXDEV: ("E-output-device", "the folder spans two file systems", _MOVE),
    errno.ESTALE: ("E-output-stale", "the network share went away", "run the same command again"),
    errno.ENAMETOOLONG: ("E-output-name", "the name is too long", "choose a shorter name with -o"),
}
_UNKNOWN = ("E-output-write", "the file cannot be written", "see the cause, then run the same command again")

_LIBRARIES = {"rasterio", "fiona", "sqlite3"}

NEARLY_FULL = 1 << 20
"""GDAL does not pass on the system's error number; with less than this free the disk is the cause."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn faults of the system, GDAL and SQLite while ``path`` is written into an :class:`OutputError`.

    Args:
        path: the output as the user knows it.
    """
    try:
        yield
    except RsovError:
        raise
    except OSError as error:
        raise output_error(error, path) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _LIBRARIES:
            raise
        raise output_error(error, path) from error


def output_error(error: BaseException, path: Path) -> OutputError:
    """The error for a fault that hit the writing of ``path``."""
    number = error.errno if isinstance(error, OSError) else None
    free, limit = _free_bytes(path), _size_limit()
    if number is None and free is not None and free < NEARLY_FULL:
        number = errno.ENOSPC
    elif number is None and limit is not None and 2 * _largest_written(path) + NEARLY_FULL > limit:
        number = errno.EFBIG
    name, what, fix = _REASONS.get(number or 0, _UNKNOWN)
    why = [root_cause(error)]
    if number == errno.EFBIG and limit is not None:
        why = [f"no file of this process may be larger than {limit:,} bytes"]
    elif free is not None and number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        why.append(f"{size_text(free)} free")
    return OutputError(
        name, f"cannot write {path.name}: {what}", where=str(path), why=", ".join(why), fix=fix
    )


def _free_bytes(path: Path) -> int | None:
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def _size_limit() -> int | None:
    """Bytes that a file of this process may have (``ulimit -f``); None if there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _largest_written(path: Path) -> int:
    """Bytes of the largest file in the private folder of the run that writes ``path``.

    GDAL removes a copy that failed; the work file that it was made of is about as large.
    """
    inside = [folder for folder in path.parents if folder.suffix == ".part"]
    sizes = [0]
    for folder in inside[:1] or path.parent.glob(".*.part"):
        for file in folder.rglob("*"):
            with contextlib.suppress(OSError):
                sizes.append(file.stat().st_size)
    return max(sizes)
