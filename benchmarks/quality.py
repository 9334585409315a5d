"""Quality of the shipped model on labelled data sets.

    python benchmarks/quality.py --data DIR [--model FILE.safetensors] [--sets NAME ...]

One line per set: mean IoU of the classes that occur in the truth, the set's legend as prompts and no
background, then the same with the default background vocabulary. Sets of bundle `no` were never trained on:
all their pictures count. Of the others only the pictures of the validation split do; sets without any are
listed. Sets of kind `single` have no legend to compete with: their one class is scored against the
background vocabulary.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rsov.datasets.sets import DataSet, PictureRef, SetClass, find_sets
from rsov.engine.runtime import keep_freed_memory
from rsov.jobs.train.checkpoint import load_weights
from rsov.jobs.train.evaluate import Reader, SetScore, ready, score_set, unseen_words
from rsov.jobs.train.export import GSD, GSD_RANGE
from rsov.models.bundled.network import BundledNetwork
from rsov.models.bundled.weights import load_bundled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WORDS: dict[str, Callable[[SetClass], Sequence[str]]] = {
    "bag": lambda item: item.bag,
    "name": lambda item: (item.name,),
    "unseen": unseen_words,
}
_CHECKPOINT_GSD = (GSD, GSD_RANGE)


def pictures_of(dataset: DataSet) -> tuple[str, tuple[PictureRef, ...]]:
    """Which part of a set is measured."""
    part = "all" if dataset.bundle == "no" else "val"
    return part, dataset.pictures(part)  # type: ignore[arg-type]  # a str that is one of the literals


def load(path: Path | None) -> tuple[BundledNetwork, float, tuple[float, float]]:
    """A bundle, or the averaged weights of a checkpoint of the trainer."""
    if path is not None and not path.with_suffix(".json").exists():
        network = BundledNetwork()
        network.load_state_dict(load_weights(path, "average"))
        return network.eval(), *_CHECKPOINT_GSD
    network, card = load_bundled(path)
    return network, card.gsd, card.gsd_range


def line(score: SetScore, part: str, seconds: float) -> str:
    """One row of the table."""
    kind = "single" if score.single else "dense"
    return (
        f"{score.dataset:28s} {part:4s} {score.pictures:4d} {kind:7s} {100 * score.mean_iou:6.1f} "
        f"{100 * score.mean_rival_iou:8.1f} {seconds:7.1f}"
    )


def detail(score: SetScore) -> str:
    """IoU of every class with truth: legend alone / with the background."""
    cells = [
        f"{name} {100 * a:.0f}/{100 * b:.0f}"
        for name, a, b in zip(score.names, score.iou, score.rival_iou, strict=True)
        if not np.isnan(a)
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
    parser.add_argument(
        "--words", choices=tuple(_WORDS), default="bag", help="prompts: name and synonyms, name, unseen words"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--classes", action="store_true", help="print the IoU of every class")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    network, gsd, gsd_range = load(options.model)
    reader = Reader(options.gsd or gsd, tuple(options.range or gsd_range), not options.no_stretch)
    network = ready(network, torch.bfloat16 if options.precision == "bf16" else torch.float32)
    found, skipped = find_sets(options.data)
    wanted = set(options.sets or [])
    print(f"{'set':28s} {'part':4s} {'n':>4s} {'kind':7s} {'mIoU':>6s} {'+backgr.':>8s} {'s':>7s}")
    without, record = [], {}
    for dataset in found:
        if wanted and dataset.name not in wanted and not ("transfer" in wanted and dataset.bundle == "no"):
            continue
        part, refs = pictures_of(dataset)
        if not refs:
            without.append(dataset.name)
            continue
        start = time.monotonic()
        score = score_set(network, dataset, refs, reader, _WORDS[options.words])
        print(line(score, part, time.monotonic() - start), flush=True)
        if options.classes:
            print(detail(score), flush=True)
        record[dataset.name] = {
            "part": part,
            "pictures": score.pictures,
            "miou": score.mean_iou,
            "miou_background": score.mean_rival_iou,
            "iou": dict(zip(score.names, score.iou, strict=True)),
            "iou_background": dict(zip(score.names, score.rival_iou, strict=True)),
        }
    if without:
        print("without validation pictures:", ", ".join(without))
    if not wanted and skipped:
        print("of another sort, not measured here:", ", ".join(item.name for item in skipped))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
