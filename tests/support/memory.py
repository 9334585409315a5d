"""Resident memory of this process, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

import pytest

_STATUS = Path("/proc/self/status")


def resident() -> int:
    """Bytes resident now."""
    return _field("VmRSS")


def peak() -> int:
    """Most bytes resident since :func:`forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> None:
    """Start the peak anew; skips the test where the kernel cannot do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the peak of resident memory cannot be reset here: {error}")


def _field(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
