"""Robustness, group M, what the engine answers for: memory does not follow the mosaic, faults of memory are survived."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from rsov.engine.budget import cpu_count
from rsov.engine.lattice import AxisMap
from rsov.engine.memory import BAND_BYTES, BASE, READING
from rsov.engine.plan import make_plan
from rsov.engine.run import run
from rsov.engine.runtime import start
from rsov.errors import ExitCode, ResourceError
from rsov.types import Background, Notices
from tests.support.memory import forget_peak, peak, resident
from tests.support.models import ColourSegmenter, RandomSegmenter
from tests.support.scenes import ArrayScene, ArraySink, EndlessScene, NoSink, legend

ROOT = Path(__file__).resolve().parent.parent
MB = 2**20
GB = 2**30
NOTHING = Background(())


def classify(scene, model, classes=3, *, budget=4 * GB, probs=False, sink=None, **options):
    words = legend(*(f"class {i}" for i in range(classes)))
    plan = make_plan(scene.work, scene.grid, scene.output_grid, model.card, classes, budget, probs=probs)
    sink = sink or NoSink()
    stats = run(
        scene, model, model.head(words, NOTHING), words, plan, sink, confidence=True, probs=probs, **options
    )
    return plan, sink, stats


def growth(scene, *arguments, **options):
    """Bytes by which the peak rose above what was resident."""
    # Compiles the kernels: on a fresh machine LLVM takes more memory than the run
    classify(EndlessScene(300, 300), *arguments, **options)
    forget_peak()
    before = resident()
    result = classify(scene, *arguments, **options)
    return peak() - before, *result


def big_tiles():
    return ColourSegmenter(tile=256, overlap=32)


def test_M01_memory_does_not_grow_with_the_area():
    classify(EndlessScene(600, 600), big_tiles())
    small, *_ = growth(EndlessScene(1500, 1500), big_tiles())
    large, _, sink, _ = growth(EndlessScene(1500, 16 * 1500), big_tiles())
    assert sink.pixels == 16 * 1500 * 1500
    assert large < 1.1 * small + 8 * MB


def test_M01_a_plan_keeps_to_its_budget_for_any_mosaic():
    model = big_tiles()
    budget = BASE + READING + 80 * MB
    for width, height in ((2_000, 2_000), (100_000, 100_000), (2_000_000, 500)):
        scene = EndlessScene(width, height)
        plan = make_plan(scene.work, scene.grid, scene.output_grid, model.card, 20, budget)
        assert plan.memory <= budget
    assert plan.strips > 1


def only(*places):
    """A scene with data at some places only."""
    return lambda w: any(w.col <= x < w.right and w.row <= y < w.bottom for x, y in places)


def test_M02_two_million_columns():
    """No row of the whole width is ever held for all 300 classes (that would be 2.4 GB)."""
    scene = EndlessScene(2_000_000, 64, only((10, 10), (1_234_567, 20), (1_999_999, 63)))
    used, plan, sink, stats = growth(scene, big_tiles(), 300, budget=BASE + READING + 300 * MB)
    assert plan.strips > 10
    assert stats.tiles in range(3, 7)
    assert 0 < sink.pixels < 10_000 * 64
    assert used <= plan.memory - BASE < 700 * MB


def test_M03_two_million_rows():
    scene = EndlessScene(64, 2_000_000, only((10, 10), (20, 1_234_567), (63, 1_999_999)))
    used, plan, sink, stats = growth(scene, big_tiles(), 300, budget=BASE + READING + 300 * MB)
    assert stats.tiles in range(3, 7)
    assert 0 < sink.pixels < 64 * 10_000
    assert used <= plan.memory - BASE < 700 * MB


def test_M04_300_classes_with_probabilities():
    """Probabilities of all classes exist for a band of rows only."""
    budget = BASE + READING + 260 * MB
    used, plan, sink, _ = growth(EndlessScene(1100, 700), big_tiles(), 300, budget=budget, probs=True)
    assert sink.largest <= 1.05 * BAND_BYTES
    assert sink.pixels == 1100 * 700
    assert used <= plan.memory - BASE


def test_M05_the_block_cache_has_a_size_of_its_own():
    """GDAL would take 5 % of the memory, in each of its copies."""
    code = (
        "import ctypes, glob, os, rsov.raster, rasterio\n"
        "from rasterio.env import env_ctx_if_needed\n"
        "place = os.path.dirname(rasterio.__file__) + '.libs/libgdal*'\n"
        "lib = ctypes.CDLL(glob.glob(place)[0])\n"
        "lib.GDALGetCacheMax64.restype = ctypes.c_int64\n"
        "print(lib.GDALGetCacheMax64())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "GDAL_CACHEMAX"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    if "IndexError" in done.stderr:
        pytest.skip("rasterio's copy of GDAL is not beside it")
    assert int(done.stdout) <= min(256 * MB, READING)


def test_M09_too_little_memory_says_how_much_is_needed():
    model, scene = RandomSegmenter(), EndlessScene(5_000, 5_000)

    def planned(budget):
        return make_plan(scene.work, scene.grid, scene.output_grid, model.card, 4, budget)

    with pytest.raises(ResourceError) as caught:
        planned(200 * MB)
    assert caught.value.code == ExitCode.RESOURCES
    assert caught.value.fix.startswith("--max-memory ")
    enough = int(caught.value.fix.split()[-1].rstrip("M")) * MB
    assert planned(enough).memory <= enough
    with pytest.raises(ResourceError):
        planned(enough - 2 * MB)
    assert not model.calls, "refused before the model does anything"


def test_M09_smaller_tiles_are_tried_before_giving_up():
    model, scene = RandomSegmenter(tile=1024, overlap=64, tile_bytes=600), EndlessScene(5_000, 5_000)
    roomy = make_plan(scene.work, scene.grid, scene.output_grid, model.card, 4, 4 * GB)
    tight = make_plan(scene.work, scene.grid, scene.output_grid, model.card, 4, BASE + READING + 200 * MB)
    assert roomy.cols.tile > 512
    assert tight.cols.tile <= 512
    assert tight.memory <= tight.budget


class Starving(RandomSegmenter):
    """Has no memory for more than ``limit`` pixels at once."""

    def __init__(self, limit, error=torch.OutOfMemoryError, **card):
        super().__init__(**card)
        self.limit, self.error = limit, error

    def features(self, pixels):
        if pixels.shape[0] * pixels.shape[2] * pixels.shape[3] > self.limit:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return super().features(pixels)


def noise(height, width):
    return np.random.default_rng(3).integers(0, 256, (3, height, width)).astype(np.uint8)


def labels(model, data, batch=1, notices=None, **options):
    scene, words = ArrayScene(data), legend("a", "b", "c")
    plan = make_plan(scene.work, scene.grid, scene.grid, model.card, 3, 4 * GB, batch=batch)
    sink = ArraySink(scene.grid)
    run(scene, model, model.head(words, NOTHING), words, plan, sink, notices=notices, **options)
    return sink.labels


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_M10_a_smaller_batch_gives_the_same_map(error):
    data, notices = noise(120, 300), Notices()
    model = Starving(2 * 64 * 96, error)
    np.testing.assert_array_equal(labels(model, data, 4, notices), labels(RandomSegmenter(), data))
    assert [n.id for n in notices.items] == ["W-memory-batch"]


def test_M10_a_tile_in_pieces_gives_nearly_the_same_map():
    """Tolerance: pieces see less around their borders; where they are joined some labels differ, below 3 %."""
    data = noise(256, 256).repeat(2, 1).repeat(2, 2)
    card = {"tile": 512, "overlap": 64}
    notices = Notices()
    pieces = labels(Starving(320 * 320, **card), data, notices=notices)
    whole = labels(RandomSegmenter(**card), data)
    assert [n.id for n in notices.items] == ["W-memory-tile"]
    assert (pieces != whole).mean() < 0.03


def test_M10_no_memory_at_all_is_an_error_of_resources():
    with pytest.raises(ResourceError) as caught:
        labels(Starving(10, tile=512, overlap=64), noise(512, 512))
    assert caught.value.code == ExitCode.RESOURCES


def test_M10_another_fault_is_not_taken_for_a_lack_of_memory():
    class Broken(RandomSegmenter):
        def features(self, pixels):
            raise RuntimeError("expected 3 channels")

    with pytest.raises(RuntimeError, match="3 channels"):
        labels(Broken(), noise(64, 64))


def test_M17_more_pixels_than_a_32_bit_number():
    side = 3_000_000
    scene, model = EndlessScene(side, side), big_tiles()
    plan = make_plan(scene.work, scene.grid, scene.grid, model.card, 3, 2 * GB)
    assert plan.tiles * plan.cols.step * plan.rows.step > 2**31 * 1000
    part = plan.part(plan.strips - 1, plan.rows.count - 1)
    assert part.window.right == part.window.bottom == side
    last = plan.tile(part.tile_rows[-1], part.tile_cols[-1]).window
    assert last.right >= side
    lower, fraction = AxisMap(0.25, 0.0, 10**9).table(3_000_000_002, 5, 750_000_000)
    np.testing.assert_array_equal(lower, [0, 0, 0, 0, 1])
    np.testing.assert_allclose(fraction, [0.125, 0.375, 0.625, 0.875, 0.125], atol=1e-6)


def test_M17_counters_are_python_integers():
    _, _, stats = classify(EndlessScene(300, 300), big_tiles())
    assert type(stats.valid_pixels) is int
    assert type(stats.pixels) is int


def test_M19_threads_keep_to_the_processors():
    code = (
        "from rsov.engine.runtime import start\n"
        "count = start()\n"
        "import os, torch, rsov.raster\n"
        "print(count, torch.get_num_threads(), os.environ['GDAL_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GDAL_"))}
    out = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()
    assert out == [str(cpu_count()), str(cpu_count()), "1", "PASSIVE"]


@pytest.mark.parametrize("given", ["²", "9" * 20, "100000", "0", "-1", "2.5", "", "many"])
def test_M19_a_number_of_threads_that_is_none_is_not_followed(given, monkeypatch):
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr("rsov.engine.runtime.keep_freed_memory", lambda: True)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert start() == cpu_count()
    monkeypatch.setenv("OMP_NUM_THREADS", " 3 , 1")
    assert start() == 3


@pytest.mark.parametrize("given", ["0", "many"])
def test_M19_a_number_of_threads_that_numba_refuses_is_not_passed_on(given):
    code = "import rsov.kernels.scaling, numba; print(numba.config.NUMBA_NUM_THREADS)"
    environment = {**os.environ, "NUMBA_NUM_THREADS": given}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) >= 1
    assert done.stderr == ""
    environment["NUMBA_NUM_THREADS"] = "3"
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "3\n"


def test_M19_a_run_starts_its_readers_and_one_writer_and_ends_them():
    before = threading.active_count()
    most = 0

    class Counting(ColourSegmenter):
        def features(self, pixels):
            nonlocal most
            most = max(most, threading.active_count())
            return super().features(pixels)

    classify(EndlessScene(1500, 300), Counting(tile=64, overlap=16), readers=3)
    assert most <= before + 3 + 1
    assert threading.active_count() == before


def test_M19_a_process_forked_after_a_run_is_refused_and_does_not_hang():
    code = (
        "import os, rsov\n"
        "from rsov.engine.runtime import start\n"
        "from rsov.errors import UsageError\n"
        "start(2)\n"
        "if os.fork() == 0:\n"
        "    try: rsov.predict('no.tif', 'forest')\n"
        "    except UsageError as error: os._exit(error.id == 'E-forked')\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "1"


def test_M20_no_leak_over_2000_tiles():
    model = ColourSegmenter(tile=64, overlap=16)
    seen = {}

    def note(progress):
        if progress.tiles in (200, 2000):
            seen[progress.tiles] = resident()

    classify(EndlessScene(48 * 45, 48 * 45), model, on_progress=note)
    assert (seen[2000] - seen[200]) / 1800 < 10_000


def test_the_memory_of_the_network_is_given_back_after_the_run():
    """The allocator keeps freed blocks for the next tile; what comes after the tiles needs the room."""
    code = (
        "from rsov.engine.runtime import give_back_memory, start\n"
        "start(1)\n"
        "import torch\n"
        "from tests.support.memory import resident\n"
        "blocks = [torch.ones(5 * 2**20) for _ in range(10)]\n"
        "del blocks\n"
        "kept = resident()\n"
        "give_back_memory()\n"
        "print(kept - resident())\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("glibc only")
    freed = int(subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT))
    assert freed > 150 * MB
