"""No seams: on a real picture, labels change along tile lines no more than elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from rsov.engine import blend
from rsov.engine.plan import make_plan
from rsov.engine.run import run
from rsov.models.bundled.weights import shipped_path
from rsov.models.registry import load_segmenter
from rsov.raster.scene_open import open_scene
from rsov.raster.scene_options import ReadOptions
from rsov.text import encoder
from rsov.types import Background, BackgroundTerm, Notices
from tests.support.models import RandomSegmenter
from tests.support.scenes import ArraySink, legend

WORDS = ("forest", "road", "water", "building", "field")
OVERLAP = 128


def model():
    """The shipped weights, or random convolutions where they are not there yet."""
    if shipped_path().is_file():
        return load_segmenter("bundled", "cpu", "fp32")
    return RandomSegmenter(tile=512, overlap=OVERLAP, gsd=0.5)


@pytest.fixture(scope="module")
def maps(shared):
    """Labels of a 1000 x 1000 picture: from one tile, blended from nine, and four side by side without blending."""
    segmenter = model()
    card = segmenter.card
    scene = open_scene(
        shared / "data/orthos/koeln_50cm.tif", ReadOptions(), card.gsd, card.gsd_range, Notices()
    )
    names = legend(*WORDS)
    head = segmenter.head(names, Background((BackgroundTerm("grass", ("grass", "meadow")),)), encoder.encode)

    def labels(tile, overlap=OVERLAP):
        plan = make_plan(
            scene.work, scene.grid, scene.grid, card, len(names), 8 * 2**30, tile=tile, overlap=overlap
        )
        sink = ArraySink(scene.grid)
        run(scene, segmenter, head, names, plan, sink)
        return sink.labels, plan

    whole, _ = labels(1024)
    blended, plan = labels(512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blend, "window_weights", cut)
        joined, touching = labels(512, 8)
    lines, cuts = (
        np.array([p.cols.start(i) + p.cols.overlap // 2 for i in range(1, p.cols.count)])
        for p in (plan, touching)
    )
    return {"whole": whole, "blended": blended, "joined": joined}, lines, cuts


def cut(cells, overlap):
    """No blending: each tile counts up to the middle of the overlap."""
    weights = np.ones(cells, np.float32)
    weights[: overlap // 2] = weights[-(overlap // 2) :] = 1e-6
    return weights


def changes(labels):
    """Share of neighbours with different labels, by column line and by row line."""
    return (labels[:, 1:] != labels[:, :-1]).mean(0), (labels[1:] != labels[:-1]).mean(1)


def along(labels, lines, reach):
    """Mean share of changes across the tile lines and those up to ``reach`` pixels beside them."""
    near = np.unique(lines[:, None] + np.arange(-reach, reach + 1)) - 1
    across, down = changes(labels)
    return (across[near].mean() + down[near].mean()) / 2


@pytest.mark.parametrize("reach", [2, 8, OVERLAP // 2])
def test_labels_change_along_tile_lines_no_more_than_elsewhere(maps, reach):
    """Beside what the same lines hold in the map from one tile: roads and hedges lie where they lie."""
    pictures, middle, _ = maps

    def excess(labels):
        across, down = changes(labels)
        everywhere = (across.mean() + down.mean()) / 2
        assert everywhere > 0.001, "a map with classes"
        return along(labels, middle, reach) / everywhere

    assert excess(pictures["blended"]) <= 1.1 * excess(pictures["whole"])


def test_the_measure_sees_a_seam_where_tiles_are_merely_joined(maps):
    pictures, _, cuts = maps
    assert along(pictures["joined"], cuts, 2) > 1.3 * along(pictures["whole"], cuts, 2)


def test_tiles_agree_with_one_tile_over_all(maps):
    pictures, *_ = maps
    assert (pictures["blended"] == pictures["whole"]).mean() > 0.9
