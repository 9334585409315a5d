"""What the repository promises beside the code: the lock, the container, licences, pages."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILDS = {"torch", "torchvision", "triton"}


def locked(name: str) -> dict[str, str]:
    """Package -> version; fails where a package has no hash."""
    text = (ROOT / "constraints" / name).read_text(encoding="utf-8")
    versions = {}
    for block in re.findall(r"^[A-Za-z0-9].*(?:\n +.*)*", text, flags=re.MULTILINE):
        package, version = block.split()[0].split("==")
        assert "--hash=sha256:" in block, package
        versions[canonicalize_name(package)] = version
    return versions


def stages() -> dict[str, list[tuple[str, str]]]:
    """Stage -> instructions (word, rest) of the Dockerfile, with `FROM` first."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(str.strip, lines):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = []
            rest = base
        found[list(found)[-1]].append((word, rest))
    return found


def lineage(stage: str) -> list[tuple[str, str]]:
    """All instructions of a stage and of the stages it starts from."""
    base = stages()[stage][0][1]
    return (lineage(base) if base in stages() else []) + stages()[stage]


@pytest.mark.parametrize(("name", "extras"), [("lock.txt", []), ("lock-dev.txt", ["dev", "train"])])
def test_S30_every_dependency_is_locked_with_hashes(name: str, extras: list[str]) -> None:
    versions = locked(name)
    wanted = PROJECT["dependencies"] + [
        text for extra in extras for text in PROJECT["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        package = canonicalize_name(requirement.name)
        if package not in BUILDS:
            assert requirement.specifier.contains(versions[package]), f"{requirement}: make lock"


@pytest.mark.parametrize("name", ["lock.txt", "lock-dev.txt"])
def test_S30_the_lock_names_no_build_of_torch_and_no_index(name: str) -> None:
    assert not BUILDS & set(locked(name))
    assert not [package for package in locked(name) if package.startswith(("nvidia-", "cuda-"))]
    text = (ROOT / "constraints" / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_S30_what_ships_is_a_part_of_what_is_tested() -> None:
    assert locked("lock.txt").items() <= locked("lock-dev.txt").items()


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_both_images_run_as_an_ordinary_user(target: str) -> None:
    users = [rest for word, rest in lineage(target) if word == "USER"]
    assert users
    assert all(user.split(":")[0].isdigit() and int(user.split(":")[0]) >= 1000 for user in users)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_images_write_caches_to_tmp_and_leave_proj_alone(target: str) -> None:
    pairs = [pair for word, rest in lineage(target) if word == "ENV" for pair in shlex.split(rest)]
    env = dict(pair.split("=", 1) for pair in pairs)
    assert env["NUMBA_CACHE_DIR"].startswith("/tmp/")
    assert env["RSOV_CACHE_DIR"].startswith("/tmp/")
    assert env["HF_HUB_OFFLINE"] == "1"
    assert not {
        "PROJ_DATA",
        "PROJ_LIB",
        "GDAL_DATA",
        "GDAL_DISABLE_READDIR_ON_OPEN",
        "GDAL_NUM_THREADS",  # rsov shares the processors out itself
        "PYTHONDONTWRITEBYTECODE",
    } & set(env)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_both_images_have_the_library_that_the_wheels_of_rasterio_and_fiona_leave_out(target: str) -> None:
    runs = " ".join(rest for word, rest in lineage(target) if word == "RUN")
    assert re.search(r"apt-get install [^&]*\blibexpat1\b", runs)


def test_the_image_is_built_from_the_lock_and_the_smaller_one_is_the_default() -> None:
    runs = " ".join(rest for word, rest in stages()["build"] if word == "RUN")
    assert "--require-hashes" in runs
    assert list(stages())[-1] == "cpu"
    assert "apt-get" not in runs
    assert "compileall" not in runs, (
        "pip compiles what it installs; torch holds a file for 3.12 alone, which ends it"
    )


def test_the_build_context_holds_all_that_is_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {source for word, rest in stages()["build"] if word == "COPY" for source in rest.split()[:-1]}
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)


def test_licence_notice_and_project_agree() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for name in ("all-MiniLM-L6-v2", "EfficientNet-Lite0", "docs/model-card.md"):
        assert name in notice


def test_the_notice_names_whom_the_weights_owe_their_training_data() -> None:
    card = json.loads((ROOT / "rsov/assets/weights/bundled.json").read_text(encoding="utf-8"))
    lines = re.findall(r"^- ([\w, ]+):", (ROOT / "NOTICE").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {name for line in lines for name in line.split(", ")} == set(card["data_sets"])
    assert "NOTICE" in PROJECT["license-files"], "a wheel carries it, and not the model card"


def test_type_checkers_of_users_read_the_package() -> None:
    assert (ROOT / "rsov" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_changelog_has_an_open_section_and_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+?)\]", text, flags=re.MULTILINE)
    assert sections[0] == "Unreleased"
