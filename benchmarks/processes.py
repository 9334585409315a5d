"""Wall time, processor time and peak memory of a child process."""

from __future__ import annotations

import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05


@dataclass(frozen=True)
class Measured:
    """Seconds from start to end, seconds of processor time, and the peak resident bytes (VmHWM) seen."""

    seconds: float
    cpu_seconds: float
    peak: int


def measured(command: list[str], env: dict[str, str] | None = None) -> Measured:
    """Run a command; raises CalledProcessError with what it said if it fails."""
    since, used = time.perf_counter(), _children()
    peak = 0
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        status = Path(f"/proc/{child.pid}/status")
        while child.poll() is None:
            peak = max(peak, _high_water(status))
            time.sleep(POLL_S)
        seconds = time.perf_counter() - since
        output = child.stdout.read() if child.stdout else ""
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, output)
    return Measured(seconds, _children() - used, peak)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _high_water(status: Path) -> int:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
