"""Training: a run that was cut off ends as one that was not, rules of contrast are true, recipes are strict."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rsov.datasets.sets import DataSet, SetClass
from rsov.errors import ModelError, ResourceError, UsageError
from rsov.jobs.train.bundled import Recipe, sample_points
from rsov.jobs.train.checkpoint import Average, load_checkpoint, load_weights
from rsov.jobs.train.contrast import Contrast, Masks, class_bag, class_rule, contrast_loss
from rsov.jobs.train.evaluate import class_iou
from rsov.jobs.train.feed import feed
from rsov.jobs.train.loop import LAST, LOG, LoopSettings, Trainee, forget, run_loop
from rsov.jobs.train.recipe import load_recipe
from rsov.jobs.train.schedule import Schedule
from rsov.text.concepts import background_concepts, concepts

SETTINGS = LoopSettings(
    steps=20, decay_steps=6, warmup_steps=4, save_every=5, keep_every=10, log_every=5, workers=0
)


class Tiny(nn.Module):
    """Convolution and normalisation: weights, vectors and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.bn(self.trunk(x))))


def make_batch(step: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, step)).standard_normal((4, 3, 8, 8)).astype(np.float32)


def tiny_loss(network: nn.Module, step: int, batch: np.ndarray) -> dict[str, torch.Tensor]:
    x = torch.from_numpy(batch)
    target = x.mean(1, keepdim=True)[..., 1:-1, 1:-1] + step / 100
    return {"total": (network(x) - target).square().mean()}


def trainee() -> Trainee[np.ndarray]:
    torch.manual_seed(0)
    return Trainee(Tiny(), lambda name: 1e-2 if name.startswith("trunk") else 3e-2, make_batch, tiny_loss)


def weights(path: Path) -> dict[str, torch.Tensor]:
    network = Tiny()
    average = Average(network, 0.999)
    load_checkpoint(path, network, average, None)
    return {**network.state_dict(), **{f"average/{k}": v for k, v in average.values.items()}}


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path) -> None:
    run_loop(trainee(), SETTINGS, tmp_path / "whole")
    calls = iter(range(100))
    done = run_loop(trainee(), SETTINGS, tmp_path / "cut", should_stop=lambda: next(calls) == 6)
    assert done == 7
    assert run_loop(trainee(), SETTINGS, tmp_path / "cut") == 20
    whole, cut = weights(tmp_path / "whole" / LAST), weights(tmp_path / "cut" / LAST)
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_the_number_of_steps_may_be_chosen_late(tmp_path: Path) -> None:
    run_loop(trainee(), replace(SETTINGS, steps=16), tmp_path / "short")
    calls = iter(range(100))
    run_loop(trainee(), replace(SETTINGS, steps=40), tmp_path / "long", should_stop=lambda: next(calls) == 8)
    run_loop(trainee(), replace(SETTINGS, steps=16), tmp_path / "long")
    short, long = weights(tmp_path / "short" / LAST), weights(tmp_path / "long" / LAST)
    assert all(torch.equal(short[key], long[key]) for key in short)


def test_training_learns_and_logs(tmp_path: Path) -> None:
    run_loop(trainee(), replace(SETTINGS, steps=60, decay_steps=20), tmp_path)
    with (tmp_path / LOG).open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == list(range(5, 61, 5))
    assert float(rows[-1]["total"]) < float(rows[0]["total"]) / 2
    assert all(float(row["s_per_step"]) >= 0 for row in rows)
    assert sorted(p.name for p in tmp_path.glob("step_*")) == [
        f"step_{n:06d}.safetensors" for n in range(10, 61, 10)
    ]
    assert not list(tmp_path.glob("*.part"))


def test_a_run_that_diverges_stops_with_a_word(tmp_path: Path) -> None:
    bad = replace(
        trainee(),
        loss=lambda network, step, batch: {"total": network(torch.from_numpy(batch)).sum() * math.nan},
    )
    with pytest.raises(ModelError, match="diverged"):
        run_loop(bad, SETTINGS, tmp_path)


def test_a_foreign_file_is_no_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / LAST)
    with pytest.raises(ModelError, match="no checkpoint"):
        run_loop(trainee(), SETTINGS, tmp_path)


