"""Decode an untrusted picture once in a child process: a decoder that crashes takes only the child with it.

``python -m rsov.raster.preflight_isolate PATH PAGE MAX_PIXELS ON_BAD_BLOCK`` is that child.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import InputError, RsovError

if TYPE_CHECKING:
    from rsov.raster.preflight import Source
    from rsov.raster.scene_options import ReadOptions

_FAULT = 3
_PR_SET_PDEATHSIG = 1
_START_S, _UNITS_PER_S = 60.0, 1e6
"""Seconds for the start, and bytes or pixels decoded in a second: the slowest codecs (JPEG 2000, LERC) do ten
times as many. Without a limit a file could keep a decoder busy for ever."""


def decode_apart(source: Source, options: ReadOptions) -> None:
    """Decode every block of the picture in a child process.

    Raises:
        InputError: the child crashed, took too long, or found a block that cannot be decoded and is not to be
            taken for nodata.
    """
    command = [
        sys.executable,
        "-P",  # or a folder `rsov` in the current one would be run
        "-m",
        "rsov.raster.preflight_isolate",
        str(source.path.absolute()),
        str(options.subdataset or 0),
        str(options.max_pixels),
        options.on_bad_block,
    ]
    limit = time_limit(source)
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter, a list, no shell
            command, capture_output=True, text=True, errors="replace", check=False, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            "E-input-slow",
            f"{source.path} was not decoded within {limit:.0f} s",
            why="a hostile file, or a very busy machine",
            fix="if the file can be trusted, leave out --isolate",
        ) from None
    if child.returncode < 0:
        raise InputError(
            "E-input-crash",
            f"{source.path} makes the decoder crash (signal {-child.returncode})",
            why="a damaged or hostile file",
            fix="do not open it with other programs; ask for it again",
        )
    if child.returncode != 0:
        raise InputError(
            "E-input-block",
            f"{source.path} cannot be decoded",
            where=child.stderr.strip()[-400:],
            fix="copy it again, or --on-bad-block nodata marks the place as no data",
        )


def time_limit(source: Source) -> float:
    """Seconds that the child may take, by the size of the files and of the picture."""
    size = source.fingerprint.size + sum(path.stat().st_size for path in source.sources)
    pixels = source.directory.width * source.directory.height if source.directory is not None else 0
    return _START_S + max(size, pixels) / _UNITS_PER_S


def end_with_parent() -> None:
    """Have this process killed when the thread that started it ends: nobody would end a decoder then."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Decode all blocks; 0 when that worked, or those that did not are to become nodata."""
    end_with_parent()
    from rsov.raster.preflight import check_source
    from rsov.raster.scene_options import ReadOptions
    from rsov.raster.scene_view import View, deepest, gdal_errors
    from rsov.types import Notices

    path, page, max_pixels = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    passed: tuple[type[Exception], ...] = gdal_errors() if arguments[3] == "nodata" else ()
    try:
        options = ReadOptions(subdataset=page or None, allow_vrt=True, max_pixels=max_pixels)
        source = check_source(path, options, Notices())
        with View(source).open() as ds:
            for _, window in ds.block_windows(1):
                for decode in (ds.read, ds.dataset_mask):
                    with contextlib.suppress(*passed):
                        decode(window=window)
    except RsovError as error:
        sys.stderr.write(str(error))
        return _FAULT
    except gdal_errors() as error:
        sys.stderr.write(deepest(error))
        return _FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
