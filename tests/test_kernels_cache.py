"""Whether compiled kernels of an earlier process are there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rsov.kernels.cache import kernels_kept

ROOT = Path(__file__).resolve().parent.parent


def test_kernels_count_as_compiled_by_the_file_that_numba_leaves(tmp_path, monkeypatch):
    code = (
        "import numpy as np; from rsov.kernels.cache import kernels_kept\n"
        "from rsov.kernels.blend import add_tile\n"
        "print(kernels_kept())\n"
        "sums = np.zeros((2, 4, 4), np.float32)\n"
        "add_tile(sums, sums[0], sums, sums[0, 0], sums[0, 0], 0, 0)\n"
        "print(kernels_kept())"
    )
    environ = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = subprocess.check_output([sys.executable, "-c", code], env=environ, cwd=ROOT, text=True)
    assert said.split() == ["False", "True"]
    os.utime(next(tmp_path.rglob("*.nbi")), (0, 0))  # older than the source: numba compiles anew
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    assert not kernels_kept()
