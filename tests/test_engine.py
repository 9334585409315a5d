"""The engine end to end, on scenes in memory and on files."""

from __future__ import annotations

import errno
import os
import sys
import threading

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsov.engine.memory import BAND_BYTES, BASE, READING
from rsov.engine.plan import make_plan
from rsov.engine.run import run
from rsov.engine.runtime import stand_back
from rsov.errors import InputError, Interrupted
from rsov.types import Background, BackgroundTerm, Grid
from tests.support import numpy_kernels, rasters
from tests.support.models import COLOURS, ColourSegmenter, RandomSegmenter
from tests.support.scenes import ArrayScene, ArraySink, legend

GB = 2**30
MB = 2**20
WORDS = ("a", "b", "c")


def picture(height, width, seed=0):
    """Smooth random colours with some noise: every class of a random head finds places to win."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (3, height // 16 + 2, width // 16 + 2))
    fine = coarse.repeat(16, 1).repeat(16, 2)[:, 7 : 7 + height, 5 : 5 + width]
    return np.clip(fine + random.integers(-20, 21, fine.shape), 0, 255).astype(np.uint8)


def classify(
    scene,
    model,
    words=WORDS,
    *,
    background=("d",),
    budget=4 * GB,
    parts=None,
    plan=None,
    sink=None,
    **options,
):
    names = legend(*words)
    planned = {k: options.pop(k) for k in ("tile", "overlap", "batch") if k in options}
    plan = plan or make_plan(
        scene.work, scene.grid, scene.output_grid, model.card, len(names), budget, **planned
    )
    head = model.head(names, Background(tuple(BackgroundTerm(b, (b,)) for b in background)))
    sink = sink or ArraySink(scene.output_grid, len(names))
    options.setdefault("confidence", True)
    options.setdefault("probs", True)
    stats = run(scene, model, head, names, plan, sink, parts=parts, **options)
    return sink, plan, stats


def same(one, other):
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    np.testing.assert_array_equal(one.probs, other.probs)


def painted():
    data = np.zeros((3, 96, 160), np.uint8)
    for (left, right), name in zip(
        ((0, 64), (64, 96), (96, 128), (128, 160)), ("forest", "road", "water", "sand"), strict=True
    ):
        data[:, :, left:right] = np.array(COLOURS[name])[:, None, None]
    return data


def test_colours_become_classes_and_other_colours_none():
    sink, _, stats = classify(
        ArrayScene(painted()), ColourSegmenter(), ("forest", "road", "water"), background=("sand",)
    )
    assert [int(sink.labels[40, x]) for x in (5, 60, 80, 110, 150)] == [1, 1, 2, 3, 255]
    assert sink.seen.all()
    assert stats.valid_pixels == 96 * 160


def test_without_a_background_every_valid_pixel_gets_a_class():
    sink, *_ = classify(ArrayScene(painted()), ColourSegmenter(), ("forest", "water"), background=())
    assert set(np.unique(sink.labels)) == {1, 2}


def test_one_tile_equals_numpy_from_scores_to_labels():
    scene, model = ArrayScene(picture(64, 64)), RandomSegmenter()
    sink, plan, _ = classify(scene, model)
    head = model.head(legend(*WORDS), Background((BackgroundTerm("d", ("d",)),)))
    scores = model.scores(model.features(scene.data[None]), head).numpy()[0]
    axes = plan.y.table(0, 64, 0), plan.x.table(0, 64, 0)
    expected = numpy_kernels.decide(
        scores, *axes[0], *axes[1], np.empty((0, 0), bool), np.zeros(4, np.float32), 255
    )
    assert (sink.labels == expected[0]).mean() > 0.9999  # weights divided out again: the last bit may differ
    assert np.abs(sink.confidence.astype(int) - expected[1]).max() <= 1


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.5, 2.5), (0.7, 1.3)])
def test_a_part_alone_has_the_same_bytes(scale):
    scene, model = ArrayScene(picture(200, 330), scale=scale), RandomSegmenter()
    whole, plan, _ = classify(scene, model)
    for part in plan.parts():
        alone, *_ = classify(scene, model, plan=plan, parts=[part])
        place = np.s_[part.window.row : part.window.bottom, part.window.col : part.window.right]
        assert alone.seen[place].all()
        assert alone.seen.sum() == part.window.width * part.window.height
        np.testing.assert_array_equal(alone.labels[place], whole.labels[place])
        np.testing.assert_array_equal(alone.confidence[place], whole.confidence[place])
        np.testing.assert_array_equal(alone.probs[:, *place], whole.probs[:, *place])


def test_parts_in_any_order_have_the_same_bytes():
    scene, model = ArrayScene(picture(300, 150)), RandomSegmenter()
    whole, plan, _ = classify(scene, model)
    shuffled, *_ = classify(scene, model, plan=plan, parts=list(plan.parts())[::-1])
    same(shuffled, whole)


def test_parts_without_a_pixel_change_nothing():
    """A plan has them above and below the rows that are mapped; whoever counts parts asks for them too."""
    low = Grid(150, 60, Affine(0.5, 0, 1000, 0, -0.5, 2000 - 200 * 0.5), None)
    scene, model = ArrayScene(picture(300, 150), output=low), RandomSegmenter()
    whole, plan, _ = classify(scene, model)
    every = [plan.part(strip, row) for strip in range(plan.strips) for row in range(plan.rows.count)]
    assert {bool(part.window.height) for part in every} == {True, False}
    counted, *_ = classify(scene, model, plan=plan, parts=every)
    same(counted, whole)


def test_strips_do_not_change_a_pixel():
    """A small budget cuts the scene into column ranges; tiles at their borders are run twice, to the same effect."""
    scene, model = ArrayScene(picture(150, 1700)), RandomSegmenter()
    whole, plan, _ = classify(scene, model)
    lean = BASE + READING + BAND_BYTES + 1 * MB
    stripped, narrow, _ = classify(scene, model, budget=lean, tile=64)
    assert plan.strips == 1
    assert narrow.strips > 1
    same(stripped, whole)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 230),
    st.integers(1, 230),
    st.sampled_from([64, 96, 128]),
    st.sampled_from([8, 16]),
    st.integers(0, 99),
)
def test_the_tiling_does_not_change_what_needs_no_surroundings(height, width, tile, overlap, seed):
    """The colour model sees a cell's own pixels only: any tiling gives the map of one tile."""
    data = picture(height, width, seed)
    scene, words = ArrayScene(data), ("forest", "road", "water")
    tiled, *_ = classify(scene, ColourSegmenter(), words, tile=tile, overlap=overlap)
    single, *_ = classify(scene, ColourSegmenter(), words, tile=256, overlap=64)
    assert (
        tiled.labels == single.labels
    ).mean() > 0.999  # two weights that are divided out: the last bit may differ
    assert tiled.seen.all()


