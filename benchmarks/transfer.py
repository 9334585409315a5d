"""Quality on ground that was left out of a training: what tells recipes apart.

    python -m benchmarks.transfer --data DIR --work WORK [--regions NAME ...] [--recipe FILE] [--set K=V ...]

For each region of `benchmarks/regions.toml` the bundled model is trained without any of its sets (a run that
was cut off goes on from its checkpoint in WORK), then all pictures of these sets are measured, and the sets
of bundle `no` beside them: mIoU with the set's legend as prompts, and against the background vocabulary. The
last lines are the means over the left-out sets of all regions, and over the others. With `--set closed=true`
only left-out pictures of sets that were trained on can be measured: no other set has a layer of classes.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.quality import load, means
from rsov.datasets.sets import DataSet, find_sets
from rsov.engine.runtime import keep_freed_memory
from rsov.jobs.train.loop import LAST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REGIONS = Path(__file__).with_name("regions.toml")


@dataclass(frozen=True)
class Region:
    """Sets, and single pictures (`set/file`) of mixed sets, that belong together."""

    name: str
    sets: tuple[str, ...]
    pictures: tuple[str, ...] = ()

    def held(self, found: Sequence[DataSet]) -> list[DataSet]:
        """What is measured: the sets with all their pictures as validation, pictures as sets of their own."""
        parts = [replace(s, train=(), val=s.pictures("all")) for s in found if s.name in self.sets]
        parts += [
            replace(item, name=f"{item.name}/{ref.name}", train=(), val=(ref,))
            for item in found
            for ref in item.pictures("all")
            if f"{item.name}/{ref.name}" in self.pictures
        ]
        return parts


def read_regions(path: Path = REGIONS) -> dict[str, Region]:
    """The table of regions."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: Region(name, tuple(row["sets"]), tuple(row.get("pictures", ()))) for name, row in table.items()
    }


def train(region: Region, data: Path, out: Path, recipe: Path | None, changes: Sequence[str]) -> None:
    """Train without the region, in a process of its own; the regions share the decoded pictures."""
    cache = out / "training" / "cache"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        shared = (out.parent / "cache").resolve()
        shared.mkdir(exist_ok=True)
        cache.symlink_to(shared)
    command = [sys.executable, "-m", "rsov", "train", "bundled", "--data", str(data), "-o", str(out)]
    command += ["--recipe", str(recipe)] if recipe else []
    for change in (
        *changes,
        f"exclude_sets={list(region.sets)}",
        f"exclude_pictures={list(region.pictures)}",
    ):
        command += ["--set", change]
    subprocess.run(command, check=True, stdout=sys.stderr)


def line(name: str, title: str, row: Mapping[str, Any]) -> str:
    """One row of the table, in per cent; `-` where there is no figure."""
    values = [row.get(key, math.nan) for key in ("miou", "miou_background")]
    cells = [f"{'-':>6s}" if math.isnan(value) else f"{100 * value:6.1f}" for value in values]
    return f"{name:12s} {title:28s} {' '.join(cells)}"


def main() -> int:
    regions = read_regions()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--regions", nargs="*", choices=tuple(regions), default=list(regions))
    parser.add_argument("--recipe", type=Path, help="a recipe instead of the shipped one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()
    found, _ = find_sets(options.data)
    never = [replace(s, train=(), val=s.pictures("all")) for s in found if s.bundle == "no"]
    records: dict[str, dict[str, Any]] = {}
    for name in options.regions:
        region = regions[name]
        out = options.work / name
        train(region, options.data, out, options.recipe, options.set)
        subject = load(out / "training" / LAST, torch.bfloat16)
        records[name] = {}
        for dataset in filter(subject.answers, (*region.held(found), *never)):
            row = records[name][dataset.name] = subject.record(dataset, "all", dataset.val)
            row["left_out"] = dataset.bundle != "no"
            print(line(name, dataset.name, row), flush=True)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1), encoding="utf-8")
    left = [row for rows in records.values() for row in rows.values() if row["left_out"]]
    others = [row for rows in records.values() for row in rows.values() if not row["left_out"]]
    for title, rows in (("left-out sets", left), ("sets of bundle no", others)):
        print(line("mean", title, means(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
