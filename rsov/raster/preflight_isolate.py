"""Decode an untrusted picture once in a child process: a decoder that crashes takes only the child with it.

``python -m rsov.raster.preflight_isolate PATH PAGE`` is that child.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.errors import InputError, RsovError

if TYPE_CHECKING:
    from rsov.raster.preflight import Source

_FAULT = 3


def decode_apart(source: Source, subdataset: int | None) -> None:
    """Decode every block of the picture in a child process.

    Raises:
        InputError: the child crashed, or found a block that cannot be decoded.
    """
    command = [
        sys.executable,
        "-m",
        "rsov.raster.preflight_isolate",
        str(source.path.absolute()),
        str(subdataset or 0),
    ]
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
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
            fix="copy it again",
        )


def main(arguments: list[str]) -> int:
    """Decode all blocks; 0 when that worked."""
    from rsov.raster.preflight import check_source
    from rsov.raster.scene_view import View, deepest, gdal_errors
    from rsov.types import Notices

    path, page = Path(arguments[0]), int(arguments[1])
    try:
        source = check_source(path, Notices(), subdataset=page or None, allow_vrt=True)
        with View(source).open() as ds:
            for _, window in ds.block_windows(1):
                ds.read(window=window)
                ds.dataset_mask(window=window)
    except RsovError as error:
        sys.stderr.write(str(error))
        return _FAULT
    except gdal_errors() as error:
        sys.stderr.write(deepest(error))
        return _FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
