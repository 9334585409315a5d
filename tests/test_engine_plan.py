"""Plans: tiles cover the scene, parts cover the output once, nothing depends on how much of it is looked at."""

from __future__ import annotations

import time

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from rsov.engine.lattice import AxisMap, even_lattice
from rsov.engine.memory import BAND_BYTES, BASE, READING
from rsov.engine.plan import make_plan, rows_to_add
from rsov.errors import ExitCode, UsageError
from rsov.types import Grid
from tests.support.models import card
from tests.support.scenes import ArrayWork

GB = 2**30
MB = 2**20
LEAN = BASE + READING + BAND_BYTES


def plan(width, height, *, scale=(1.0, 1.0), output=None, budget=4 * GB, classes=3, **options):
    work = ArrayWork(width, height, *scale)
    source = Grid(
        max(1, round(width * scale[0])),
        max(1, round(height * scale[1])),
        Affine(0.5, 0, 100, 0, -0.5, 900),
        None,
    )
    options.setdefault("card", card())
    return make_plan(work, source, output or source, options.pop("card"), classes, budget, **options)


@given(st.integers(1, 5000), st.sampled_from([64, 256, 1024]), st.sampled_from([8, 16]))
def test_even_tiles_cover_an_axis_without_a_superfluous_one(size, tile, overlap):
    lattice = even_lattice(size, tile, overlap, 32)
    assert lattice.tile <= max(tile, 32)
    assert lattice.tile % 32 == 0
    starts = [lattice.start(i) for i in range(lattice.count)]
    assert starts[0] == 0
    assert starts[-1] < size <= starts[-1] + lattice.tile
    if lattice.count > 1:
        assert starts[-2] + lattice.tile < size, "the last tile is needed"
        assert lattice.tile >= 2 * overlap, "at most two tiles on a pixel"


def test_rows_that_wait_for_a_row_of_blocks_are_output_rows():
    """A picture three times finer than its work grid: 100 work rows, 300 rows of the rasters."""
    fine = plan(400, 100, scale=(3.0, 3.0), probs=True)
    assert fine.costs.per_output_column == 2 * 300 * (1 + 1 + 3)
    coarse = plan(400, 2000, output=Grid(40, 200, Affine(5, 0, 100, 0, -5, 900), None))
    assert coarse.costs.per_output_column == 2 * 200 * (1 + 1)


@pytest.mark.parametrize(("size", "count"), [(511, 1), (512, 1), (513, 2)])
def test_Z46_one_pixel_more_than_a_tile(size, count):
    """No empty tile; a second one comes with the first pixel that the first does not hold."""
    assert even_lattice(size, 512, 64, 32).count == count


@given(st.integers(1, 3000), st.integers(0, 200), st.integers(0, 200))
def test_the_tiles_over_a_range_are_those_that_touch_it(size, first, length):
    lattice = even_lattice(size, 256, 32, 32)
    first = min(first, size - 1)
    last = min(first + length, size - 1)
    touching = [
        i
        for i in range(lattice.count)
        if lattice.start(i) <= last and lattice.start(i) + lattice.tile > first
    ]
    assert list(lattice.covering(first, last)) == touching


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.floats(0.3, 6.0),
    st.floats(0.3, 6.0),
    st.sampled_from([LEAN + 6 * MB, LEAN + 20 * MB, 4 * GB]),
)
def test_parts_cover_every_output_pixel_once(width, height, scale_x, scale_y, budget):
    p = plan(width, height, scale=(scale_x, scale_y), budget=budget, classes=60)
    seen = np.zeros((p.output[1], p.output[0]), np.uint8)
    for part in p.parts():
        w = part.window
        seen[w.row : w.bottom, w.col : w.right] += 1
        assert len(part.tile_rows) <= 2, "only the row of the part and the one before"
        for tile_row in part.tile_rows:
            assert 0 <= tile_row < p.rows.count
        assert part.cells.bottom <= p.y.cells
        assert part.cells.right <= p.x.cells
    assert (seen == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(65, 700), st.integers(65, 700), st.floats(0.3, 4.0))
