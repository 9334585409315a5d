"""The work raster takes windows as the engine makes them and keeps every pixel."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from rsov.errors import ExitCode, Interrupted, OutputError
from rsov.jobs.finish import WorkFiles
from rsov.raster import workfile
from rsov.raster.workfile import WorkRaster, row_blocks
from rsov.types import BLOCK, Grid, Window
from tests.support.scenes import legend

if TYPE_CHECKING:
    from pathlib import Path

UTM = CRS.from_epsg(32632)


def grid(width: int, height: int) -> Grid:
    return Grid(width, height, Affine(0.1, 0, 5e5, 0, -0.1, 5e6), UTM)


def cut(total: int, draw, largest: int) -> list[tuple[int, int]]:
    """Ranges that cover 0..total."""
    ranges, start = [], 0
    while start < total:
        size = min(draw(st.integers(1, largest)), total - start)
        ranges.append((start, size))
        start += size
    return ranges


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_strips_and_parts_give_the_same_pixels(tmp_path: Path, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 1200)), data.draw(st.integers(1, 1200))
    bands = data.draw(st.sampled_from([1, 1, 2]))
    pixels = np.random.default_rng(width * height).integers(0, 256, (bands, height, width), dtype=np.uint8)
    skipped = np.zeros((height, width), bool)
    path = tmp_path / "work.tif"
    with WorkRaster(path, grid(width, height), "uint8", bands=bands) as work:
        for col, strip in cut(width, data.draw, 700):
            for row, rows in cut(height, data.draw, 600):
                window = Window(col, row, strip, rows)
                if data.draw(st.integers(0, 4)) == 0:  # a part without a valid pixel is never written
                    skipped[row : window.bottom, col : window.right] = True
                    continue
                part = pixels[:, row : window.bottom, col : window.right]
                work.write(window, part if bands > 1 else part[0])
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(), np.where(skipped, 0, pixels))


def test_what_waits_in_memory_is_less_than_a_block_row_of_a_strip(tmp_path: Path) -> None:
    with WorkRaster(tmp_path / "work.tif", grid(300, 5000), "uint8") as work:
        for row in range(0, 5000, 200):
            work.write(Window(0, row, 300, 200), np.ones((200, 300), np.uint8))
            waiting = [strip.height for strip in work._strips.values()]
            assert all(height < BLOCK for height in waiting)
    with rasterio.open(tmp_path / "work.tif") as dataset:
        assert (dataset.read(1) == 1).all()


def test_the_callers_array_may_be_used_again(tmp_path: Path) -> None:
    buffer = np.ones((10, 20), np.uint8)
    with WorkRaster(tmp_path / "work.tif", grid(20, 20), "uint8") as work:
        work.write(Window(0, 0, 20, 10), buffer)
        buffer[:] = 2
        work.write(Window(0, 10, 20, 10), buffer)
    assert [int(rows[0, 0]) for _, rows in row_blocks(tmp_path / "work.tif", rows=10)] == [1, 2]


@pytest.mark.parametrize("window", [Window(-1, 0, 5, 5), Window(0, 18, 5, 5), Window(18, 0, 5, 5)])
def test_a_window_outside_of_the_grid_is_a_fault(tmp_path: Path, window: Window) -> None:
    with (
        WorkRaster(tmp_path / "work.tif", grid(20, 20), "uint8") as work,
        pytest.raises(ValueError, match="not inside"),
    ):
        work.write(window, np.ones((5, 5), np.uint8))


def test_a_file_that_reads_back_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = WorkRaster(tmp_path / "work.tif", grid(600, 600), "uint8")
    work.write(Window(0, 0, 600, 600), np.ones((600, 600), np.uint8))
    close = work._dataset.close

    def lose_a_block() -> None:
        close()
        with rasterio.open(tmp_path / "work.tif", "r+") as dataset:
            dataset.write(np.zeros((1, 88, 88), np.uint8), window=workfile._raw(Window(512, 512, 88, 88)))

    monkeypatch.setattr(work, "_dataset", type("Lossy", (), {"close": staticmethod(lose_a_block)})())
    work.close()
    with pytest.raises(OutputError) as caught:
        work.check()
    assert caught.value.id == "E-output-damaged"


def _version(path: Path) -> int:
    """42 is a classic TIFF, 43 a BigTIFF."""
    with path.open("rb") as file:
        order, number = struct.unpack("<2sH", file.read(4))
    assert order == b"II"
    return int(number)


def test_a_fault_at_the_end_does_not_hide_why_a_run_ended(tmp_path: Path) -> None:
    class Full:
        def close(self) -> None:
            raise OSError(errno.ENOSPC, "disk full")

    work = WorkRaster(tmp_path / "w.tif", grid(64, 64), "uint8")
    work._dataset.close()
    work._dataset = Full()
    with pytest.raises(Interrupted), work:
        raise Interrupted(ExitCode.INTERRUPT, "stopped")


def test_work_files_are_closed_where_one_of_them_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Path] = []
    monkeypatch.setattr(WorkRaster, "abandon", lambda raster: closed.append(raster.path))
    (tmp_path / "probs.tif").mkdir()
    names = legend("forest", "road")
    with (
        pytest.raises(OutputError),
        WorkFiles.opened(tmp_path.joinpath, grid(64, 64), names, confidence=True, probs=True),
    ):
        pass
    assert sorted(path.name for path in closed) == ["confidence.tif", "labels.tif"]


def test_Z41_a_raster_that_may_pass_4_GiB_is_a_BigTIFF_and_sparse(tmp_path: Path) -> None:
    side = 100_000
    last = Window(side - 300, side - 200, 300, 200)
    with WorkRaster(tmp_path / "large.tif", grid(side, side), "uint8") as work:
        work.write(last, np.full((200, 300), 7, np.uint8))
    assert _version(tmp_path / "large.tif") == 43
    assert (tmp_path / "large.tif").stat().st_blocks * 512 < 5_000_000
    with rasterio.open(tmp_path / "large.tif") as dataset:
        assert (dataset.read(1, window=workfile._raw(last)) == 7).all()
        assert (dataset.read(1, window=workfile._raw(Window(0, 0, 64, 64))) == 0).all()
    with WorkRaster(tmp_path / "small.tif", grid(20, 20), "uint8"):
        pass
    assert _version(tmp_path / "small.tif") == 42


@pytest.mark.parametrize("extra", [-512, 0, 512])
def test_Z42_offsets_do_not_wrap_at_the_edge_of_4_GiB(tmp_path: Path, extra: int) -> None:
    width, height = 65_536, 65_536 + extra  # 4 GiB of uint8, a block row less or more
    corner = Window(width - 512, height - 512, 512, 512)
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    with WorkRaster(tmp_path / "edge.tif", grid(width, height), "uint8") as work:
        work.write(Window(0, 0, 512, 512), noise)
        work.write(corner, noise[::-1])
    with rasterio.open(tmp_path / "edge.tif") as dataset:
        assert np.array_equal(dataset.read(1, window=workfile._raw(corner)), noise[::-1])
        assert np.array_equal(dataset.read(1, window=workfile._raw(Window(0, 0, 512, 512))), noise)
