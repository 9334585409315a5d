"""Overviews of class maps: the most frequent label of four, as GDAL's mode where that is one label."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

from rsov.kernels.overview import halve_mean, halve_mode, is_mean, is_mode
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


def saved(folder: Path, labels: np.ndarray, nodata: int = 0) -> Path:
    grid = Grid(labels.shape[1], labels.shape[0], Affine(1, 0, 5e5, 0, -1, 5e6), None)
    with WorkRaster(folder / "labels.tif", grid, str(labels.dtype), nodata=nodata) as work:
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


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (1, 1), (1, 6), (5, 1)])
def test_the_mean_of_the_known_ones_of_four_is_rounded(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(shape[0]).choice(np.array([0, 1, 7, 250, 255], np.uint8), shape)
    found = np.zeros([(n + 1) // 2 for n in shape], np.uint8)
    halve_mean(scores, 255, found)
    assert is_mean(scores, 255, found)
    for y, x in np.ndindex(found.shape):
        rows, columns = (np.minimum([2 * i, 2 * i + 1], n - 1) for i, n in zip((y, x), shape, strict=True))
        known = [int(v) for v in scores[np.ix_(rows, columns)].ravel() if v != 255]
        assert found[y, x] == (int(np.floor(np.mean(known) + 0.5)) if known else 255)


def test_a_mean_is_gdals_where_sizes_are_even(tmp_path: Path) -> None:
    scores = np.random.default_rng(3).choice(np.arange(256, dtype=np.uint8), (600, 560))
    path = saved(tmp_path, scores, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], Resampling.average)
    with rasterio.open(path, overview_level=0) as overview:
        by_gdal = overview.read(1)
    found = np.zeros_like(by_gdal)
    halve_mean(scores, 255, found)
    assert np.array_equal(found, by_gdal)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=4, max_size=4), st.sampled_from([0, 1, 2, 3]))
def test_the_check_of_a_mode_takes_any_label_that_none_outnumbers(four: list[int], shown: int) -> None:
    counts = Counter(value for value in four if value)
    wanted = {value for value in counts if counts[value] == max(counts.values())} or {0}
    labels = np.array(four, np.uint8).reshape(2, 2)
    assert is_mode(labels, np.array([[shown]], np.uint8)) == (shown in wanted)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0, 3, 4, 250, 255]), min_size=4, max_size=4), st.integers(0, 255))
def test_the_check_of_a_mean_takes_what_rounds_to_it(four: list[int], shown: int) -> None:
    known = [value for value in four if value != 255]
    right = shown != 255 and abs(shown - np.mean(known)) <= 0.5 if known else shown == 255
    assert is_mean(np.array(four, np.uint8).reshape(2, 2), 255, np.array([[shown]], np.uint8)) == right


def test_levels_halve_to_one_block_and_do_not_depend_on_the_rows_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.random.default_rng(2).integers(0, 3, (2100, 1301), dtype=np.uint8)
    labels[512:1536, :512] = 0
    path = saved(tmp_path, labels)
    found = []
    for pixels in (overviews.ROWS_PIXELS, 1):
        monkeypatch.setattr(overviews, "ROWS_PIXELS", pixels)
        made = with_overviews(path, "mode", lambda: None)
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
