"""Private folders of runs: how a run shows that it lives, and what the next one removes of a killed one.

A run holds a lock on a file in its folder. The system lets go of it when the process ends, however it ends,
and unlike the number of a process it cannot belong to another one later. The file names the machine: over a
network a lock may be seen by its own machine only.
"""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import stat
from enum import Enum
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PART_PATTERN = re.compile(r"^\.(.{1,50})\.rsov-[0-9a-f]{12}\.part$", re.DOTALL)
"""Names of the private folders; whatever matches and belongs to no live run is a leftover."""

KEPT_NAME = 50
"""Characters of the output's name in that of the folder, which must not become too long."""

LOCK = "lock"
OLD = "old"
"""Where earlier outputs wait while new ones take their places."""


class Fate(Enum):
    """What became of the run that made a folder."""

    LIVES = "it holds its lock"
    DEAD = "it ran on this machine, holds no lock and has replaced nothing"
    UNSURE = "no lock that can be judged from here, or earlier outputs lie in the folder"


def part_folder(output: Path, run: str) -> Path:
    """The private folder beside ``output`` of the run with that id."""
    return output.with_name(f".{output.name[:KEPT_NAME]}.rsov-{run}.part")


def hold(folder: Path) -> IO[bytes]:
    """Show that the run of ``folder`` lives, until the file is closed.

    Raises:
        OSError: the file cannot be made.
    """
    lock = (folder / LOCK).open("xb", buffering=0)
    with contextlib.suppress(OSError):  # some network shares have no locks: the folder stays unsure
        if _take(lock):
            lock.write(_machine())
    return lock


def fate(folder: Path) -> Fate:
    """Whether the run that made ``folder`` still works."""
    try:
        if not stat.S_ISREG((folder / LOCK).lstat().st_mode):  # a pipe would be read for ever
            return Fate.UNSURE
        with (folder / LOCK).open("r+b", buffering=0) as lock:
            sure = _take(lock) and lock.read() == _machine() and not (folder / OLD).exists()
    except BlockingIOError:
        return Fate.LIVES
    except OSError:
        return Fate.UNSURE
    return Fate.DEAD if sure else Fate.UNSURE


def leftovers(folder: Path) -> list[Path]:
    """Private folders of runs in ``folder`` that were killed, or that still work, in order of name."""
    try:
        return sorted(entry for entry in folder.iterdir() if PART_PATTERN.match(entry.name))
    except OSError:  # a folder may be written, but not listed
        return []


def clear_leftovers(outputs: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Remove the private folders of runs on these outputs that are surely dead.

    Returns:
        The folders that are gone, and those that are left because nobody can be sure.
    """
    wanted = {(output.parent, output.name[:KEPT_NAME]) for output in outputs}
    gone: list[Path] = []
    unsure: list[Path] = []
    for parent in sorted({parent for parent, _ in wanted}):
        for folder in leftovers(parent):
            found = PART_PATTERN.match(folder.name)
            if found is None or (parent, found[1]) not in wanted:
                continue
            state = fate(folder)
            if state is Fate.DEAD:
                shutil.rmtree(folder, ignore_errors=True)
            if state is not Fate.LIVES:
                (unsure if folder.exists() else gone).append(folder)
    return gone, unsure


def _take(lock: IO[bytes]) -> bool:
    """Lock an open file until it is closed; False where the system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
        OSError: this file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return False
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def _machine() -> bytes:
    return platform.node().encode()
