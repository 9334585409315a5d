"""Decoded pictures on disk, at the native GSD and halved levels, read as memory maps by the loaders."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsov.datasets.pictures import joint_percentiles, read_picture
from rsov.datasets.sets import IGNORE, DataSet, PictureRef
from rsov.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

COARSEST_GSD = 0.7  # levels are halved while the next one is at most this coarse
_SEEDS_PER_CLASS = 2000  # remembered pixel places of each class of a picture
_LABEL_VALUES = 256
_VERSION = 1


@dataclass(frozen=True)
class CachedPicture:
    """Files of one picture: `level{i}.npy` [H, W, 3], `label.npy` [H, W], `seeds.npy` [N, 3]."""

    folder: str
    gsd: float
    height: int
    width: int
    levels: int
    low: float
    high: float
    counts: dict[str, int]

    def level(self, index: int) -> NDArray[np.uint8]:
        """The picture halved `index` times, as a memory map."""
        data: NDArray[np.uint8] = np.load(Path(self.folder) / f"level{index}.npy", mmap_mode="r")
        return data

    def label(self) -> NDArray[np.uint8]:
        """The labels at the native GSD, as a memory map."""
        data: NDArray[np.uint8] = np.load(Path(self.folder) / "label.npy", mmap_mode="r")
        return data

    def seeds(self) -> NDArray[np.int32]:
        """Places of labelled pixels, [N, 3] int32: class, row, column."""
        data: NDArray[np.int32] = np.load(Path(self.folder) / "seeds.npy")
        return data


def halve(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    blocks = rgb[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    means: NDArray[np.uint8] = ((blocks.sum((1, 3), dtype=np.uint16) + 2) // 4).astype(np.uint8)
    return means


def _seeds(label: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int32]:
    rows = []
    for value in np.unique(label):
        if value == IGNORE:
            continue
        flat = np.flatnonzero(label == value)
        if flat.size > _SEEDS_PER_CLASS:
            flat = rng.choice(flat, _SEEDS_PER_CLASS, replace=False)
        place = np.stack(np.unravel_index(flat, label.shape), 1)
        rows.append(np.concatenate([np.full((len(place), 1), value), place], 1))
    return np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 3), np.int32)


def cache_picture(ref: PictureRef, folder: Path) -> CachedPicture:
    """Decode one picture into `folder`, or take what lies there; `done.json` is written last."""
    done = folder / "done.json"
    stamp = [_VERSION, ref.gsd, ref.image.stat().st_size, ref.label.stat().st_size]
    if done.is_file():
        record = json.loads(done.read_text(encoding="utf-8"))
        if record["stamp"] == stamp:
            return CachedPicture(**record["picture"])
    folder.mkdir(parents=True, exist_ok=True)
    rgb, valid, label = read_picture(ref)
    low, high = joint_percentiles(rgb, valid)
    level, levels = rgb, 0
    while True:
        np.save(folder / f"level{levels}.npy", level)
        levels += 1
        if ref.gsd * 2**levels > COARSEST_GSD or min(level.shape[:2]) < 64:
            break
        level = halve(level)
    np.save(folder / "label.npy", label)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(ref.name.encode()).digest()[:8], "little"))
    np.save(folder / "seeds.npy", _seeds(label, rng))
    counts = np.bincount(label.ravel(), minlength=_LABEL_VALUES)
    picture = CachedPicture(
        folder=str(folder),
        gsd=ref.gsd,
        height=rgb.shape[0],
        width=rgb.shape[1],
        levels=levels,
        low=low,
        high=high,
        counts={str(i): int(n) for i, n in enumerate(counts) if n and i != IGNORE},
    )
    part = done.with_suffix(".part")
    part.write_text(json.dumps({"stamp": stamp, "picture": asdict(picture)}), encoding="utf-8")
    part.replace(done)
    return picture


def cache_set(
    dataset: DataSet,
    refs: Sequence[PictureRef],
    folder: Path,
    report: Callable[[str], None] = lambda _: None,
) -> list[CachedPicture]:
    """Cache pictures of a set; those without a labelled pixel are left out.

    Raises:
        InputError: a label holds a class that the set does not name.
    """
    named = {str(item.id) for item in dataset.classes}
    pictures = []
    for ref in refs:
        picture = cache_picture(ref, folder / dataset.name / Path(ref.name).stem)
        unknown = sorted(set(picture.counts) - named)
        if unknown:
            raise InputError(
                "E-dataset-label",
                f"a label holds the class {unknown[0]}, which the data set does not name",
                where=str(ref.label),
                fix="name it in dataset.toml, or set these pixels to 255",
            )
        pictures.append(picture)
    report(f"{dataset.name}: {len(pictures)} pictures")
    return [picture for picture in pictures if picture.counts]
