"""The newcomer's commands: the Makefile, the environment it builds, what CI calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

STUB = """#!/bin/bash
# Stands for the environment's Python: writes down its arguments, answers what the scripts ask
printf '%s\\n' "$*" >>"$LOG"
case "$*" in
    *"m.version"*torch) [ -e "$LOG.torch" ] || [ "$HAS_TORCH" = 1 ] && echo "${TORCH_VERSION:-2.13.0}" ;;
    "-m pip"*"--dry-run"*) exit "${DRY_RUN:-0}" ;;
    "-m pip"*"install"*torch==*) touch "$LOG.torch" ;;
    "-m pytest"*) exit "${PYTEST:-0}" ;;
    *"import fiona"*)
        if [ -n "${LACKS:-}" ] && [ ! -e "$LOG.debian" ]; then
            echo "ImportError: $LACKS: cannot open shared object file" >&2; exit 1
        fi ;;
    *"sys.version_info[:2] != (3, 11)"*) exit "${NOT_LOCKED:-0}" ;;
esac
"""


class Machine:
    """A copy of the scripts in a folder with a space in its name, with an environment that is a stub."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.log = folder / "log"
        (self.root / ".venv/bin").mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        for name in ("scripts", "constraints", ".ci"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("python", "lint-imports"):
            (self.root / ".venv/bin" / name).write_text(STUB)
            (self.root / ".venv/bin" / name).chmod(0o755)
        # No GPU here, whatever the machine has
        (folder / "bin").mkdir()
        (folder / "bin/nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
        (folder / "bin/nvidia-smi").chmod(0o755)
        self.path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.log.unlink(missing_ok=True)
        keep = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        environment = {**keep, "PATH": self.path, "LOG": str(self.log), **variables}
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_make_alone_lists_the_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    for target in (
        "demo",
        "test",
        "test-slow",
        "test-gpu",
        "lint",
        "format",
        "lock",
        "audit",
        "bench",
        "clean",
    ):
        assert f"make {target} " in listed


def test_a_second_call_with_nothing_changed_does_nothing(machine: Machine) -> None:
    first = machine.run("scripts/environment.sh", "dev")
    assert first.returncode == 0, first.stderr
    again = machine.run("scripts/environment.sh", "dev")
    assert (again.returncode, again.stderr, machine.calls) == (0, "", [])


def test_an_environment_for_the_tests_serves_the_demo_but_not_the_other_way(machine: Machine) -> None:
    machine.run("scripts/environment.sh", "base")
    assert "ready" in machine.run("scripts/environment.sh", "dev").stderr
    (machine.root / ".venv/.rsov-base").unlink()
    assert machine.run("scripts/environment.sh", "base").stderr == ""


def test_the_library_that_wheels_do_not_bring_is_installed(machine: Machine) -> None:
    for name, body in {"id": "echo 0", "apt-get": 'echo "$*" >>"$LOG.debian"'}.items():
        tool = machine.root.parent / "bin" / name
        tool.write_text(f"#!/bin/sh\n{body}\n")
        tool.chmod(0o755)
    run = machine.run("bash", "scripts/environment.sh", "base", LACKS="libexpat.so.1")
    assert run.returncode == 0, run.stderr
    assert "install -y -qq --no-install-recommends libexpat1" in Path(f"{machine.log}.debian").read_text()
    Path(f"{machine.log}.debian").unlink()
    broken = machine.run("bash", "scripts/environment.sh", "dev", LACKS="libm.so")
    assert broken.returncode == 1
    assert "the environment is broken" in broken.stderr


def test_no_target_is_defined_twice(machine: Machine) -> None:
    assert machine.run("make", "help").stderr == ""


def test_a_changed_dependency_list_and_a_moved_folder_are_noticed(machine: Machine) -> None:
    machine.run("scripts/environment.sh", "dev")
    (machine.root / "pyproject.toml").write_text("# changed\n")
    assert "ready" in machine.run("scripts/environment.sh", "dev").stderr
    moved = machine.root.with_name("elsewhere")
    machine.root.rename(moved)
    machine.root = moved
    assert "ready" in machine.run("scripts/environment.sh", "dev").stderr


def test_the_cpu_build_of_torch_is_taken_where_pip_finds_one(machine: Machine) -> None:
    machine.run("scripts/environment.sh", "base")
    installs = [call for call in machine.calls if "install -q" in call and "--dry-run" not in call]
    assert installs[0].endswith("install -q torch==2.13.0+cpu")


def test_a_missing_cpu_build_is_said_before_anything_is_fetched(machine: Machine) -> None:
    done = machine.run("scripts/environment.sh", "base", DRY_RUN="1")
    said, installing = done.stderr.index("no CPU build"), done.stderr.index("installing torch")
    assert said < installing
    assert "TORCH_INSTALL_ARGS" in done.stderr
    assert any(call.endswith("install -q torch==2.13.0") for call in machine.calls)


def test_torch_install_args_are_what_pip_is_given(machine: Machine) -> None:
    done = machine.run(
        "scripts/environment.sh", "base", TORCH_INSTALL_ARGS="torch==2.14.1 --find-links wheels"
    )
    assert done.returncode == 0
    assert any(call.endswith("install -q torch==2.14.1 --find-links wheels") for call in machine.calls)


@pytest.mark.parametrize(
    ("torch", "vision"), [("2.13.0+cpu", "0.28"), ("2.14.1", "0.29"), ("2.15.0+cu130", "0.30")]
)
def test_torch_is_held_and_torchvision_fits_it(machine: Machine, torch: str, vision: str) -> None:
    machine.run("scripts/environment.sh", "base", HAS_TORCH="1", TORCH_VERSION=torch, NOT_LOCKED="1")
    lines = (machine.root / ".venv/constraints.txt").read_text().splitlines()
    assert lines == [f"torch=={torch}", f"torchvision=={vision}.*"]
    assert any("-c .venv/constraints.txt -e ." in call for call in machine.calls)


def test_the_lock_is_installed_with_its_hashes(machine: Machine) -> None:
    machine.run("scripts/environment.sh", "dev")
    assert any("--require-hashes --no-deps -r constraints/lock-dev.txt" in call for call in machine.calls)


@pytest.mark.parametrize(("pytest_code", "expected"), [("0", 0), ("5", 0), ("1", 2)])
def test_no_slow_test_is_no_failure_but_a_failing_one_is(
    machine: Machine, pytest_code: str, expected: int
) -> None:
    assert machine.run("make", "test-slow", PYTEST=pytest_code).returncode == expected


def test_every_test_runs_in_exactly_one_of_the_three_targets_unless_it_takes_hours(machine: Machine) -> None:
    for target, marks in (
        ("test", "not slow and not hours and not gpu"),
        ("test-slow", "slow and not hours and not gpu"),
        ("test-gpu", "gpu and not hours"),
    ):
        assert machine.run("make", target).returncode == 0
        assert any(call.startswith("-m pytest") and f"-m {marks}" in call for call in machine.calls)


def test_a_picture_with_spaces_reaches_the_demo_in_one_piece(machine: Machine) -> None:
    done = machine.run("make", "demo", "ORTHO=my pictures/a b.tif", "PROMPTS=bare ground,road")
    assert done.returncode == 0, done.stderr
    assert "scripts/demo.py --ortho my pictures/a b.tif --prompts bare ground,road" in machine.calls[-1]


def test_ci_runs_the_tests_then_the_slow_ones(machine: Machine) -> None:
    done = machine.run("bash", ".ci/run")
    assert done.returncode == 0, done.stderr
    runs = [call for call in machine.calls if call.startswith("-m pytest")]
    assert ["slow and" in call and "not slow" not in call for call in runs] == [False, True]
    assert machine.run("bash", ".ci/run", PYTEST="1").returncode != 0
    assert sum(call.startswith("-m pytest") for call in machine.calls) == 1
