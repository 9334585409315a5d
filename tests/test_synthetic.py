"""The landscape drawn from code."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from rsov.datasets.synthetic import BLOCK_ROWS, BUILDING, CLASSES, FOREST, ROAD, WATER, draw_scene, make_scene

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_is_georeferenced_and_holds_the_drawn_colours(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    labels = make_scene(path, size=(300, 200), gsd=0.5, seed=1)
    colours, drawn = draw_scene(size=(300, 200), gsd=0.5, seed=1)
    with rasterio.open(path) as scene:
        assert (scene.width, scene.height, scene.count, scene.dtypes[0]) == (300, 200, 3, "uint8")
        assert scene.crs.to_epsg() == 32632
        assert scene.res == (0.5, 0.5)
        np.testing.assert_array_equal(scene.read(), colours)
    np.testing.assert_array_equal(labels, drawn)


@pytest.mark.parametrize("seed", range(4))
def test_every_class_is_there_for_every_seed(seed: int) -> None:
    _, labels = draw_scene(size=(512, 512), gsd=0.6, seed=seed)
    share = np.bincount(labels.ravel(), minlength=7) / labels.size
    assert share[0] == 0
    assert all(share[1 + i] > 0.005 for i in range(len(CLASSES))), dict(zip(CLASSES, share[1:], strict=True))


def test_the_same_seed_gives_the_same_bytes_on_every_machine() -> None:
    colours, labels = draw_scene(size=(160, 120), gsd=1.2, seed=5)
    assert (
        hashlib.sha256(colours.tobytes() + labels.tobytes()).hexdigest()
        == "a8fbef6caecf5babba85be14abd2c83fcaddb2755f6387e484ebb2d1ea5a6410"
    )


def test_another_seed_gives_another_landscape() -> None:
    one, two = (draw_scene(size=(128, 128), gsd=2.0, seed=seed)[1] for seed in (1, 2))
    assert (one != two).mean() > 0.1


def test_blocks_leave_no_seam(tmp_path: Path) -> None:
    size = (64, BLOCK_ROWS + 40)
    make_scene(tmp_path / "blocks.tif", size=size, gsd=0.5, seed=2)
    whole, _ = draw_scene(size=size, gsd=0.5, seed=2)
    with rasterio.open(tmp_path / "blocks.tif") as scene:
        np.testing.assert_array_equal(scene.read(), whole)


def test_classes_differ_in_colour_as_they_do_from_the_air() -> None:
    colours, labels = draw_scene(size=(512, 512), gsd=0.6, seed=0)
    red, green, blue = ({k: band[labels == k].mean() for k in range(1, 7)} for band in colours.astype(float))
    assert green[FOREST] > red[FOREST] > blue[FOREST]
    assert blue[WATER] > red[WATER]
    assert abs(red[ROAD] - blue[ROAD]) < 20
    assert green[FOREST] < green[ROAD]
    assert (labels == BUILDING).any()
