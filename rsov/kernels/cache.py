"""Numba's cache on disk: whether kernels are there already, or the first map compiles them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numba


def kernels_kept() -> bool:
    """Whether an earlier process left compiled kernels; the one of the blending stands for all of them.

    numba names them ``module.function-line.python.nbi``, in a folder of its cache or beside the module.
    """
    source = Path(__file__).with_name("blend.py")
    folder = Path(numba.config.CACHE_DIR or source.with_name("__pycache__"))
    with contextlib.suppress(FileNotFoundError):  # another process renews it just now
        times = (index.stat().st_mtime for index in folder.rglob("blend.add_tile-*.nbi"))
        return any(time >= source.stat().st_mtime for time in times)
    return False