def test_a_checkpoint_that_was_cut_is_refused(tmp_path: Path) -> None:
    run_loop(trainee(), replace(SETTINGS, steps=1), tmp_path)
    path = tmp_path / LAST
    whole = path.read_bytes()
    for size in (0, 5, 200, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match="cannot be read"):
            run_loop(trainee(), SETTINGS, tmp_path)
        with pytest.raises(ModelError, match="cannot be read"):
            load_weights(path)


class Wider(Tiny):
    """The same names, other shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(4, 3, 1)


class Longer(Tiny):
    """A layer more."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Conv2d(2, 2, 1)


@pytest.mark.parametrize("other", [Wider, Longer])
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, other: type[Tiny]) -> None:
    run_loop(trainee(), replace(SETTINGS, steps=1), tmp_path)
    with pytest.raises(ModelError, match="another network"):
        run_loop(replace(trainee(), network=other()), SETTINGS, tmp_path)


def test_a_run_does_not_go_on_with_another_note(tmp_path: Path) -> None:
    one = replace(SETTINGS, steps=1)
    made, other = {"rate": "1", "data": "a"}, {"rate": "2", "data": "a", "boost.b": "3"}
    run_loop(trainee(), one, tmp_path, note=made)
    with pytest.raises(UsageError) as caught:
        run_loop(trainee(), SETTINGS, tmp_path, note=other)
    assert caught.value.why == "rate was 1, is 2; boost.b was not there, is 3"
    assert run_loop(trainee(), SETTINGS, tmp_path, note=made) == 20
    forget(tmp_path)
    assert run_loop(trainee(), one, tmp_path, note=other) == 1


def test_a_checkpoint_without_a_note_goes_on(tmp_path: Path) -> None:
    run_loop(trainee(), replace(SETTINGS, steps=1), tmp_path)
    assert run_loop(trainee(), SETTINGS, tmp_path, note={"rate": "1"}) == 20


def test_the_average_lies_between_old_and_new_and_copies_counters(tmp_path: Path) -> None:
    network = Tiny()
    average = Average(network, 0.5)
    start = average.values["head.weight"].clone()
    with torch.no_grad():
        network.head.weight.add_(1)
        network.bn.num_batches_tracked += 3
    average.update(network, 10**6)
    assert torch.allclose(average.values["head.weight"], start + 0.5)
    assert int(average.values["bn.num_batches_tracked"]) == 3


def test_the_average_is_read_alone(tmp_path: Path) -> None:
    run_loop(trainee(), SETTINGS, tmp_path)
    assert set(load_weights(tmp_path / LAST)) == set(Tiny().state_dict())


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_order_from_any_number_of_processes(workers: int) -> None:
    got = list(feed(partial(make_batch, seed=5), 3, 8, workers))
    assert all((a == make_batch(step, 5)).all() for a, step in zip(got, range(3, 8), strict=True))


def broken_batch(step: int) -> np.ndarray:
    raise ValueError(f"no batch for step {step}")


def test_a_loader_that_dies_is_reported(monkeypatch) -> None:
    monkeypatch.setattr("rsov.jobs.train.feed._PATIENCE_S", 0.5)
    with pytest.raises(ResourceError, match="loader"):
        list(feed(broken_batch, 0, 2, 1))


def test_the_schedule_warms_up_holds_and_decays() -> None:
    schedule = Schedule(steps=100, decay_steps=20, warmup_steps=10)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert {schedule.factor(step) for step in range(10, 80)} == {1.0}
    assert schedule.factor(90) == pytest.approx(0.5)
    assert schedule.factor(99) == pytest.approx(0.05)
    assert schedule.factor(100) == 0.01
    assert schedule.factor(50) == Schedule(500, 20, 10).factor(50)


def test_the_shipped_recipe_is_valid_and_can_be_changed() -> None:
    recipe = load_recipe(Recipe, None, "bundled")
    assert recipe.loop.steps > recipe.loop.decay_steps
    changed = load_recipe(Recipe, None, "bundled", ["loop.steps=7", "text_noise=0", "boost.toy=2.5"])
    assert (changed.loop.steps, changed.text_noise) == (7, 0.0)
    assert changed.boost == recipe.boost | {"toy": 2.5}