def test_batches_do_not_change_a_pixel():
    scene, model = ArrayScene(picture(150, 400)), RandomSegmenter()
    one, *_ = classify(scene, model, batch=1)
    four, *_ = classify(scene, model, batch=4)
    assert (one.labels == four.labels).mean() > 0.9999
    assert {calls[0] for calls in model.calls} >= {1, 4}


def test_R26_eight_readers_give_what_one_gives_each_on_its_own_handle():
    scene, model = ArrayScene(picture(300, 400)), RandomSegmenter()
    serial, *_ = classify(scene, model, readers=1)
    scene.readers.clear()
    threaded, *_ = classify(scene, model, readers=8)
    same(serial, threaded)
    assert len(scene.readers) > 2
    assert all(len(reader.threads) == 1 and reader.closed for reader in scene.readers)


def test_R26_readers_of_a_file(tmp_path):
    path = rasters.write(
        tmp_path / "a.tif", picture(300, 400), tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    model = RandomSegmenter()
    serial, *_ = classify(rasters.scene(path), model, readers=1)
    threaded, *_ = classify(rasters.scene(path), model, readers=8)
    same(serial, threaded)


LAYOUTS = (
    {"tiled": True, "blockxsize": 16, "blockysize": 16},
    {"tiled": True, "blockxsize": 400, "blockysize": 240},
    {"tiled": False, "blockysize": 1},
    {"tiled": False, "blockysize": 300},
    {"tiled": True, "blockxsize": 2048, "blockysize": 2048, "compress": "deflate"},
    {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"},
)


@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=str)
def test_Z43_every_block_layout_gives_the_same_map(tmp_path, layout):
    data, model = picture(260, 300), RandomSegmenter()
    first, *_ = classify(rasters.scene(rasters.write(tmp_path / "a.tif", data, **LAYOUTS[0])), model)
    other, *_ = classify(rasters.scene(rasters.write(tmp_path / "b.tif", data, **layout)), model)
    same(first, other)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_Z43_random_block_sizes(tmp_path_factory, columns, rows):
    data, model, folder = picture(100, 130), RandomSegmenter(), tmp_path_factory.mktemp("blocks")
    plain, *_ = classify(rasters.scene(rasters.write(folder / "a.tif", data)), model)
    blocks = {"tiled": True, "blockxsize": 16 * columns, "blockysize": 16 * rows}
    other, *_ = classify(rasters.scene(rasters.write(folder / "b.tif", data, **blocks)), model)
    same(plain, other)


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (64, 1), (2, 3), (33, 20)])
def test_Z45_pictures_smaller_than_a_tile(tmp_path, size):
    path = rasters.write(tmp_path / "small.tif", picture(*size))
    sink, plan, stats = classify(rasters.scene(path), RandomSegmenter())
    assert sink.seen.shape == size
    assert sink.seen.all()
    assert (sink.labels > 0).all()
    assert stats.tiles == plan.tiles


