"""The bias over the text space: what it does to scores, how it is fitted, how a bundle keeps it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional

from rsov.datasets.sets import DataSet, read_set
from rsov.datasets.synthetic import CLASSES, draw_scene
from rsov.jobs.train.calibrate import fit_text_bias
from rsov.jobs.train.evaluate import Reader, read_scaled, ready, score_set
from rsov.jobs.train.questions import legend_question, whole_bag
from rsov.models.bundled.card import BundledCard
from rsov.models.bundled.network import BundledNetwork, NetworkShape
from rsov.models.bundled.weights import load_bundled, save_bundled
from rsov.text.encoder import encode

if TYPE_CHECKING:
    from pathlib import Path

READER = Reader(0.3, (0.3, 1.0))
SMALL = NetworkShape(coarse=16, fine=12)


def make_network() -> BundledNetwork:
    torch.manual_seed(3)
    return BundledNetwork(SMALL).eval()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    rgb, label = draw_scene((192, 160), 0.4, 1)
    Image.fromarray(rgb.transpose(1, 2, 0).copy()).save(folder / "images" / "a.png")
    Image.fromarray(label).save(folder / "labels" / "a.png")
    lines = [
        'name = "drawn"', 'bundle = "yes"', 'licence = "CC0"', "gsd_m = 0.4", 'kind = "dense"',
        *(f'[[class]]\nid = {i + 1}\nname = "{n}"' for i, n in enumerate(CLASSES)),
        '[split]\ntrain = []\nval = ["a.png"]',
    ]  # fmt: skip
    (folder / "dataset.toml").write_text("\n".join(lines), encoding="utf-8")
    return read_set(folder)


def test_the_bias_is_added_to_the_logit_of_each_text_before_the_best_of_a_class_is_taken() -> None:
    network, vectors = make_network(), functional.normalize(torch.randn(5, 384), dim=1)
    f, bias = torch.rand(1, 12, 4, 4), torch.randn(384)
    with torch.no_grad():
        pixels = functional.normalize(network.project(f), dim=1)
        plain = torch.einsum("kd,bdhw->bkhw", vectors, pixels) * network.scale
        network.text_bias = bias
        logits = (plain + (vectors @ bias)[:, None, None]).split([2, 3], 1)
        explicit = torch.cat([part.amax(1, keepdim=True) for part in logits], 1)
        assert torch.allclose(network.fold(vectors, [2, 3])(f), explicit, atol=1e-4)
        cooler = network.fold(vectors, [2, 3], float(network.scale) / 2)(f)
    assert torch.allclose(cooler, explicit / 2, atol=1e-4)


def knowing(drawn: DataSet) -> BundledNetwork:
    """A network whose last layer is solved for the labels of the picture, but for a road in every pixel."""
    network = make_network()
    rgb, label = read_scaled(drawn.val[0], READER)
    x = torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].float()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train().features(x)
        cells = network.eval().features(x)[0].flatten(1).T
        truth = torch.from_numpy(label[2::4, 2::4].ravel().astype(int)) - 1
        names = torch.from_numpy(encode(CLASSES))
        solved = torch.linalg.lstsq(functional.pad(cells, (0, 1), value=1.0), names[truth]).solution
        network.project.weight.copy_(solved[:-1].T[:, :, None, None])
        network.project.bias.copy_(solved[-1] + 0.3 * names[CLASSES.index("road")])
    return network


def test_a_name_that_takes_too_much_is_put_back(drawn: DataSet) -> None:
    network = knowing(drawn)
    question = legend_question("bag", drawn, whole_bag)

    def score() -> float:
        return score_set(ready(network, torch.float32), drawn.val, READER, [question])["bag"].mean_iou

    before = score()
    lines: list[str] = []
    network.text_bias = fit_text_bias(network, [drawn], READER, lines.append)
    assert float(network.text_bias @ torch.from_numpy(encode(["road"])[0])) < 0
    assert score() > before + 0.03
    assert "1 sets" in lines[0]


def test_without_validation_pictures_no_name_is_changed(drawn: DataSet) -> None:
    assert not fit_text_bias(make_network(), [replace(drawn, val=())], READER).any()


def test_a_bundle_keeps_the_bias_and_one_of_before_has_none(tmp_path: Path) -> None:
    card = BundledCard(
        name="small", version="1", sha256="", gsd=0.4, gsd_range=(0.3, 0.6), licence="CC0",
        coarse_channels=16, fine_channels=12,
    )  # fmt: skip
    bias, path = torch.randn(384), tmp_path / "b.safetensors"
    save_bundled(path, {**make_network().state_dict(), "text_bias": bias}, card)
    assert torch.equal(load_bundled(path)[0].text_bias, bias)

    old = load_file(path)
    del old["text_bias"]
    save_file(old, path)
    place = path.with_suffix(".json")
    table = json.loads(place.read_text(encoding="utf-8"))
    table["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    place.write_text(json.dumps(table), encoding="utf-8")
    assert not load_bundled(path)[0].text_bias.any()
