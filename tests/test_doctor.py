"""`rsov doctor`: what it finds, and that it outlives what is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsov.cli import main
from rsov.jobs import doctor
from rsov.jobs.doctor import Check, examine, gdal_check

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    return {check.name: check for check in examine()}


def test_a_sound_machine_has_no_failure(checks):
    assert [check for check in checks.values() if check.status == "fail"] == []


@pytest.mark.parametrize(
    "name",
    ["rsov", "packages", "GDAL of rasterio", "GDAL of fiona", "drivers", "PROJ", "torch", "GPU", "torchvision",
     "TensorRT", "model bundled", "text encoder", "CPUs", "memory", "cache", "disk here"],
)  # fmt: skip
def test_what_is_looked_at(checks, name):
    assert checks[name].value


def test_processors_are_one_row_with_what_may_be_used(checks, monkeypatch):
    assert [name for name in checks if name.upper().startswith("CPU")] == ["CPUs"]
    monkeypatch.setattr("rsov.engine.budget.cpu_count", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    (row,) = doctor._processor()
    assert row.value.startswith("3 of 64 (affinity or control group)")


def test_every_problem_comes_with_a_fix(checks):
    assert all(check.fix for check in checks.values() if check.status != "ok")


def test_S30_an_old_gdal_fails():
    assert gdal_check("rasterio", "3.4.1", set()).status == "fail"
    assert "upgrade" in gdal_check("rasterio", "3.4.1", set()).fix
    assert gdal_check("rasterio", "3.10.3", {"GTiff"}).status == "ok"
    assert gdal_check("fiona", "3.9.2", set()).status == "ok"


def test_S30_drivers_with_known_holes_fail_until_they_are_fixed():
    assert gdal_check("rasterio", "3.10.3", {"GTiff", "HDF4"}).status == "fail"
    assert gdal_check("rasterio", "3.12.4", {"GTiff", "HDF4"}).status == "ok"


def test_S30_strict_is_code_8(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: [Check("GDAL of rasterio", "fail", "3.4.1", "upgrade it")])
    assert main(["doctor"]) == 0
    assert main(["doctor", "--strict"]) == 8
    assert "fix: upgrade it" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "examine", lambda: [Check("x", "warn", "y", "z")])
    assert main(["doctor", "--strict"]) == 0


def test_json(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: [Check("a", "ok", "b"), Check("c", "warn", "d", "e")])
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["checks"] == [check.as_dict() for check in doctor.examine()]
    assert (document["schema"], document["status"], document["exit_code"]) == ("rsov/doctor/1", "ok", 0)
    monkeypatch.setattr(doctor, "examine", lambda: [Check("a", "fail", "b", "c")])
    assert main(["doctor", "--json", "--strict"]) == 8
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["exit_code"]) == ("error", 8)


def test_a_broken_part_is_a_failed_check_and_the_others_go_on(monkeypatch):
    def broken():
        raise OSError("libfoo.so.1: cannot open shared object file")
        yield

    broken.__name__ = "_torch"
    monkeypatch.setattr(doctor, "_torch", broken)
    found = {check.name: check for check in examine()}
    assert found["torch"].status == "fail"
    assert "libfoo" in found["torch"].value
    assert "disk here" in found


def test_a_cache_that_others_can_write_fails(monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    monkeypatch.setenv("RSOV_CACHE_DIR", str(cache))
    (check,) = [check for check in doctor._places() if check.name == "cache"]
    assert check.status == "fail"
    assert "chmod 700" in check.fix


def test_leftovers_of_killed_runs_are_named(monkeypatch, tmp_path):
    (tmp_path / ".x_classes.tif.rsov-0123456789ab.part").mkdir()
    monkeypatch.chdir(tmp_path)
    (check,) = [check for check in doctor._places() if check.name == "leftovers"]
    assert check.status == "warn"


@pytest.mark.slow
def test_a_cuda_torchvision_beside_a_cpu_torch_is_survived():
    """In a process of its own, since what is declared stays declared."""
    code = (
        "from rsov.engine.torchvision import prepare_torchvision\n"
        "state = prepare_torchvision()\n"
        "assert prepare_torchvision() in {state, 'already'}\n"
        "assert state in {'absent', 'native', 'schemas', 'already'}, state\n"
        "if state != 'absent':\n"
        "    import torchvision, open_clip\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, timeout=250)


@pytest.mark.parametrize("columns", ["80", "20"])
def test_on_a_terminal_long_values_stand_below_each_other(columns, monkeypatch, capsys):
    from rsov.commands.doctor import LEAST_ROOM, _folded

    monkeypatch.setenv("COLUMNS", columns)
    head, text = "ok    packages  ", "torch 2.13.0+cpu, sentence-transformers 6.2.0, " * 5
    assert _folded(head, text) == head + text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    first, *others = _folded(head, text).splitlines()
    assert first.startswith(head)
    assert others
    assert all(line.startswith(" " * len(head) + line.strip()[0]) for line in others)
    assert max(map(len, (first, *others))) <= max(int(columns), len(head) + LEAST_ROOM)
