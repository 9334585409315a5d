"""Quality of the shipped model on labelled data sets.

    python benchmarks/quality.py --data DIR [--model FILE.safetensors] [--sets NAME ...] [--json FILE]

One line per set: mean IoU of the classes that occur in the truth, the set's legend as prompts and no
background; the same with the default background vocabulary; with the names alone, with a bag of three words
that no training saw, and with one such word at a time (mean over the words); IoU of the prompts `forest` and
`road` of a run with these two; share of the pixels of prompted classes that become none of them, and of all
pixels that get a class from `glacier,airport`; calibration error of the confidence. Sets of bundle `no` were
never trained on: all their pictures count. Of the others only the pictures of the validation split do; sets
without any are listed. Sets of kind `single` have no legend to compete with: their one class is scored
against the background vocabulary.

`--model` takes a bundle or a checkpoint; one that was trained with `closed = true` has a layer of classes per
set and is asked for these: the first column of the dense sets that it was trained on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rsov.datasets.sets import DataSet, PictureRef, SplitPart, find_sets
from rsov.engine.runtime import keep_freed_memory
from rsov.jobs.train.checkpoint import load_weights, network_of
from rsov.jobs.train.closed import ClosedNetwork
from rsov.jobs.train.evaluate import Answer, Reader, Score, ready, score_set
from rsov.jobs.train.export import GSD, GSD_RANGE, TEMPERATURE
from rsov.jobs.train.questions import legend_question, questions, whole_bag
from rsov.models.bundled.weights import load_bundled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rsov.models.bundled.network import BundledNetwork


def pictures_of(dataset: DataSet) -> tuple[SplitPart, tuple[PictureRef, ...]]:
    """Which part of a set is measured."""
    part: SplitPart = "all" if dataset.bundle == "no" else "val"
    return part, dataset.pictures(part)


@dataclass(frozen=True)
class Subject:
    """What is measured: a network, how it reads, its temperature, and layers of classes if it has such.

    `heads` are named by the folders of the sets that they were trained on.
    """

    network: BundledNetwork
    reader: Reader
    temperature: float
    heads: Mapping[str, Answer] | None = None

    def answers(self, dataset: DataSet) -> bool:
        """Whether there is anything to ask about a set: words can name all of them."""
        return self.heads is None or (dataset.kind == "dense" and dataset.folder.name in self.heads)

    def record(self, dataset: DataSet, part: str, refs: Sequence[PictureRef]) -> dict[str, Any]:
        """The figures of a set."""
        if self.heads is None:
            scores = score_set(self.network, refs, self.reader, questions(dataset))
            return record(dataset, part, scores, self.temperature)
        head = self.heads[dataset.folder.name]
        question = legend_question("bag", dataset, whole_bag)
        bag = score_set(self.network, refs, self.reader, [question], lambda *_: head)["bag"]
        iou = _named(bag, bag.iou)
        return {"part": part, "kind": dataset.kind, "miou": bag.mean_iou, "iou": iou, "iou_background": iou}


def load(path: Path | None, dtype: torch.dtype) -> Subject:
    """A bundle, or the averaged weights of a checkpoint of the trainer."""
    if path is None or path.with_suffix(".json").exists():
        network, card = load_bundled(path)
        return Subject(ready(network, dtype), Reader(card.gsd, card.gsd_range), card.temperature)
    state, reader = load_weights(path), Reader(GSD, GSD_RANGE)
    if any(key.startswith("heads.") for key in state):
        closed = ClosedNetwork.from_state(state)
        heads: dict[str, Answer] = {name: head.to(dtype) for name, head in closed.heads.items()}
        return Subject(ready(closed.network, dtype), reader, TEMPERATURE, heads)
    return Subject(ready(network_of(state, path), dtype), reader, TEMPERATURE)


def means(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over the sets that have a figure."""

    def mean(values: Iterable[float]) -> float:
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    rows = list(records)
    found: dict[str, Any] = {key: mean(row.get(key, math.nan) for row in rows) for key in COLUMNS.values()}
    found["forest_road"] = {
        prompt: mean(row.get("forest_road", {}).get(prompt, math.nan) for row in rows) for prompt in PROMPTS
    }
    return found


