"""Raster zoo: the grid that the model sees, finer or coarser than the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import block_reduce

from rsov.raster.workgrid import choose_scale, work_grid
from rsov.types import Notices, Window
from tests.support.rasters import ids, read, scene, texture, valid, write

if TYPE_CHECKING:
    from pathlib import Path


def average(data: np.ndarray, factor: int) -> np.ndarray:
    """scikit-image's mean over blocks."""
    return block_reduce(data.astype(np.float64), (1, factor, factor), np.mean)


def test_finer_pictures_are_area_averaged_from_full_resolution(tmp_path: Path) -> None:
    data = texture(600, 640)
    path = write(
        tmp_path / "a.tif",
        data,
        transform=Affine(0.1, 0, 500_000, 0, -0.1, 5_600_000),
        tiled=True,
        blockxsize=128,
        blockysize=128,
    )
    opened = scene(path)
    assert (opened.work.scale_x, opened.work.scale_y) == (5.0, 5.0)
    pixels = read(path)
    assert pixels.data.shape == (3, 120, 128)
    assert np.abs(pixels.data - average(data, 5)).max() <= 0.51


def test_area_average_counts_only_valid_pixels(tmp_path: Path) -> None:
    data = np.full((3, 40, 40), 200, np.uint8)
    data[:, :, :7] = 0
    path = write(tmp_path / "a.tif", data, nodata=0, transform=Affine(0.1, 0, 500_000, 0, -0.1, 5_600_000))
    pixels = read(path)
    assert pixels.valid[0].tolist() == [False, True, *[True] * 6]
    assert (pixels.data[:, :, 1:] == 200).all()
    assert valid(path).sum() == 33 * 40, "the output keeps the resolution of the input"


def test_area_average_with_a_broken_factor_keeps_the_mean(tmp_path: Path) -> None:
    data = texture(300, 300)
    path = write(tmp_path / "a.tif", data, transform=Affine(0.23, 0, 500_000, 0, -0.23, 5_600_000))
    opened = scene(path)
    assert opened.work.scale_x == pytest.approx(0.5 / 0.23, rel=1e-3)
    pixels = read(path)
    assert abs(pixels.data.shape[1] - 300 * 0.23 / 0.5) <= 1
    assert pixels.data.mean() == pytest.approx(data.mean(), abs=0.5)


def test_coarser_pictures_are_enlarged_bilinearly(tmp_path: Path) -> None:
    ramp = np.broadcast_to((np.arange(50) * 4 + 20).astype(np.uint8), (3, 30, 50)).copy()
    path = write(tmp_path / "a.tif", ramp, transform=Affine(2, 0, 500_000, 0, -2, 5_600_000))
    notices = Notices()
    opened = scene(path, notices)
    assert (opened.work.scale_x, opened.work.scale_y) == (0.5, 0.5)
    assert ids(notices) == []
    row = read(path).data[0, 5].astype(float)
    expected = np.interp((np.arange(100) + 0.5) / 2 - 0.5, np.arange(50), ramp[0, 0])
    assert np.abs(row - expected).max() <= 0.51


def test_enlarging_does_not_mix_in_nodata(tmp_path: Path) -> None:
    data = np.full((3, 20, 20), 90, np.uint8)
    data[:, :, :10] = 255
    pixels = read(
        write(tmp_path / "a.tif", data, nodata=255, transform=Affine(4, 0, 500_000, 0, -4, 5_600_000))
    )
    assert set(np.unique(pixels.data[:, pixels.valid])) == {90}
    assert pixels.valid.mean() == 0.5


def test_gsd_rule() -> None:
    def scale(gsd: float, work: float | None = None) -> tuple[float, list[str]]:
        notices = Notices()
        return choose_scale((gsd, gsd), 0.5, (0.25, 1.0), work, notices)[0], ids(notices)

    assert scale(0.5) == (1.0, [])
    assert scale(0.3) == (1.0, [])
    assert scale(0.2499) == (1.0, [])
    assert scale(0.9) == (1.0, [])
    assert scale(0.1) == (5.0, [])
    assert scale(2.0) == (0.5, [])
    assert scale(3.0) == (1 / 3, ["W-coarse-gsd"])
    assert scale(10.0) == (0.25, ["W-coarse-gsd"])
    assert scale(0.5, 1.0) == (2.0, [])
    assert scale(1000.0, 0.5) == (0.25, ["W-work-gsd"])
    assert choose_scale(None, 0.5, (0.25, 1.0), None, Notices()) == (1.0, 1.0)


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0.25, 40), st.integers(5, 700))
def test_work_windows_own_every_source_pixel_once(size: int, scale: float, step: int) -> None:
    work = work_grid(size, size, (scale, scale))
    edges = [0]
    for start in range(0, work.width, step):
        owned = work.owned(Window(start, 0, min(step, work.width - start), 1), size, size)
        support = work.support(Window(start, 0, min(step, work.width - start), 1), size, size)
        assert owned.col == edges[-1]
        assert support.col <= owned.col or owned.width == 0
        edges.append(owned.right)
    assert edges[-1] == size


def test_work_gsd_without_a_known_gsd_counts_from_the_models(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", texture(), driver="PNG", crs=None, transform=None)
    assert scene(path, work_gsd=1.0).work.width == 32
    notices = Notices()
    assert scene(path, notices, work_gsd=0.01).work.width == 256
    assert "W-work-gsd" in ids(notices)
