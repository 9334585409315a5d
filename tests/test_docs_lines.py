"""Every `rsov` line of the README and the docs is one that rsov accepts."""

from __future__ import annotations

import ast
import inspect
import io
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from rsov.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("CON*.md")))
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PREFIX = re.compile(r"^(\$ )?([A-Z_]+=\S+ )*")


def _lines() -> list[tuple[str, str]]:
    """(page, line without comment, prompt sign and variables) of the fenced shell blocks."""
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                bare = PREFIX.sub("", line.strip())
                if bare.startswith("rsov "):
                    found.append((page.name, bare))
    return found


def _picture(path: Path) -> None:
    """A picture of 2 km x 2 km in UTM 32, and, for a photograph, of the same pixels without a place."""
    drivers = {".tif": "GTiff", ".jpg": "JPEG", ".png": "PNG"}
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 499_500, 0, -10, 5_600_500)}
    with rasterio.open(
        path, "w", driver=drivers[path.suffix], width=200, height=200, count=4 if path.suffix == ".tif" else 3,
        dtype="uint8", **(place if path.suffix == ".tif" else {}),
    ) as picture:  # fmt: skip
        picture.write(np.random.default_rng(0).integers(1, 255, (picture.count, 200, 200), np.uint8))


def _provide(words: list[str]) -> None:
    """The files that a line reads."""
    for before, word in pairwise(words):
        path = Path(word)
        if before in {"-o", "--output"}:
            continue
        if path.suffix in {".tif", ".jpg", ".png"}:
            _picture(path)
        elif path.suffix == ".txt":
            path.write_text("forest\nwater = lake | river\n", encoding="utf-8")


def _calls() -> list[ast.Call]:
    """The calls of `rsov.predict` in the pages' Python blocks."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(
            r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]
    nodes = [node for block in blocks for node in ast.walk(ast.parse(block))]
    return [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "rsov.predict"]


def test_python_calls_name_arguments_that_exist() -> None:
    import rsov
    from rsov.jobs.options import PredictKeywords

    known = set(inspect.signature(rsov.predict).parameters) | set(PredictKeywords.__annotations__)
    calls = _calls()
    assert calls
    assert {keyword.arg for call in calls for keyword in call.keywords} <= known


def test_the_readme_has_lines_to_test() -> None:
    assert sum(page == "README.md" for page, _ in _lines()) >= 5


def test_the_readmes_lines_run_one_after_another_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rsov.models.registry as registry
    from tests.support.models import ColourSegmenter

    monkeypatch.setattr(registry, "model_card", lambda *_: ColourSegmenter().card)
    monkeypatch.setattr(registry, "load_segmenter", lambda *_: ColourSegmenter())
    monkeypatch.chdir(tmp_path)
    for page, line in _lines():
        words = shlex.split(line, comments=True)[1:]
        if page == "README.md" and words[0] == "predict":
            _provide(words)
            assert main(words) == 0, f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(("page", "line"), _lines())
def test_line_is_accepted(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSOV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"forest\nroad\n"), encoding="utf-8"))
    words = shlex.split(line, comments=True)[1:]
    _provide(words)
    before = set(tmp_path.rglob("*.*"))
    end = ["--dry-run"] if words[0] == "predict" else ["--help"]
    assert main([*words, *end]) == 0, f"{page}: {line}\n{capsys.readouterr().err}"
    assert {path for path in tmp_path.rglob("*.*") if "cache" not in path.parts} <= before, (
        "a dry run writes nothing"
    )
