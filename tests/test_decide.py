"""Deciding: the kernel equals NumPy's arg-max and softmax of bilinear scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsov.engine.lattice import AxisMap
from rsov.kernels.decide import NO_VALUE, STEPS, _exp, decide
from tests.support import numpy_kernels

EMPTY = np.empty((0, 0), np.bool_)


def kernel(scores, y, x, valid=EMPTY, thresholds=None, none_id=255):
    channels = len(scores)
    shape = len(y[0]), len(x[0])
    labels = np.empty(shape, np.uint8 if none_id == 255 else np.uint16)
    confidence, probs = np.empty(shape, np.uint8), np.empty((channels - 1, *shape), np.uint8)
    limits = np.zeros(channels, np.float32) if thresholds is None else np.array(thresholds, np.float32)
    decide(
        scores,
        np.ones(scores.shape[1:], np.float32),
        *y,
        *x,
        valid,
        limits,
        none_id,
        labels,
        confidence,
        probs,
    )
    return labels, confidence, probs, limits


def random_scores(seed, channels, rows, cols, spread=4.0):
    return (np.random.default_rng(seed).standard_normal((channels, rows, cols)) * spread).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 9),
    st.floats(0.05, 3.0),
    st.floats(0.05, 3.0),
    st.floats(-2.0, 2.0),
    st.integers(0, 2**31),
)
def test_labels_equal_numpy_at_any_scale_and_offset(channels, scale_x, scale_y, offset, seed):
    scores = random_scores(seed, channels, 13, 17)
    y = AxisMap(scale_y, offset, 13).table(3, 29, 0)
    x = AxisMap(scale_x, -offset, 17).table(0, 37, 0)
    valid = np.random.default_rng(seed).random((29, 37)) > 0.2
    labels, confidence, probs, limits = kernel(scores, y, x, valid)
    expected = numpy_kernels.decide(scores, *y, *x, valid, limits, 255)
    np.testing.assert_array_equal(labels, expected[0])
    assert np.abs(confidence.astype(int) - expected[1]).max() <= 1
    assert np.abs(probs.astype(int) - expected[2]).max() <= 1


def test_sums_are_divided_by_their_weights():
    scores = random_scores(6, 4, 9, 12)
    weights = np.random.default_rng(6).uniform(0.5, 2, (9, 12)).astype(np.float32)
    y, x = (AxisMap(0.25, 0.0, n).table(0, 4 * n, 0) for n in (9, 12))
    plain, *_ = kernel(scores, y, x)
    labels, confidence = np.empty((36, 48), np.uint8), np.empty((36, 48), np.uint8)
    none = np.empty((0, 0, 0), np.uint8)
    decide(
        scores * weights, 1 / weights, *y, *x, EMPTY, np.zeros(4, np.float32), 255, labels, confidence, none
    )
    assert (labels == plain).mean() > 0.999


def test_bilinear_scores_are_those_of_torch():
    """Half-pixel centres, edges repeated: torch's align_corners=False is the oracle."""
    import torch

    scores = random_scores(5, 4, 9, 12)
    y, x = (AxisMap(0.25, 0.0, n).table(0, 4 * n, 0) for n in (9, 12))
    big = torch.nn.functional.interpolate(torch.from_numpy(scores)[None], scale_factor=4, mode="bilinear")[
        0
    ].numpy()
    labels, *_ = kernel(scores, y, x)
    winner = big.argmax(0)
    clear = np.sort(big, 0)[-1] - np.sort(big, 0)[-2] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], np.where(winner == 0, 255, winner)[clear])


def test_invalid_pixels_are_zero_and_have_no_confidence():
    scores = random_scores(1, 3, 4, 4)
    y = x = AxisMap(0.25, 0.0, 4).table(0, 16, 0)
    valid = np.ones((16, 16), bool)
    valid[3:7, 9] = False
    labels, confidence, probs, _ = kernel(scores, y, x, valid)
    assert (labels[~valid] == 0).all()
    assert (labels[valid] > 0).all()
    assert (confidence[~valid] == NO_VALUE).all()
    assert (confidence[valid] <= STEPS).all()
    assert (probs[:, ~valid] == NO_VALUE).all()


def test_a_pixel_below_its_class_threshold_is_none():
    scores = random_scores(2, 4, 8, 8, spread=1.0)
    y = x = AxisMap(0.25, 0.0, 8).table(0, 32, 0)
    plain, confidence, _, _ = kernel(scores, y, x)
    strict, *_ = kernel(scores, y, x, thresholds=[0, 0.5, 0, 0])
    low = (plain == 1) & (confidence < 124)
    assert low.any()
    assert (strict[low] == 255).all()
    np.testing.assert_array_equal(strict[plain != 1], plain[plain != 1])


def test_the_first_of_equal_scores_wins():
    scores = np.zeros((3, 2, 2), np.float32)
    y = x = AxisMap(0.25, 0.0, 2).table(0, 8, 0)
    labels, confidence, *_ = kernel(scores, y, x)
    assert (labels == 255).all()
    assert (confidence == round(STEPS / 3)).all()


def test_300_classes_need_two_bytes():
    scores = random_scores(3, 301, 3, 3)
    y = x = AxisMap(0.25, 0.0, 3).table(0, 12, 0)
    labels, _, _, limits = kernel(scores, y, x, none_id=65535)
    np.testing.assert_array_equal(labels, numpy_kernels.decide(scores, *y, *x, EMPTY, limits, 65535)[0])
    assert labels.max() > 255


def test_a_chunk_of_columns_equals_the_whole_row():
    scores = random_scores(4, 5, 6, 40)
    axis = AxisMap(0.23, 0.4, 40)
    y = AxisMap(0.25, 0.0, 6).table(0, 24, 0)
    whole, *_ = kernel(scores, y, axis.table(0, 160, 0))
    chunk, *_ = kernel(scores, y, axis.table(50, 30, 0))
    np.testing.assert_array_equal(chunk, whole[:, 50:80])


@pytest.mark.parametrize("value", [0.0, -1e-7, -0.3, -5.0, -20.0, -79.0, -1e4])
def test_the_fast_exponential_is_close_enough(value):
    assert abs(float(_exp(np.float32(value))) - np.exp(value)) < 1e-6
