"""Blending: the kernels equal NumPy, windows add up, rolling sums keep every cell's value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsov.engine.blend import FLOOR, inverse_weights, window_weights
from rsov.kernels import blend
from tests.support import numpy_kernels


@settings(max_examples=30, deadline=None)
@given(
    st.integers(-9, 25), st.integers(-9, 25), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31)
)
def test_a_tile_is_added_as_numpy_adds_it(row, col, height, width, seed):
    random = np.random.default_rng(seed)
    total, weights = random.random((3, 20, 22), np.float32), random.random((20, 22), np.float32)
    expected = total.copy(), weights.copy()
    scores = random.standard_normal((3, height, width)).astype(np.float32)
    wy, wx = random.random(height, np.float32), random.random(width, np.float32)
    blend.add_tile(total, weights, scores, wy, wx, row, col)
    numpy_kernels.add_tile(*expected, scores, wy, wx, row, col)
    np.testing.assert_array_equal(total, expected[0])
    np.testing.assert_array_equal(weights, expected[1])


def test_cells_without_a_tile_have_no_score():
    weights = np.array([[0.0, 0.25], [1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(inverse_weights(weights), [[0, 4], [1, 0]])


@pytest.mark.parametrize(("cells", "overlap"), [(16, 4), (256, 32), (8, 2)])
def test_two_neighbours_weigh_one_together(cells, overlap):
    weights = window_weights(cells, overlap)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, weights[::-1])
    np.testing.assert_allclose(weights[-overlap:] + weights[:overlap], 1, atol=2 * FLOOR)
    assert (weights[overlap:-overlap] == 1).all()
    assert (np.diff(weights[:overlap]) > 0).all(), "smooth and rising"


def test_a_single_tile_without_overlap_weighs_one():
    assert (window_weights(8, 0) == 1).all()
