"""Measuring a network: pictures are read as prediction reads them, labels are met where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rsov.datasets.sets import PictureRef
from rsov.jobs.train.evaluate import Reader, read_scaled, score_set
from rsov.jobs.train.questions import Question
from rsov.models.bundled.network import STRIDE
from rsov.raster.scene_open import open_scene
from rsov.raster.scene_options import ReadOptions
from rsov.types import Notices, Window
from tests.support.rasters import write

if TYPE_CHECKING:
    from pathlib import Path

READER = Reader(0.3, (0.3, 1.0))


def picture(folder: Path, gsd: float, data: np.ndarray) -> PictureRef:
    """Data [3, h, w] with nodata 0; labels are all 1."""
    path = write(folder / "a.tif", data, crs=None, transform=None, nodata=0)
    Image.fromarray(np.ones(data.shape[1:], np.uint8)).save(folder / "a.png")
    return PictureRef("a.tif", path, folder / "a.png", gsd)


@pytest.mark.parametrize("gsd", [0.1, 0.13, 0.28, 0.29, 0.3, 1.0, 1.04, 1.1, 3.0, 9.0])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_are_measured_as_prediction_reads_them(tmp_path: Path, gsd: float) -> None:
    data = np.random.default_rng(0).integers(40, 180, (3, 101, 83)).astype(np.uint8)
    data[:, :30, :20] = 0
    ref = picture(tmp_path, gsd, data)
    got, label = read_scaled(ref, READER)
    scene = open_scene(ref.image, ReadOptions(gsd=gsd), READER.gsd, READER.gsd_range, Notices())
    with scene.open_reader() as reader:
        expected = reader.read(Window(0, 0, scene.work.width, scene.work.height)).data
    assert np.array_equal(got.transpose(2, 0, 1), expected)
    assert label.shape == (101, 83)


class Echo(nn.Module):
    """A network whose features are the picture at the stride of the shipped one."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = self.pyramid = nn.Linear(1, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x, STRIDE)


@pytest.mark.parametrize("gsd", [0.1, 0.3, 4.0])
def test_labels_are_met_where_they_lie_at_any_scale(tmp_path: Path, gsd: float) -> None:
    """A picture that shows its own labels, with edges between cells, is answered right but for its corner.

    The last work pixel is a third of one where pixels are averaged by three.
    """
    label = np.zeros((385, 373), np.uint8)
    label[240:] = label[:, 360:] = 1
    Image.fromarray(np.where(label == 1, np.uint8(250), np.uint8(0))).convert("RGB").save(tmp_path / "a.png")
    Image.fromarray(label).save(tmp_path / "l.png")
    ref = PictureRef("a.png", tmp_path / "a.png", tmp_path / "l.png", gsd)
    truth = np.full(256, 2, np.int64)
    truth[:2] = 0, 1
    question = Question("bag", (("dark", ("dark",)), ("bright", ("bright",))), truth)

    def answer(cells: torch.Tensor) -> torch.Tensor:
        return torch.cat([250 - cells[:, :1], cells[:, :1]], 1)

    score = score_set(Echo(), [ref], READER, [question], lambda *_: answer)["bag"]
    assert score.legend.sum() == label.size
    assert np.trace(score.legend) >= label.size - 9