def record(dataset: DataSet, part: str, scores: Mapping[str, Score], temperature: float) -> dict[str, Any]:
    """The figures of a set; shares and IoU of 0..1, NaN where there is no truth."""
    single = dataset.kind == "single"

    def miou(name: str) -> float:
        return scores[name].mean_rival_iou if single else scores[name].mean_iou

    bag = scores["bag"]
    found: dict[str, Any] = {
        "part": part,
        "kind": dataset.kind,
        "miou": miou("bag"),
        "miou_background": bag.mean_rival_iou,
        "iou": _named(bag, bag.rival_iou if single else bag.iou),
        "iou_background": _named(bag, bag.rival_iou),
        "name": miou("name"),
        "unseen": miou("unseen"),
        "unseen_one": float(np.mean([miou(name) for name in scores if name.startswith("unseen ")])),
        "lost": bag.lost,
        "reliability": {
            key: getattr(bag.reliability, key).tolist() for key in ("pixels", "confidence", "right")
        },
        "calibration_error": bag.reliability.error(temperature),
    }
    if "forest,road" in scores:
        found["forest_road"] = _named(scores["forest,road"], scores["forest,road"].rival_iou)
    if "glacier,airport" in scores:
        found["absent"] = scores["glacier,airport"].taken
    return found


def _named(score: Score, values: list[float]) -> dict[str, float]:
    return {name: value for (name, _), value in zip(score.question.prompts, values, strict=True)}


COLUMNS = {
    "mIoU": "miou", "+backgr": "miou_background", "names": "name", "unseen": "unseen", "one": "unseen_one",
    "lost": "lost", "absent": "absent", "ECE": "calibration_error",
}  # fmt: skip
PROMPTS = ("forest", "road")


def line(name: str, kind: str, part: str, found: Mapping[str, Any]) -> str:
    """One row of the table, in per cent."""
    cells = [found.get(key, math.nan) for key in COLUMNS.values()]
    cells += [found.get("forest_road", {}).get(prompt, math.nan) for prompt in PROMPTS]
    return f"{name:25s} {part:4s} {kind:6s}" + "".join(
        f"{'-':>8s}" if math.isnan(value) else f"{100 * value:8.1f}" for value in cells
    )


def detail(found: Mapping[str, Any]) -> str:
    """IoU of every class with truth: legend alone / with the background."""
    cells = [
        f"{name} {100 * value:.0f}/{100 * found['iou_background'][name]:.0f}"
        for name, value in found["iou"].items()
        if not math.isnan(value)
    ]
    return "    " + ", ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--model", type=Path, help="weights (.safetensors); the shipped ones by default")
    parser.add_argument(
        "--sets", nargs="*", help="names of sets, or the word transfer for those of bundle no"
    )
    parser.add_argument("--gsd", type=float, help="working GSD in metres instead of the card's")
    parser.add_argument(
        "--range", type=float, nargs=2, help="GSDs read without resampling, instead of the card's"
    )
    parser.add_argument(
        "--no-stretch", action="store_true", help="leave the values of the pictures as they are"
    )
    parser.add_argument("--all", action="store_true", help="all pictures of a set, the train split too")
    parser.add_argument("--temperature", type=float, help="of the confidence, instead of the card's")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--classes", action="store_true", help="print the IoU of every class")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    subject = load(options.model, torch.bfloat16 if options.precision == "bf16" else torch.float32)
    subject = replace(
        subject,
        temperature=options.temperature or subject.temperature,
        reader=Reader(
            options.gsd or subject.reader.gsd,
            tuple(options.range or subject.reader.gsd_range),
            not options.no_stretch,
        ),
    )
    found, skipped = find_sets(options.data)
    wanted = set(options.sets or [])
    print(f"{'set':25s} {'part':4s} {'kind':6s}" + "".join(f"{name:>8s}" for name in (*COLUMNS, *PROMPTS)))
    without, records = [], {}
    for dataset in found:
        if wanted and dataset.name not in wanted and not ("transfer" in wanted and dataset.bundle == "no"):
            continue
        part, refs = pictures_of(dataset)
        if options.all:
            part, refs = "all", dataset.pictures("all")
        if not refs:
            without.append(dataset.name)
            continue
        if not subject.answers(dataset):
            continue
        records[dataset.name] = row = subject.record(dataset, part, refs)
        print(line(dataset.name, dataset.kind, part, row), flush=True)
        if options.classes:
            print(detail(row), flush=True)
    if records:
        print(line("mean", "", "", means(records.values())))
    if without:
        print("without validation pictures:", ", ".join(without))
    if not wanted and skipped:
        print("of another sort, not measured here:", ", ".join(item.name for item in skipped))
    if options.json:
        options.json.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
