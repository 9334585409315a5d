"""Pictures of plain colours with known places, and a watch over what a call leaves on disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.models import COLOURS
from tests.support.rasters import write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

WORDS = ("forest", "road", "water")
"""Prompts of :func:`quarters`: ids 1, 2, 3; the fourth quarter is sand, none of them."""
ARGS = ("-p", ",".join(WORDS), "--scale", "none")
"""Of `rsov predict`, for :func:`picture`."""


def quarters(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """uint8 (3, h, w): forest, road above; water, sand below."""
    data = np.empty((3, height, width), np.uint8)
    h, w = height // 2, width // 2
    for name, rows, columns in (
        ("forest", slice(0, h), slice(0, w)),
        ("road", slice(0, h), slice(w, None)),
        ("water", slice(h, None), slice(0, w)),
        ("sand", slice(h, None), slice(w, None)),
    ):
        data[:, rows, columns] = np.array(COLOURS[name], np.uint8)[:, None, None]
    return data


def picture(path: Path, height: int = 96, width: int = 128, **options: Any) -> Path:
    """The four quarters as a GeoTIFF of half metres in UTM 32 N."""
    from affine import Affine

    options.setdefault("transform", Affine(0.5, 0, 400_000, 0, -0.5, 5_700_000))
    return write(path, quarters(height, width), **options)


class Watch:
    """Files under some folders before and after a call (robustness T9)."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._before = self._look()

    def _look(self) -> dict[Path, tuple[str, int]]:
        found = {}
        for folder in self._folders:
            for path in [folder, *folder.rglob("*")]:
                whole = path.is_file()
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if whole else "not a file"
                found[path] = (digest, path.lstat().st_mtime_ns if whole else 0)
        return found

    def new(self) -> set[str]:
        """Names of files that were not there; what was there must be as it was."""
        after = self._look()
        for path, state in self._before.items():
            assert after.get(path) == state, f"{path} changed or went"
        return {path.name for path in set(after) - set(self._before)}

    def unchanged(self, allowed: Iterable[str] = ()) -> None:
        """Nothing came, went or changed but ``allowed``."""
        assert self.new() == set(allowed)
