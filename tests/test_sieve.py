"""Small regions go to their largest neighbour, as GDAL's sieve over the whole raster says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import sieve as oracle

from rsov.errors import OutputError
from rsov.raster import sieve as module
from rsov.raster.sieve import sieve
from rsov.raster.workfile import WorkRaster
from rsov.types import Grid

if TYPE_CHECKING:
    from pathlib import Path


def sieved(folder: Path, labels: np.ndarray, size: int) -> np.ndarray:
    grid = Grid(labels.shape[1], labels.shape[0], Affine(0.1, 0, 5e5, 0, -0.1, 5e6), CRS.from_epsg(32632))
    with WorkRaster(folder / "work.tif", grid, str(labels.dtype)) as work:
        work.write(grid.window, labels)
    sieve(folder / "work.tif", folder / "sieved.tif", size)
    with rasterio.open(folder / "sieved.tif") as dataset:
        assert dataset.transform == grid.transform
        assert dataset.nodata == 0
        return dataset.read(1)


def noisy(dtype: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    none = np.iinfo(dtype).max
    cells = rng.choice(
        [0, 1, 2, 3, none], size=(shape[0] // 16 + 1, shape[1] // 16 + 1), p=[0.15, 0.3, 0.3, 0.15, 0.1]
    )
    labels = np.kron(cells, np.ones((16, 16), int))[: shape[0], : shape[1]]
    speckle = rng.random(shape) < 0.2
    labels[speckle] = rng.choice([0, 1, 2, 3, none], size=int(speckle.sum()))
    return labels.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("shape", "size"), [((700, 1100), 2), ((700, 1100), 40), ((513, 511), 1000), ((40, 30), 10**6)]
)
def test_equal_to_gdals_sieve_of_the_whole_array(
    tmp_path: Path, dtype: str, shape: tuple[int, int], size: int
) -> None:
    labels = noisy(dtype, shape, size)
    expected = oracle(labels, min(size, labels.size), mask=labels != 0, connectivity=4)
    result = sieved(tmp_path, labels, size)
    assert np.array_equal(result, expected)
    assert size > 1000 or not np.array_equal(result, labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sieved.tif", "work.tif"]


def test_unknown_pixels_neither_give_nor_take(tmp_path: Path) -> None:
    labels = np.ones((20, 20), np.uint8)
    labels[5, 5] = 0  # a hole in the data stays
    labels[0:3, 0:3] = 0
    labels[1, 1] = 2  # a small region with no neighbour but the unknown stays
    labels[10, 10] = 3  # a small region in a class goes
    result = sieved(tmp_path, labels, 4)
    assert np.array_equal(result == 0, labels == 0)
    assert result[1, 1] == 2
    assert result[10, 10] == 1


def test_none_of_them_takes_part_as_a_class(tmp_path: Path) -> None:
    labels = np.full((20, 20), 255, np.uint8)
    labels[4, 4] = 1
    labels[10:20] = 1
    labels[15, 15] = 255
    result = sieved(tmp_path, labels, 3)
    assert result[4, 4] == 255
    assert result[15, 15] == 1


def test_a_sieve_that_loses_pixels_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_sieve_bands", lambda *args: None)
    with pytest.raises(OutputError) as caught:
        sieved(tmp_path, np.ones((30, 30), np.uint8), 3)
    assert caught.value.id == "E-output-damaged"