def test_all_cells_that_a_part_reads_are_covered_by_its_tiles(width, height, scale):
    p = plan(width, height, scale=(scale, scale), budget=LEAN + 8 * MB, classes=60)
    for part in p.parts():
        rows, cols = np.zeros(p.y.cells, bool), np.zeros(p.x.cells, bool)
        for r in part.tile_rows:
            rows[p.rows.start(r) // 4 : (p.rows.start(r) + p.rows.tile) // 4] = True
        for c in part.tile_cols:
            cols[p.cols.start(c) // 4 : (p.cols.start(c) + p.cols.tile) // 4] = True
        assert rows[part.cells.row : part.cells.bottom].all()
        assert cols[part.cells.col : part.cells.right].all()


def test_a_part_in_sequence_adds_one_tile_row_and_alone_two():
    p = plan(300, 300)
    parts = list(p.parts())
    assert list(rows_to_add(parts[1], parts[2])) == [2]
    assert list(rows_to_add(None, parts[2])) == [1, 2]
    assert list(rows_to_add(parts[0], parts[2])) == [1, 2]


@given(st.floats(0.01, 5.0), st.floats(-5, 5), st.integers(1, 400), st.integers(0, 450), st.integers(1, 300))
def test_the_first_pixel_that_needs_a_cell(scale, offset, cells, cell, pixels):
    axis = AxisMap(scale, offset, cells)
    expected = next((i for i in range(pixels) if axis.upper(i) >= cell), pixels)
    assert axis.first_needing(cell, pixels) == expected


def test_the_table_of_a_window_is_that_of_single_pixels():
    axis = AxisMap(0.237, 0.81, 50)
    lower, fraction = axis.table(17, 200, 2)
    for i in range(200):
        assert lower[i] + 2 == axis.lower(17 + i)
        assert fraction[i] == pytest.approx(axis.cell(17 + i) - axis.lower(17 + i), abs=1e-6)


def test_an_output_grid_elsewhere_in_the_scene_needs_few_tiles():
    """A finer grid over a corner, as --like or --res give it."""
    source = Grid(4000, 4000, Affine(0.5, 0, 100, 0, -0.5, 900), None)
    corner = Grid(200, 100, Affine(0.25, 0, 100 + 1000 * 0.5, 0, -0.25, 900 - 2000 * 0.5), None)
    p = make_plan(ArrayWork(4000, 4000), source, corner, card(), 3, 4 * GB)
    used = {(r, c) for part in p.parts() for r in part.tile_rows for c in part.tile_cols}
    assert len(used) <= 12
    assert all(p.tile(r, c).window.right > 1000 and p.tile(r, c).window.bottom > 2000 for r, c in used)


def test_Z44_a_plan_of_ten_billion_pixels_takes_no_time():
    since = time.perf_counter()
    p = plan(100_000, 100_000, card=card(tile=1024, overlap=128), budget=2 * GB)
    assert p.tiles >= 112**2
    assert p.memory <= 2 * GB
    assert next(iter(p.parts())).window.row == 0
    assert time.perf_counter() - since < 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 50},
        {"tile": 0},
        {"tile": 64, "overlap": 40},
        {"tile": 64, "overlap": 64},
        {"tile": 64, "overlap": 80},
        {"overlap": 4},
        {"overlap": -8},
        {"overlap": "9" * 400},
    ],
)
def test_P30_tiles_that_the_model_cannot_take_are_refused_with_one_that_it_can(options):
    with pytest.raises(UsageError) as caught:
        plan(500, 500, **options)
    assert caught.value.code == ExitCode.USAGE
    name, value = caught.value.fix.split()
    good = {**options, name.removeprefix("--"): int(value)}
    assert plan(500, 500, **good).tiles > 1


def test_an_overlap_in_percent_is_one_of_the_tile_that_the_memory_allows():
    big = card(tile=1024, overlap=128)
    small = plan(6000, 6000, card=big, overlap="25%", budget=plan(6000, 6000, card=big, tile=256).memory)
    assert small.tile_limit < big.tile
    assert small.cols.overlap == small.tile_limit // 4


def test_P30_a_refused_overlap_is_repeated_as_it_was_typed():
    for typed in ("90%", "0%", "300"):
        with pytest.raises(UsageError, match=rf"\]: --overlap {typed}: must be from"):
            plan(500, 500, overlap=typed)


def test_strips_begin_at_whole_blocks_of_the_raster_that_is_written():
    p = plan(6000, 300, budget=LEAN + 8 * MB, classes=60)
    assert p.strips > 1
    assert all(p.strip_span(s)[0] % 512 == 0 for s in range(p.strips))
    assert sum(p.strip_span(s)[1] for s in range(p.strips)) == 6000


def test_the_memory_counted_for_reading_is_what_the_reader_may_hold():
    from rsov.raster import env, scene, scene_open

    assert env.CACHE_MB * MB + scene_open.DECODED_BYTES + scene.VALIDITY_BYTES == READING