@pytest.mark.parametrize("size", [64, 65, 112, 113])
def test_Z46_one_pixel_more_than_a_tile_makes_no_seam(size):
    """The map of the pixels that a narrower picture has too is nearly that picture's."""
    data, model = picture(64, size), ColourSegmenter()
    words = ("forest", "road", "water", "sand")
    sink, _, stats = classify(ArrayScene(data), model, words)
    assert stats.skipped == 0
    narrow, *_ = classify(ArrayScene(data[:, :, :60]), model, words)
    np.testing.assert_array_equal(sink.labels[:, :56], narrow.labels[:, :56])


def test_Z47_a_scene_without_valid_pixels_runs_no_network():
    scene, model = ArrayScene(picture(100, 100), np.zeros((100, 100), bool)), RandomSegmenter()
    sink, _, stats = classify(scene, model)
    assert not sink.seen.any()
    assert not model.calls
    assert stats.valid_pixels == stats.tiles == 0


def test_Z48_a_constant_picture(tmp_path):
    path = rasters.write(tmp_path / "flat.tif", np.full((3, 90, 120), 128, np.uint8))
    sink, *_ = classify(
        rasters.scene(path, scale="auto"), ColourSegmenter(), ("road", "forest"), background=()
    )
    assert len(np.unique(sink.labels)) == 1
    assert sink.labels[0, 0] in {1, 2}


def test_invalid_pixels_are_nodata_and_empty_tiles_are_skipped():
    mask = np.ones((200, 400), bool)
    mask[:, 130:] = False
    mask[50:60, 20:30] = False
    model = RandomSegmenter()
    sink, plan, stats = classify(ArrayScene(picture(200, 400), mask), model)
    np.testing.assert_array_equal(sink.labels == 0, ~mask)
    np.testing.assert_array_equal(sink.confidence == 255, ~mask)
    assert stats.skipped > 0
    assert stats.tiles + stats.skipped == plan.tiles
    assert len(model.calls) == stats.tiles
    assert stats.valid_pixels == mask.sum()


def test_pixels_beside_a_skipped_tile_are_those_of_the_tiles_that_see_them():
    """A cell that no tile with data covers never reaches a valid pixel."""
    mask = np.zeros((64, 300), bool)
    mask[:, :49] = True  # one pixel into the overlap of the first two tiles
    sink, *_ = classify(
        ArrayScene(picture(64, 300), mask), ColourSegmenter(), ("forest", "road"), background=()
    )
    whole, *_ = classify(ArrayScene(picture(64, 300)), ColourSegmenter(), ("forest", "road"), background=())
    assert (sink.labels[:, :49] == whole.labels[:, :49]).mean() > 0.99


def test_the_output_may_lie_on_another_grid():
    """Twice as fine, over a part of the scene: the same classes at the same places."""
    data, model = picture(128, 192), ColourSegmenter()
    whole, *_ = classify(ArrayScene(data), model, ("forest", "road", "water"))
    fine = Grid(120, 80, Affine(0.25, 0, 1000 + 32 * 0.5, 0, -0.25, 2000 - 16 * 0.5), None)
    scene = ArrayScene(data, output=fine)
    part, *_ = classify(scene, model, ("forest", "road", "water"))
    coarse = whole.labels[16 : 16 + 40, 32 : 32 + 60].repeat(2, 0).repeat(2, 1)
    assert part.seen.all()
    assert (part.labels == coarse).mean() > 0.9


def test_a_threshold_turns_unsure_pixels_into_none():
    scene, model = ArrayScene(picture(64, 64)), RandomSegmenter()
    names = legend(*WORDS, threshold=0.6)
    plan = make_plan(scene.work, scene.grid, scene.grid, model.card, 3, GB)
    sink = ArraySink(scene.grid)
    run(scene, model, model.head(names, Background(())), names, plan, sink, confidence=True)
    classes = sink.labels != 255
    assert 0 < classes.sum() < classes.size
    assert (sink.confidence[classes] >= 150 - 1).all()