@pytest.mark.parametrize(
    "change",
    ["loop.stepz=7", "loop.steps=7.5", "steps", "loop=3", "rate_trunk=fast", "seed.x=1", "boost=5",
     "boost.toy=much", "boost.toy=-1", "exclude_sets=5", "exclude_sets=toy", "exclude_sets=[5]", "batch=0", "seed=-1",
     "members=0", "members=99999999999999999999", "crops.size=0", "crops.points=0", "loop.steps=0",
     "loop.save_every=0", "loop.log_every=0", "loop.keep_every=0", "text_noise=nan"],
)  # fmt: skip
def test_a_wrong_change_of_a_recipe_is_refused(change: str) -> None:
    with pytest.raises(UsageError):
        load_recipe(Recipe, None, "bundled", [change])


def test_a_recipe_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("a =")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(Recipe, path, "bundled")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(Recipe, tmp_path / "none.toml", "bundled")


LEGEND = (SetClass(1, "forest"), SetClass(2, "road"), SetClass(4, "dirt road"))


def general_columns(mask: np.ndarray, legend: int) -> set[str]:
    return {c.name for c, on in zip(background_concepts(), mask[legend:], strict=True) if on}


def test_a_pixel_competes_with_its_legend_and_with_what_its_class_excludes() -> None:
    rule = class_rule(LEGEND, LEGEND[1], background_concepts(), concepts())
    assert rule.right[:3].tolist() == [False, True, False]
    assert rule.takes_part[:3].all()
    rivals = general_columns(rule.takes_part, 3)
    assert {"water", "building", "forest"} <= rivals
    assert not {"road", "dirt road", "parking lot", "runway", "sand", "vehicle"} & rivals
    assert general_columns(rule.right, 3) == set()
    assert general_columns(rule.true, 3) == {"road"}


def test_other_is_anything_but_the_classes() -> None:
    legend = (SetClass(1, "road"),)
    rule = class_rule(legend, SetClass(0, "other"), background_concepts(), concepts())
    assert rule.right[:1].tolist() == [False]
    assert rule.takes_part[:1].tolist() == [True]
    assert {"water", "forest", "dirt road", "parking lot"} <= general_columns(rule.right, 1)
    assert "road" not in general_columns(rule.right, 1)
    assert "road" in general_columns(rule.takes_part, 1)
    assert not rule.true.any()


def test_bags_leave_out_held_out_and_foreign_texts() -> None:
    bag = class_bag(
        SetClass(0, "arable field", ("cropland", "bare soil", "wheat field"), "a field"), concepts()
    )
    assert "cropland" in bag.texts
    assert "ploughed field" in bag.texts
    assert not {"bare soil", "wheat field", "tilled field"} & set(bag.texts)
    assert bag.weights[bag.texts.index("arable field")] == max(bag.weights)
    assert bag.weights[bag.texts.index("a field")] == min(bag.weights)
    assert class_bag(SetClass(0, "zeppelin", ("airship",)), concepts()).texts == ("zeppelin", "airship")


def make_contrast() -> tuple[Contrast, list[DataSet]]:
    sets = [
        DataSet("a", Path(), "dense", "yes", "", 0.5, LEGEND),
        DataSet("b", Path(), "single", "yes", "", 0.5, (SetClass(0, "other"), SetClass(1, "water"))),
    ]
    texts = Contrast.texts(sets, background_concepts(), concepts())
    rng = np.random.default_rng(0)
    vectors = {text: rng.standard_normal(8).astype(np.float32) for text in texts}
    return Contrast(sets, background_concepts(), concepts(), vectors), sets


