"""The engine end to end on scenes in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from rsov.engine.plan import make_plan
from rsov.engine.run import run
from rsov.types import Background, BackgroundTerm
from tests.support.models import COLOURS, ColourSegmenter, RandomSegmenter
from tests.support.scenes import ArrayScene, ArraySink, legend

if TYPE_CHECKING:
    from numpy.typing import NDArray

GB = 2**30


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random colours with some noise: every class of a random head finds places to win."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (3, height // 16 + 2, width // 16 + 2))
    fine = coarse.repeat(16, 1).repeat(16, 2)[:, 7 : 7 + height, 5 : 5 + width]
    return np.clip(fine + random.integers(-20, 21, fine.shape), 0, 255).astype(np.uint8)


def classify(scene: ArrayScene, model, words, *, background=(), budget=4 * GB, parts=None, **options):
    names = legend(*words)
    plan = make_plan(scene.work, scene.grid, scene.output_grid, model.card, len(names), budget, **options)
    head = model.head(names, Background(tuple(BackgroundTerm(b, (b,)) for b in background)))
    sink = ArraySink(scene.output_grid, len(names))
    stats = run(scene, model, head, names, plan, sink, confidence=True, probs=True, parts=parts)
    return sink, plan, stats


def test_colours_become_classes():
    words = ("forest", "road", "water")
    data = np.zeros((3, 96, 160), np.uint8)
    data[:, :, :64] = np.array(COLOURS["forest"])[:, None, None]
    data[:, :, 64:96] = np.array(COLOURS["road"])[:, None, None]
    data[:, :, 96:128] = np.array(COLOURS["water"])[:, None, None]
    data[:, :, 128:] = np.array(COLOURS["sand"])[:, None, None]
    sink, _, stats = classify(ArrayScene(data), ColourSegmenter(), words, background=("sand",))
    assert [int(sink.labels[40, x]) for x in (5, 60, 80, 110, 150)] == [1, 1, 2, 3, 255]
    assert sink.seen.all()
    assert stats.valid_pixels == 96 * 160


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.5, 2.5), (0.7, 1.3)])
def test_a_part_alone_has_the_same_bytes(scale):
    scene = ArrayScene(picture(200, 330), scale=scale)
    model = RandomSegmenter()
    whole, plan, _ = classify(scene, model, ("a", "b", "c"), background=("d",))
    names = legend("a", "b", "c")
    head = model.head(names, Background((BackgroundTerm("d", ("d",)),)))
    for part in plan.parts():
        alone = ArraySink(scene.output_grid, 3)
        run(scene, model, head, names, plan, alone, parts=[part], confidence=True, probs=True)
        place = np.s_[part.window.row : part.window.bottom, part.window.col : part.window.right]
        assert alone.seen[place].all()
        assert alone.seen.sum() == part.window.width * part.window.height
        np.testing.assert_array_equal(alone.labels[place], whole.labels[place])
        np.testing.assert_array_equal(alone.confidence[place], whole.confidence[place])
        np.testing.assert_array_equal(alone.probs[:, *place], whole.probs[:, *place])
