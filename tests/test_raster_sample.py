"""What the radiometry is estimated from, where data are hard to find: a few blocks of a large picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window as Place

from rsov.types import Notices
from tests.support.rasters import UTM, ids, scene, write

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 20_000
PLACES = ((10, 30), (41, 9), (60, 71))
"""Blocks of 256 (column, row) that hold data; the lattices of windows meet none or one of them."""


def nearly_empty(path: Path, data: np.ndarray, side: int = SIDE, **options: Any) -> Path:
    """A tiled 16-bit picture with data (3, 256, 256) in three blocks only."""
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "LZW"} | options
    if not layout["tiled"]:
        del layout["blockxsize"]
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint16", crs="EPSG:32632", transform=UTM,
        photometric="RGB", interleave="pixel", **layout,
    ) as out:  # fmt: skip
        for n, (column, row) in enumerate(PLACES):
            if row * 256 < side > column * 256:
                out.write(data + n * 1000, window=Place(column * 256, row * 256, 256, 256))
    return path


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(1000, 2000, (3, 256, 256)).astype(np.uint16)


@pytest.mark.parametrize("nodata", [0, None])
def test_the_radiometry_is_that_of_the_few_blocks_that_a_sparse_file_has(
    tmp_path: Path, noise: np.ndarray, nodata: int | None
) -> None:
    path = nearly_empty(tmp_path / "a.tif", noise, sparse_ok=True, nodata=nodata)
    notices = Notices()
    opened = scene(path, notices, scale="auto")
    everything = np.concatenate([noise, noise + 1000, noise + 2000])
    expected = np.percentile(everything, [0.5, 99.5], method="inverted_cdf")
    assert (opened.radiometry.lo[0], opened.radiometry.hi[0]) == tuple(expected)
    assert ids(notices) == ([] if nodata == 0 else ["W-nodata-undeclared"]), (
        "blocks left out are black picture"
    )
    assert scene(path, scale="auto", nodata=(0.0,)).radiometry == opened.radiometry


@pytest.mark.parametrize("layout", ["tiles", "strips"])
def test_the_radiometry_is_that_of_the_few_blocks_that_are_not_nodata(
    tmp_path: Path, noise: np.ndarray, layout: str
) -> None:
    """No block is left out, but those of one colour are stored in few bytes."""
    options = {"nodata": 0, "compress": "ZSTD", "zstd_level": 1}
    if layout == "tiles":
        path = nearly_empty(tmp_path / "a.tif", noise, side=11_500, **options)
    else:
        path = nearly_empty(tmp_path / "a.tif", noise, side=8_200, tiled=False, blockysize=8, **options)
    notices = Notices()
    radiometry = scene(path, notices, scale="auto").radiometry
    everything = [noise, noise + 1000] if layout == "tiles" else [noise]
    expected = np.percentile(np.concatenate(everything), [0.5, 99.5], method="inverted_cdf")
    assert (radiometry.lo[0], radiometry.hi[0]) == pytest.approx(tuple(expected), abs=8)
    assert ids(notices) == []


def test_a_block_partly_without_data_gives_no_black(tmp_path: Path, noise: np.ndarray) -> None:
    """Windows of the sample are wider than these blocks: parts that are left out are no picture."""
    path = nearly_empty(
        tmp_path / "a.tif", noise, side=11_500, sparse_ok=True, nodata=None, blockxsize=64, blockysize=64
    )
    assert scene(path, scale="auto").radiometry.lo[0] >= 1000


def test_a_picture_has_one_radiometry_on_every_grid(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(1, 4000, (3, 300, 300)).astype(np.uint16)
    path = write(tmp_path / "a.tif", data, nodata=0)
    own = scene(path, scale="auto").radiometry
    assert scene(path, scale="auto", dst_crs="EPSG:4326").radiometry == own
    assert scene(path, scale="auto", dst_crs="EPSG:3035").radiometry == own
