"""Write docs/robustness.md: each situation of docs/robustness.toml with its tests or its issue.

A test belongs to the row that it is named after: `test_R01_truncated_strip`. Run by `make robustness`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "robustness.md"
ROWS = ROOT / "docs" / "robustness.toml"
TESTS = ROOT / "tests"

TITLES = {
    "R": "Reading",
    "Z": "All sorts of rasters",
    "M": "Memory and size",
    "C": "Crashes and stops",
    "X": "Comparing two pictures",
    "P": "Prompts and parameters",
    "S": "Security",
}
_TEST = re.compile(r"^ *(?:async )?def (test_([RZMCXPS]\d\d)_\w+)\(", re.MULTILINE)

_HEAD = """# Robustness

What a raster tool that people trust must survive, and where it is tested. Every row has a test of its name,
or the issue that brings it. `make robustness` writes this page from docs/robustness.toml and the names of the
tests; tests/test_robustness_index.py fails when a row has neither.
"""


@dataclass(frozen=True)
class Row:
    """One situation: its text, the issue that (also) brings it, and whether a test is due now."""

    id: str
    what: str
    issue: str
    due: bool


def rows() -> list[Row]:
    """All situations in the order of the file."""
    groups = tomllib.loads(ROWS.read_text(encoding="utf-8"))
    found = []
    for group in groups.values():
        for row_id, value in group.items():
            if isinstance(value, str):
                found.append(Row(row_id, value, "", True))
            else:
                found.append(Row(row_id, value["what"], value["issue"], value.get("due", False)))
    return found


def tests() -> dict[str, list[tuple[str, str]]]:
    """Row id -> (file, function) of its tests, sorted."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for function, row_id in _TEST.findall(path.read_text(encoding="utf-8")):
            found.setdefault(row_id, []).append((path.relative_to(ROOT).as_posix(), function))
    return {row_id: sorted(set(places)) for row_id, places in found.items()}


def missing() -> list[Row]:
    """Rows whose test is due and is not there."""
    known = tests()
    return [row for row in rows() if row.due and row.id not in known]


def page() -> str:
    """The text of docs/robustness.md."""
    known = tests()
    lines = [_HEAD]
    for letter, title in TITLES.items():
        lines += [f"## {letter}. {title}", "", "| row | situation | test, or issue |", "|---|---|---|"]
        for row in rows():
            if row.id.startswith(letter):
                places = [f"{file}::{function}" for file, function in known.get(row.id, [])]
                parts = [f"`{place}`" for place in places] + ([f"issue: {row.issue}"] if row.issue else [])
                lines.append(f"| {row.id} | {row.what} | {'<br>'.join(parts)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Write the page; 1 when a test that is due is missing."""
    PAGE.write_text(page(), encoding="utf-8")
    late = missing()
    for row in late:
        sys.stderr.write(f"no test: {row.id} {row.what}\n")
    sys.stdout.write(
        f"{PAGE.relative_to(ROOT)}: {len(rows())} rows, {len(tests())} with tests, {len(late)} missing\n"
    )
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
