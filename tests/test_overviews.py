"""Overviews of class maps: the most frequent label of four, as GDAL's mode where that is one label."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from rsov.kernels.overview import halve_mode
from rsov.raster import overviews
from rsov.raster.overviews import with_overviews
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid, Window

if TYPE_CHECKING:
    from pathlib import Path


def halved(labels: np.ndarray) -> np.ndarray:
    result = np.zeros([(n + 1) // 2 for n in labels.shape], labels.dtype)
    halve_mode(labels, result)
    return result


def saved(folder: Path, labels: np.ndarray) -> Path:
    grid = Grid(labels.shape[1], labels.shape[0], Affine(1, 0, 5e5, 0, -1, 5e6), None)
    with WorkRaster(folder / "labels.tif", grid, str(labels.dtype)) as work:
        work.write(Window(0, 0, grid.width, grid.height), labels)
    return work.path


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (1, 1), (1, 6), (5, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_most_frequent_known_label_of_four_wins(shape: tuple[int, int], dtype: str) -> None:
    labels = np.random.default_rng(shape[0]).choice(np.array([0, 1, 2, 255], dtype), shape)
    found = halved(labels)
    for y, x in np.ndindex(found.shape):
        rows, columns = (np.minimum([2 * i, 2 * i + 1], n - 1) for i, n in zip((y, x), shape, strict=True))
        known = [int(v) for v in labels[np.ix_(rows, columns)].ravel() if v]
        wanted = Counter(known).most_common(1)[0][0] if known else 0  # the first of equals
        assert found[y, x] == wanted


def test_it_is_gdals_mode_where_one_label_is_most_frequent(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(1, 4, (300, 280), dtype=np.uint8)
    path = saved(tmp_path, labels)
    found = halved(labels)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], Resampling.mode)
    with rasterio.open(path, overview_level=0) as overview:
        by_gdal = overview.read(1)
    four = np.stack([labels[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    counts = np.sort([(four == value).sum(0) for value in (1, 2, 3)], axis=0)
    clear = counts[-1] > counts[-2]
    assert clear.mean() > 0.5
    assert np.array_equal(found[clear], by_gdal[clear])


def test_levels_halve_to_one_block_and_do_not_depend_on_the_rows_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.random.default_rng(2).integers(0, 3, (2100, 1301), dtype=np.uint8)
    labels[512:1536, :512] = 0
    path = saved(tmp_path, labels)
    found = []
    for pixels in (overviews.ROWS_PIXELS, 1):
        monkeypatch.setattr(overviews, "ROWS_PIXELS", pixels)
        made = with_overviews(path)
        virtual = made[-1]
        with rasterio.open(virtual) as dataset:
            assert dataset.overviews(1) == [2, 4, 8]
            assert np.array_equal(dataset.read(1), labels)
        levels = []
        for level in range(3):
            with rasterio.open(virtual, overview_level=level) as overview:
                levels.append(overview.read(1))
        found.append(levels)
        for each in made:
            each.unlink()
    finer = labels
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, halved(finer))
        assert np.array_equal(one, other)
        finer = one
    assert list(tmp_path.iterdir()) == [path]
