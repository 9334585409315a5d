"""Memory and processors that a process may use, and sizes as people write them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsov.engine import budget
from rsov.engine.budget import cpu_count, memory_budget, memory_limit, parse_size
from rsov.errors import ExitCode, UsageError
from rsov.jobs.predict import predict
from tests.support.places import picture
from tests.support.rasters import texture, write

GB = 2**30
ROOT = Path(__file__).resolve().parent.parent


def tree(root, *, cgroup, files=(), memory_kb=16 * 2**20):
    """A small imitation of /proc and /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: {memory_kb} kB\nMemFree: 12 kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in dict(files).items():
        place = root / "sys/fs/cgroup" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


@pytest.fixture(autouse=True)
def _no_address_limit(monkeypatch):
    monkeypatch.setattr(
        budget.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )


def test_M07_limits_of_nested_groups_v2(tmp_path):
    """The least of the chain counts; `max` is no limit; memory.high counts like memory.max."""
    root = tree(
        tmp_path,
        cgroup="0::/user.slice/job.scope\n",
        files={
            "user.slice/job.scope/memory.max": "max\n",
            "user.slice/job.scope/memory.high": f"{3 * GB}\n",
            "user.slice/memory.max": f"{2 * GB}\n",
            "memory.max": f"{8 * GB}\n",
        },
    )
    assert memory_limit(root) == 2 * GB
    (root / "sys/fs/cgroup/user.slice/memory.max").write_text("max\n")
    assert memory_limit(root) == 3 * GB


def test_M07_limits_of_v1_and_of_the_machine(tmp_path):
    root = tree(
        tmp_path,
        cgroup="5:cpu,cpuacct:/a\n4:memory:/docker/abc\n",
        files={
            "memory/docker/abc/memory.limit_in_bytes": f"{GB}\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert memory_limit(root) == GB
    (root / "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes").unlink()
    assert memory_limit(root) == 16 * GB, (
        "the root group's huge number is no limit: the machine's memory stands"
    )


def test_M07_the_address_space_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(budget.resource, "getrlimit", lambda _: (5 * GB, resource.RLIM_INFINITY))
    assert memory_limit(tree(tmp_path, cgroup="0::/\n")) == 5 * GB


def test_the_default_budget_leaves_room(tmp_path):
    root = tree(tmp_path, cgroup="0::/\n", files={"memory.max": str(4 * GB)})
    assert memory_budget(None, root) == int(2.4 * GB)
    assert memory_budget("50%", root) == 2 * GB
    assert memory_budget("3G", root) == 3 * GB


@pytest.mark.parametrize(("limit", "budget"), [(0.5, 0.45), (1, 0.9), (1.5, 1), (2, 1.2)])
def test_M06_small_containers_are_nearly_filled(tmp_path, limit, budget):
    """60 % of 1 GiB is less than torch, GDAL and the encoder take."""
    root = tree(tmp_path, cgroup="0::/\n", files={"memory.max": str(int(limit * GB))})
    assert memory_budget(None, root) == int(budget * GB)


def test_M06_a_prediction_is_planned_within_the_groups_limit(tmp_path, monkeypatch):
    """The files of the kernel are imitated, with 16 GiB in the machine and 1 in the group; all else is real."""
    path = write(tmp_path / "wide.tif", texture(1500, 1500))
    root = tree(
        tmp_path / "machine",
        cgroup="0::/docker/abc\n",
        files={"docker/abc/memory.max": f"{GB}\n"},
    )
    read = budget._text
    monkeypatch.setattr(budget, "_text", lambda file: read(root / file.relative_to("/")))
    limited = predict(path, "forest", out=tmp_path, dry_run=True).map.report
    (root / "sys/fs/cgroup/docker/abc/memory.max").write_text("max\n")
    free = predict(path, "forest", out=tmp_path, dry_run=True).map.report
    assert limited["plan"]["memory_budget_bytes"] == int(0.9 * GB)
    assert limited["plan"]["memory_bytes"] <= int(0.9 * GB)
    assert limited["plan"]["tile"] < free["plan"]["tile"]
    assert [each["id"] for each in limited["warnings"]] == ["W-memory-tile"]
    assert free["plan"]["memory_budget_bytes"] == int(0.6 * 16 * GB)
    assert free["warnings"] == []


@contextlib.contextmanager
def real_group(limit):
    """A control group of this machine with a limit of memory, v2 or v1; needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = Path("/sys/fs/cgroup")
    new = (base / "cgroup.subtree_control").is_file()
    group = (base if new else base / "memory") / f"rsov-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        file = group / ("memory.max" if new else "memory.limit_in_bytes")
        if not file.is_file():
            pytest.skip("the memory controller is not delegated here")
        try:
            file.write_text(str(limit))
        except OSError as error:
            pytest.skip(f"limits of memory cannot be set here: {error}")
        yield group
    finally:
        group.rmdir()


def test_M06_predict_inside_a_real_group_is_planned_by_it_and_not_killed(tmp_path):
    path = picture(tmp_path / "ortho.tif", 600, 600)
    with real_group(GB) as group:
        code = (
            "import sys\n"
            "with open(sys.argv[1], 'w') as procs: procs.write('0')\n"
            "from rsov.cli import main; sys.exit(main(sys.argv[2:]))"
        )
        command = [
            sys.executable,
            "-c",
            code,
            str(group / "cgroup.procs"),
            "predict",
            str(path),
            "-p",
            "forest",
        ]
        done = subprocess.run(
            [*command, "-o", f"{tmp_path}/", "--json"], check=False, capture_output=True, text=True, cwd=ROOT
        )
    assert done.returncode == ExitCode.OK, done.stderr
    (report,) = json.loads(done.stdout)["maps"]
    assert report["settings"]["plan"]["memory_budget_bytes"] == int(0.9 * GB)
    assert report["metrics"]["peak_rss_bytes"] < GB


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8)]
)
def test_M08_a_processor_quota_is_respected(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cpu_count(tree(tmp_path, cgroup="0::/a\n", files={"a/cpu.max": quota + "\n"})) == expected


def test_M08_a_quota_of_v1_and_affinity(tmp_path, monkeypatch):
    root = tree(
        tmp_path,
        cgroup="3:cpu,cpuacct:/\n",
        files={"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cpu_count(root) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert cpu_count(root) == 1
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)))
    assert cpu_count(root) == 5


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 * GB),
        ("8GiB", 8 * GB),
        ("8 gb", 8 * GB),
        ("512M", 2**29),
        ("1.5g", int(1.5 * GB)),
        ("64k", 65536),
        ("2T", 2048 * GB),
        ("123456", 123456),
        ("50%", 5 * GB),
        ("100 %", 10 * GB),
    ],
)
def test_P23_sizes_as_people_write_them(text, size):
    assert parse_size(text, 10 * GB) == size


@pytest.mark.parametrize(
    "text", ["", "-1", "0", "0G", "0%", "101%", "8X", "G", "8G8", "1e9", "nan", "\u0663G", "8 G B", "9" * 400]
)
def test_P23_nonsense_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text, 10 * GB)
    assert caught.value.code == ExitCode.USAGE
    assert "8G" in caught.value.fix


@given(st.text(max_size=8))
def test_P23_any_text_is_a_positive_size_or_refused(text):
    with contextlib.suppress(UsageError):
        assert parse_size(text, 10 * GB) >= 1
