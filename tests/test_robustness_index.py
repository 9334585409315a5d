"""docs/robustness.md says the truth: every row has its test or its issue, and every test that it names exists."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
ISSUES = {"SegEarth-OV", "SACo+ and change", "Train and evaluate", "Jobs that last", "later: serve"}
NOW = re.compile(r"[RZMPS]\d\d|C(1[4-8]|34|36|40)")
"""Groups whose rows are due, unless docs/robustness.toml gives them to another issue."""


@pytest.fixture(scope="module")
def index() -> ModuleType:
    path = ROOT / "scripts" / "robustness_index.py"
    spec = importlib.util.spec_from_file_location("robustness_index", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_row_that_is_due_has_a_test(index: ModuleType) -> None:
    assert [row.id for row in index.missing()] == []


def test_every_other_row_names_its_issue(index: ModuleType) -> None:
    for row in index.rows():
        assert row.due or row.issue in ISSUES, row.id
        assert not row.issue or row.issue in ISSUES, row.id


def test_no_row_is_left_out_or_twice(index: ModuleType) -> None:
    ids = [row.id for row in index.rows()]
    last = {"R": 35, "Z": 57, "M": 25, "C": 40, "X": 20, "P": 30, "S": 38}
    assert sorted(ids) == sorted(
        f"{letter}{n:02d}" for letter, count in last.items() for n in range(1, count + 1)
    )


def test_the_rows_are_those_of_the_reference(index: ModuleType, shared: Path) -> None:
    text = (shared / "robustness.md").read_text(encoding="utf-8")
    ids = re.findall(r"^\| ([RZMCXPS]\d\d) \|", text, flags=re.MULTILINE)
    assert {row.id for row in index.rows()} == set(ids)


def test_what_is_due_now_is_not_put_off(index: ModuleType) -> None:
    later = {row.id for row in index.rows() if NOW.fullmatch(row.id) and not row.due}
    assert later == {
        *("R21", "R22", "R23", "R24", "R25", "M23", "P18"),
        *(
            "S04",
            "S10",
            "S14",
            "S15",
            "S16",
            "S17",
            "S20",
            "S21",
            "S22",
            "S23",
            "S24",
            "S25",
            "S26",
            "S31",
            "S33",
        ),
    }


def test_the_page_is_the_one_that_the_script_writes(index: ModuleType) -> None:
    """Fails after a test was renamed: run ``make robustness``."""
    assert index.PAGE.read_text(encoding="utf-8") == index.page()


def test_every_test_that_the_page_names_exists(index: ModuleType) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", index.PAGE.read_text(encoding="utf-8"))
    functions = {}
    for file, function in named:
        if file not in functions:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            functions[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in functions[file], f"{file}::{function}"
    assert named


def test_a_test_named_after_a_row_names_one_that_exists(index: ModuleType) -> None:
    assert set(index.tests()) <= {row.id for row in index.rows()}
