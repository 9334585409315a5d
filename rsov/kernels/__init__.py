"""Numba kernels: pure functions on arrays that know nothing of files or models."""

from __future__ import annotations

import os


def _is_count(text: str) -> bool:
    try:
        return int(text) > 0
    except ValueError:
        return False


if not _is_count(os.environ.get("NUMBA_NUM_THREADS", "1")):
    # numba would not load; to serial kernels the number means nothing, like a wrong OMP_NUM_THREADS to torch
    del os.environ["NUMBA_NUM_THREADS"]
