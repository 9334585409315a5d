"""How much memory and how many processors this process may use; sizes as people write them."""

from __future__ import annotations

import math
import os
import re
import resource
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rsov.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SHARE = 0.6
"""Part of the memory that a run takes by default: the rest is for the page cache and the neighbours."""
SMALL_SHARE, SMALL = 0.9, 2**30
"""In a small container there are no neighbours: that part of it, up to a gibibyte, if it is more (M06)."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(%)|([KMGT]?)(?:I?B)?)", re.IGNORECASE | re.ASCII)


def parse_size(text: str, total: int) -> int:
    """Bytes of ``8G``, ``8GiB``, ``8 gb``, ``512M``, ``60%`` (of ``total``), ``123``; K, M, G count in 1024.

    Raises:
        UsageError: no such size, zero, or more than 100 %.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        number, percent, unit = match.groups()
        value = float(number) * (total / 100 if percent else _UNITS[unit.upper()])
        if 1 <= value < math.inf and not (percent and float(number) > 100):
            return int(value)
    raise UsageError(
        "E-option-size",
        f"{text!r} is not an amount of memory",
        fix="write for example 8G, 512M or 60% (K, M and G count in 1024)",
    )


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes that this process may use at most: machine, control groups (v1, v2, nested) and RLIMIT_AS."""
    limits = [_machine_memory(root), *_cgroup_memory(root)]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limits)


def memory_budget(max_memory: str | None, root: Path = Path("/")) -> int:
    """Bytes of ``--max-memory``, by default a part of :func:`memory_limit`.

    Raises:
        UsageError: not a size.
    """
    limit = memory_limit(root)
    if max_memory is not None:
        return parse_size(max_memory, limit)
    return max(int(limit * DEFAULT_SHARE), min(int(limit * SMALL_SHARE), SMALL))


def cpu_count(root: Path = Path("/")) -> int:
    """Processors that this process may use: affinity and control group quota, rounded up."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *_cgroup_cpus(root)]))


def _machine_memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control groups, from its own up to the root; v2 and the v1 controller."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if names else "")
        relative = PurePosixPath(path.lstrip("/"))
        for part in (relative, *relative.parents):
            yield base / part


def _cgroup_memory(root: Path) -> Iterator[int]:
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            text = _text(group / name).strip()
            if text.isdigit() and int(text) > 0:  # "max" is no limit
                yield int(text)


def _cgroup_cpus(root: Path) -> Iterator[int]:
    for group in _groups(root, "cpu"):
        quota, _, period = _text(group / "cpu.max").strip().partition(" ")
        if not quota:
            quota, period = (_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            yield -(-int(quota) // int(period))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
