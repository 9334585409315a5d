"""Polygons from a stream of rows, beside GDAL's polygonize of the whole raster."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rsov.kernels import trace as kernel
from rsov.vector.trace import Regions, RowBlock, _Tracer, trace
from tests.support.vectors import as_set, blocks, gdal_polygons, polygons, smooth_labels, traced

LABELS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 1, 2, 3, 255]),
)


def spiral(size: int) -> np.ndarray:
    labels = np.full((size, size), 2, np.uint8)
    row, col, length = 0, 0, size - 1
    labels[0, :] = 1
    col, turn = size - 1, 0
    while length > 0:
        for _ in range(2):
            dr, dc = ((1, 0), (0, -1), (-1, 0), (0, 1))[turn % 4]
            for _ in range(length):
                row, col = row + dr, col + dc
                labels[row, col] = 1
            turn += 1
        length -= 2
    return labels


def checkerboard(size: int) -> np.ndarray:
    return (np.indices((size, size)).sum(0) % 2 + 1).astype(np.uint8)


def comb(height: int, width: int) -> np.ndarray:
    labels = np.ones((height, width), np.uint8)
    labels[:-1, 1::2] = 2
    return labels


def sieve_holes(size: int) -> np.ndarray:
    labels = np.ones((size, size), np.uint8)
    labels[1:-1:2, 1:-1:2] = 2
    return labels


@settings(max_examples=150, deadline=None)
@given(labels=LABELS, heights=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_polygons_of_any_raster_in_any_blocks_are_those_of_gdal(
    labels: np.ndarray, heights: list[int]
) -> None:
    found = polygons(traced(labels, heights))
    assert shapely.is_valid(found).all()
    assert as_set(found) == as_set(gdal_polygons(labels))


@pytest.mark.parametrize(
    "labels",
    [
        checkerboard(31),
        spiral(41),
        spiral(41)[::-1].copy(),
        comb(20, 33),
        comb(20, 33)[::-1].copy(),
        comb(20, 33).T.copy(),
        sieve_holes(33),
        np.ones((1, 1), np.uint8),
        np.array([[1, 2, 2, 0, 1, 255, 3]], np.uint8),
        np.array([[1, 2, 2, 0, 1, 255, 3]], np.uint8).T.copy(),
        np.zeros((5, 5), np.uint8),
        np.full((4, 6), 255, np.uint8),
    ],
    ids=["checkerboard", "spiral", "spiral-up", "comb", "comb-up", "comb-side", "holes", "1x1", "row", "column", "nodata", "none"],
)  # fmt: skip
@pytest.mark.parametrize("height", [1, 7, 64])
def test_worst_cases_are_traced_as_gdal_does(labels: np.ndarray, height: int) -> None:
    found = polygons(traced(labels, [height]))
    assert shapely.is_valid(found).all()
    assert as_set(found) == as_set(gdal_polygons(labels))


@pytest.mark.parametrize("simplify_area", [0.0, 4.0])
def test_the_sequence_of_polygons_does_not_depend_on_the_blocks(simplify_area: float) -> None:
    labels = smooth_labels(150, 90)
    whole = polygons(traced(labels, [150], simplify_area=simplify_area))
    for heights in ([1], [3, 50, 7], [64]):
        assert (
            shapely.to_wkb(polygons(traced(labels, heights, simplify_area=simplify_area))).tolist()
            == shapely.to_wkb(whole).tolist()
        )


def test_the_sequence_does_not_depend_on_how_many_regions_are_collected() -> None:
    labels = smooth_labels(80, 60, sigma=1.5)
    whole = shapely.to_wkb(polygons(traced(labels))).tolist()
    for batch in (1, 10, 100):
        assert shapely.to_wkb(polygons(traced(labels, [9], batch=batch))).tolist() == whole


def test_pixels_areas_and_the_union_of_polygons_are_those_of_the_raster() -> None:
    labels = smooth_labels(120, 100, sigma=3)
    labels[40:60, 30:50] = 0
    labels[60:70, 10:90] = 255
    batches = traced(labels, [17])
    found = polygons(batches)
    pixels = np.concatenate([b.pixels for b in batches])
    classes = np.concatenate([b.class_id for b in batches])
    assert (shapely.area(found) == pixels).all()
    for class_id in (1, 2, 3, 4):
        assert pixels[classes == class_id].sum() == (labels == class_id).sum()
    assert shapely.union_all(found).area == ((labels != 0) & (labels != 255)).sum()


def test_confidence_is_the_mean_over_known_pixels() -> None:
    labels = np.array([[1, 1, 2], [1, 3, 2]], np.uint8)
    confidence = np.array([[250, 100, 255], [255, 0, 255]], np.uint8)
    batches = list(trace([RowBlock(labels[:1], confidence[:1]), RowBlock(labels[1:], confidence[1:])], 3))
    by_class = {int(c): v for b in batches for c, v in zip(b.class_id, b.confidence, strict=True)}
    assert by_class[1] == pytest.approx((1.0 + 0.4) / 2)
    assert np.isnan(by_class[2])
    assert by_class[3] == 0.0


def test_confidence_of_regions_that_join_late_is_summed() -> None:
    rng = np.random.default_rng(3)
    labels = comb(30, 41)
    confidence = rng.integers(0, 251, labels.shape).astype(np.uint8)
    batches = list(trace(blocks(labels, [4], confidence), 41))
    total = {1: 0.0, 2: 0.0}
    for b in batches:
        for c, v, n in zip(b.class_id.tolist(), b.confidence, b.pixels, strict=True):
            total[c] += v * n
    for c in (1, 2):
        assert total[c] == pytest.approx(confidence[labels == c].sum() / 250)


def test_more_than_254_classes_are_traced() -> None:
    labels = np.arange(300, 700, dtype=np.uint16).reshape(20, 20)
    batches = list(trace([RowBlock(labels)], 20, skip=(0, 65535)))
    assert sorted(np.concatenate([b.class_id for b in batches]).tolist()) == list(range(300, 700))


def test_read_only_and_sliced_blocks_are_taken_as_they_are() -> None:
    labels = np.repeat(smooth_labels(40, 30), 2, axis=1)[:, ::2]
    frozen = labels.copy()
    frozen.flags.writeable = False
    expected = as_set(polygons(traced(np.ascontiguousarray(labels))))
    assert as_set(polygons(list(trace([RowBlock(labels)], 30)))) == expected
    assert as_set(polygons(list(trace([RowBlock(frozen)], 30)))) == expected


def test_a_block_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="raster 4 wide"):
        list(trace([RowBlock(np.ones((2, 3), np.uint8))], 4))
    with pytest.raises(ValueError, match="confidence"):
        list(trace([RowBlock(np.ones((2, 3), np.uint8), np.ones((2, 2), np.uint8))], 3))


def test_regions_come_out_as_soon_as_they_are_closed() -> None:
    labels = np.ones((50, 20), np.uint8)
    labels[10:12, 5:8] = 2
    source = blocks(labels, [1])
    seen: list[int] = []

    def counted():
        for k, block in enumerate(source):
            seen.append(k)
            yield block

    first = next(iter(trace(counted(), 20, batch=1)))
    assert first.class_id.tolist() == [2]
    assert seen[-1] == 12


def test_memory_of_closed_regions_is_used_again() -> None:
    """A tall raster of small regions needs no more room than its first rows."""
    rng = np.random.default_rng(1)
    tracer = _Tracer(40, (0,), 0.0, 10**9, 100)
    sizes = []
    for _ in range(60):
        for _batch in tracer.add(RowBlock(rng.integers(0, 2, (50, 40)).astype(np.uint8))):
            pass
        sizes.append(len(tracer.store.vertices))
    assert sizes[-1] == sizes[0]
    assert tracer.n[kernel.N_FREE] > 0.5 * sizes[-1]


def test_a_large_region_is_cut_after_a_row_and_marked() -> None:
    labels = sieve_holes(101)
    batches = traced(labels, [16], max_vertices=1000)
    found, cut = polygons(batches), np.concatenate([b.cut for b in batches])
    assert cut.any()
    assert shapely.is_valid(found).all()
    assert shapely.get_num_coordinates(found).max() < 1600
    assert shapely.area(found).sum() == labels.size
    other = traced(labels, [400], max_vertices=1000)
    assert shapely.to_wkb(polygons(other)).tolist() == shapely.to_wkb(found).tolist()


def test_outer_rings_come_first_and_run_clockwise_on_the_screen() -> None:
    for batch in traced(smooth_labels(100, 100, sigma=2, seed=5), [13]):
        assert isinstance(batch, Regions)
        for k in range(len(batch)):
            for place, ring in enumerate(range(batch.parts[k], batch.parts[k + 1])):
                x, y = batch.xy[batch.rings[ring] : batch.rings[ring + 1]].T.astype(float)
                area = (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()
                assert (area > 0) == (place == 0)
