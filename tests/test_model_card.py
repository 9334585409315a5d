"""The texts of the model card that are made from the data sets: whole, and plain to a reader without the sets."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from rsov.jobs.train.evaluate import Reliability
from rsov.models.bundled.weights import load_bundled, read_card, shipped_path

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "model_card.py"


@pytest.fixture(scope="module")
def card() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_card", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its data classes look for their names
    spec.loader.exec_module(module)
    return module


def test_a_licence_of_common_length_is_whole(card: ModuleType) -> None:
    text = "Public domain (CC0 1.0), stated in the catalogue of the survey; " + "x" * 130
    assert card.licence(SimpleNamespace(licence=text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CC BY 4.0; " + "long " * 60, "CC BY 4.0 …"),
        ("one\ntwo | " + "word " * 60, "one two / " + "word " * 45 + "…"),
    ],
)
def test_a_longer_licence_ends_at_a_clause_or_a_word(card: ModuleType, text: str, shown: str) -> None:
    found = card.licence(SimpleNamespace(licence=text))
    assert found == shown
    assert len(found) <= card.LONGEST_LICENCE


def test_pictures_of_many_origins_are_named_in_plain_words(card: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(
        """
[[picture]]
licence = "imagery: Survey CC BY 4.0; repository MIT"
[[picture]]
licence = "Agency CC0; repository without licence file"
[[picture]]
licence = "none stated (workshop material)"
[[picture]]
licence = "imagery: Survey CC BY 4.0; repository GPL-3.0"
"""
    )
    found = card.licence(SimpleNamespace(licence="mixed, see [[picture]]", folder=tmp_path))
    assert found == "mixed: Survey CC BY 4.0; Agency CC0; none stated for 1 of 4 pictures"


def test_the_diagram_pools_the_pixels_of_all_sets(card: ModuleType, tmp_path: Path) -> None:
    sets, both = [Reliability() for _ in range(2)], Reliability()
    rng = np.random.default_rng(3)
    for number, each in enumerate(sets):
        logits = torch.from_numpy(rng.normal(0, 2, (3, 500 * (number + 1))))
        truth = rng.integers(0, 3, logits.shape[1])
        each.add(logits, truth)
        both.add(logits, truth)
    rows = [
        {"reliability": {key: getattr(each, key).tolist() for key in ("pixels", "confidence", "right")}}
        for each in sets
    ]
    pooled = card.Pooled.of(rows)
    assert pooled.error == pytest.approx(both.error(load_bundled()[1].temperature))
    card.draw_reliability({"one": pooled, "two": pooled}, tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as picture:
        wide = picture.width
    card.draw_reliability({"one": pooled}, tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as picture:
        assert picture.width < wide
    assert f"{100 * pooled.error:.1f} % over one" in card.calibration({"one": pooled})


def test_the_tables_take_the_figures_of_the_benchmark_as_they_are(card: ModuleType) -> None:
    from benchmarks.quality import record  # the names of what it writes

    item = SimpleNamespace(name="forest", bag=("forest",))
    dataset: Any = SimpleNamespace(name="toy", kind="dense", bundle="no", classes=(item,))
    score: Any = SimpleNamespace(
        question=SimpleNamespace(prompts=[("forest", ("forest",))]),
        iou=[0.5], rival_iou=[0.4], mean_iou=0.5, mean_rival_iou=0.4, lost=0.1,
        reliability=SimpleNamespace(
            pixels=SimpleNamespace(tolist=list), confidence=SimpleNamespace(tolist=list),
            right=SimpleNamespace(tolist=list), error=lambda _: 0.0,
        ),
    )  # fmt: skip
    scores = dict.fromkeys(("bag", "name", "unseen", "unseen 0"), score)
    figures = {"toy": record(dataset, "all", scores, 1.0)}
    page = card.measured([dataset], figures, "A title", lambda _: True)
    assert (
        "| `toy` | dense, 1 | 50.0 | 40.0 | 50.0 | 50.0 | 50.0 | 10.0 | - | 0.0 | - | - | forest 50 |" in page
    )
    assert "| mean |  | 50.0 | 40.0 |" in page.replace("| | ", "|  | ")
    assert "forest 50 (1)" in card.by_class([dataset], figures)


def test_the_card_for_machines_is_of_the_shipped_weights_and_says_what_the_page_says(
    card: ModuleType,
) -> None:
    found = json.loads(card.FOR_MACHINES.read_text(encoding="utf-8"))
    shipped, page = read_card(shipped_path()), card.PAGE.read_text(encoding="utf-8")
    assert (found["version"], found["sha256"]) == (shipped.version, shipped.sha256)
    trained = [each for each in found["sets"] if each["bundle"] != "no" and each["pictures"]["train"]]
    assert {each["name"] for each in trained} == set(shipped.data_sets)
    assert all(each["licence"] and each["classes"] and each["gsd_m"] for each in found["sets"])
    rows = [line.split("|")[3:11] for line in page.splitlines() if line.startswith("| mean | |")]
    for name, cells in zip(("never_trained_on", "trained_on"), rows, strict=True):
        expected = [100 * found["means"][name][key] for key in card.COLUMNS.values()]
        assert [float(cell) for cell in cells] == pytest.approx(expected, abs=0.06)
    assert len(found["limits"]) == page.split("## Limits")[1].count("\n- ")
    for name, row in found["figures"].items():
        assert f"| `{name}` |" in page
        assert row["part"] in {"val", "all"}
