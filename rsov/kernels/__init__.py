"""Numba kernels: pure functions on arrays that know nothing of files or models."""

from __future__ import annotations

import os


def _is_count(text: str) -> bool:
    try:
        return int(text) > 0
    except ValueError:
        return False


if not _is_count(os.environ.get("NUMBA_NUM_THREADS", "1")):
    # numba does not load with it; the kernels are serial, so it means nothing to them (as a wrong OMP_NUM_THREADS)
    del os.environ["NUMBA_NUM_THREADS"]
