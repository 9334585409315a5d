"""Borders that are simplified stay shared by both sides."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rsov.vector import trace as module
from tests.support.vectors import polygons, smooth_labels, traced

NOISE = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 2, 3])
)


@settings(max_examples=150, deadline=None)
@given(labels=NOISE, area=st.sampled_from([0.5, 1.0, 4.0, 1e6]), band=st.sampled_from([2, 3, 512]))
def test_simplified_noise_is_a_valid_coverage_with_all_its_regions(
    labels: np.ndarray, area: float, band: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BAND_ROWS", band)
        found = polygons(traced(labels, [5], simplify_area=area))
    plain = polygons(traced(labels))
    assert shapely.is_valid(found).all()
    assert shapely.coverage_is_valid(found)
    assert len(found) == len(plain)
    assert sorted(shapely.get_num_interior_rings(found)) == sorted(shapely.get_num_interior_rings(plain))


@pytest.mark.parametrize("area", [1.0, 16.0, 400.0])
def test_a_simplified_map_has_no_gaps_and_keeps_its_area(area: float) -> None:
    labels = smooth_labels(400, 300)
    found = polygons(traced(labels, simplify_area=area))
    assert shapely.is_valid(found).all()
    assert shapely.coverage_is_valid(found)
    assert shapely.area(found).sum() == pytest.approx(labels.size)
    assert shapely.coverage_union_all(found).equals(shapely.box(0, 0, 300, 400))


def test_seams_between_bands_leave_no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = smooth_labels(300, 200, sigma=10)
    monkeypatch.setattr(module, "BAND_ROWS", 64)
    found = polygons(traced(labels, simplify_area=25.0))
    assert shapely.coverage_is_valid(found)
    assert shapely.area(found).sum() == pytest.approx(labels.size)


def test_it_drops_as_many_points_as_geos_does() -> None:
    """The rival simplifies the whole coverage at once, from polygons with a vertex at every pixel corner."""
    labels = smooth_labels(300, 300)
    ours = polygons(traced(labels, simplify_area=4.0))
    dense = shapely.transform(shapely.segmentize(polygons(traced(labels)), 1.0), np.rint)
    theirs = shapely.coverage_simplify(dense, 2.0)
    assert shapely.get_num_coordinates(ours).sum() == pytest.approx(
        shapely.get_num_coordinates(theirs).sum(), rel=0.05
    )


def test_staircases_become_straight_lines() -> None:
    labels = np.tril(np.ones((40, 40), np.uint8)) + 1
    for polygon in polygons(traced(labels, simplify_area=1.0)):
        assert shapely.get_num_coordinates(polygon) <= 8


def test_without_tolerance_every_corner_of_the_raster_stays() -> None:
    labels = smooth_labels(60, 60, sigma=2)
    found = polygons(traced(labels, simplify_area=0.0))
    pixels = np.concatenate([b.pixels for b in traced(labels)])
    assert (shapely.area(found) == pixels).all()


def test_the_edge_of_the_raster_stays_straight() -> None:
    labels = smooth_labels(100, 80, sigma=4)
    labels[:, :20] = 0
    found = shapely.union_all(polygons(traced(labels, simplify_area=50.0)))
    assert found.bounds[1:] == (0, 80, 100)
    edge = found.intersection(shapely.LineString([(80, 0), (80, 100)]))
    assert edge.length == 100