def test_masks_put_every_set_into_its_own_columns() -> None:
    contrast, _ = make_contrast()
    keys = np.array([[0, 2], [1, 1], [1, 0]])
    masks = contrast.masks([0, 1], keys)
    texts = contrast.draw([0, 1], np.random.default_rng(1), 0.1)
    assert texts.shape == (4 + len(background_concepts()), 8)
    assert torch.allclose(texts.norm(dim=1), torch.ones(len(texts)), atol=1e-5)
    assert masks.takes_part[:, :4].tolist() == [
        [True, True, True, False],
        [False, False, False, True],
        [False] * 3 + [True],
    ]
    assert masks.right[:2, :4].tolist() == [[False, True, False, False], [False, False, False, True]]
    assert not masks.right[2, :4].any()


def random_case(pixels: int = 6, columns: int = 5) -> tuple[torch.Tensor, Masks]:
    generator = torch.Generator().manual_seed(3)
    cosine = torch.rand(pixels, columns, generator=generator) * 2 - 1
    right = torch.zeros(pixels, columns, dtype=torch.bool)
    right[torch.arange(pixels), torch.arange(pixels) % columns] = True
    part = right | (torch.rand(pixels, columns, generator=generator) > 0.3)
    return cosine, Masks(right, part, right.clone())


def loss_of(cosine: torch.Tensor, masks: Masks) -> tuple[torch.Tensor, torch.Tensor]:
    return contrast_loss(cosine, masks, torch.tensor(14.0), torch.tensor(10.0), torch.tensor(-4.8))


def test_the_softmax_is_cross_entropy_over_the_columns_that_take_part() -> None:
    cosine, masks = random_case()
    logits = (cosine * 14).masked_fill(~masks.takes_part, -torch.inf)
    expected = nn.functional.cross_entropy(logits, masks.right.int().argmax(1))
    assert torch.allclose(loss_of(cosine, masks)[0], expected, atol=1e-5)


def test_several_right_columns_share() -> None:
    cosine = torch.tensor([[0.5, 0.5, -1.0]])
    masks = Masks(
        torch.tensor([[True, True, False]]),
        torch.ones(1, 3, dtype=torch.bool),
        torch.zeros(1, 3, dtype=torch.bool),
    )
    assert float(loss_of(cosine, masks)[0]) < 1e-3


def test_the_loss_does_not_depend_on_the_order_of_columns_or_on_idle_ones() -> None:
    cosine, masks = random_case()
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = loss_of(cosine[:, order], Masks(*(m[:, order] for m in masks)))
    idle = torch.zeros(6, 1, dtype=torch.bool)
    wider = loss_of(
        torch.cat([cosine, torch.ones(6, 1)], 1), Masks(*(torch.cat([m, idle], 1) for m in masks))
    )
    for a, b, c in zip(loss_of(cosine, masks), moved, wider, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
        assert torch.allclose(a, c, atol=1e-6)


def test_pixels_with_nothing_right_add_nothing() -> None:
    cosine, masks = random_case()
    more = Masks(*(torch.cat([m, torch.zeros(3, 5, dtype=torch.bool)]) for m in masks))
    for a, b in zip(
        loss_of(cosine, masks), loss_of(torch.cat([cosine, torch.rand(3, 5)]), more), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_batch_without_labels_has_no_gradient_and_no_error() -> None:
    cosine = torch.rand(4, 5, requires_grad=True)
    nothing = torch.zeros(4, 5, dtype=torch.bool)
    softmax, sigmoid = loss_of(cosine, Masks(nothing, nothing, nothing))
    (softmax + sigmoid).backward()
    assert softmax.item() == sigmoid.item() == 0
    assert not cosine.grad.any()


def test_points_are_read_at_pixel_centres() -> None:
    ramp = torch.arange(8.0).repeat(8, 1)[None, None]
    xy = torch.tensor([[[1, 5], [16, 5], [30, 31]]])
    expected = torch.tensor([(1.5 / 4 - 0.5), (16.5 / 4 - 0.5), (30.5 / 4 - 0.5)]).clamp(0, 7)
    assert torch.allclose(sample_points(ramp, xy, 32)[:, 0], expected, atol=1e-5)


def test_iou_counts_what_no_class_took_as_an_error_only() -> None:
    matrix = np.array([[5, 1, 2], [0, 0, 0], [3, 0, 9]])
    first, second = class_iou(matrix)
    assert first == pytest.approx(5 / (5 + 1 + 2 + 3))
    assert math.isnan(second)