def test_progress_reaches_the_total():
    seen = []
    _, plan, stats = classify(
        ArrayScene(picture(150, 200)), ColourSegmenter(), ("road",), on_progress=seen.append
    )
    assert [p.tiles for p in seen] == list(range(1, plan.tiles + 1))
    assert seen[-1].tiles == seen[-1].total == plan.tiles
    assert seen[-1].pixels == stats.pixels == plan.tiles * plan.cols.tile * plan.rows.tile


def test_progress_of_neighbouring_parts_reaches_the_total():
    scene, model, seen = ArrayScene(picture(150, 200)), ColourSegmenter(), []
    _, plan, _ = classify(scene, model, ("road",))
    classify(scene, model, ("road",), plan=plan, parts=list(plan.parts())[:2], on_progress=seen.append)
    assert seen[-1].tiles == seen[-1].total


def test_a_request_to_stop_is_seen_between_tiles():
    stop = threading.Event()
    done = []

    def note(progress):
        done.append(progress.tiles)
        if progress.tiles == 3:
            stop.set()

    with pytest.raises(Interrupted):
        classify(ArrayScene(picture(200, 200)), ColourSegmenter(), ("road",), on_progress=note, stop=stop)
    assert done == [1, 2, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_where_the_system_refuses_batch_threads_they_still_stand_back(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "as in gVisor")

    def note():
        stand_back()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    here, seen = os.getpriority(os.PRIO_PROCESS, 0), []
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    thread = threading.Thread(target=note)
    thread.start()
    thread.join()
    assert seen == [min(here + 10, 19)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_readers_and_writer_run_behind_the_network():
    here, policy, seen = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), []

    def note():
        thread = threading.get_native_id()
        seen.append((os.getpriority(os.PRIO_PROCESS, thread), os.sched_getscheduler(thread)))

    class Scene(ArrayScene):
        def open_reader(self):
            note()  # in the thread that reads, and in the one that writes
            return super().open_reader()

    classify(Scene(picture(100, 100)), ColourSegmenter(), ("road",))
    behind = os.SCHED_BATCH if policy == os.SCHED_OTHER else policy
    assert seen == [(min(here + 10, 19), behind)] * 2
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)) == (here, policy)


class Failing:
    """Raises at the n-th call of one method, passes on everything else."""

    def __init__(self, inner, method, error, after=2):
        self._inner, self._method, self._error, self._left = inner, method, error, after

    def __enter__(self):
        self._inner.__enter__()
        return self

    def __exit__(self, *arguments):
        self._inner.__exit__(*arguments)

    def __getattr__(self, name):
        if name != self._method:
            return getattr(self._inner, name)
        self._left -= 1
        if self._left < 0:
            raise self._error
        return getattr(self._inner, name)


@pytest.mark.parametrize("method", ["read", "valid"])
def test_a_fault_of_a_reader_stops_the_run_and_is_the_one_that_is_raised(method):
    class Scene(ArrayScene):
        def open_reader(self):
            return Failing(
                super().open_reader(), method, InputError("E-input-truncated", "the file ends early")
            )

    threads = threading.active_count()
    with pytest.raises(InputError, match="ends early"):
        classify(Scene(picture(400, 400)), ColourSegmenter(), ("road",))
    assert threading.active_count() == threads


def test_a_fault_of_the_sink_stops_the_run():
    class Full(ArraySink):
        def write(self, part):
            raise OSError(28, "No space left on device")

    scene, model = ArrayScene(picture(600, 100)), ColourSegmenter()
    with pytest.raises(OSError, match="No space"):
        classify(scene, model, ("road",), sink=Full(scene.grid))
    assert len(model.calls) < 30, "it did not run to the end"
    assert all(reader.closed for reader in scene.readers)


def test_a_fault_of_the_model_stops_the_run():
    class Broken(ColourSegmenter):
        def features(self, pixels):
            raise RuntimeError("broken weights")

    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="broken weights"):
        classify(ArrayScene(picture(100, 100)), Broken(), ("road",))
    assert threading.active_count() == threads


def test_only_what_was_asked_for_is_handed_on():
    parts = []

    class Keeping(ArraySink):
        def write(self, part):
            parts.append(part)

    scene = ArrayScene(picture(64, 64))
    classify(scene, ColourSegmenter(), ("road",), sink=Keeping(scene.grid), confidence=False, probs=False)
    assert parts[0].confidence is None
    assert parts[0].probs is None
    assert parts[0].labels.dtype == np.uint8
