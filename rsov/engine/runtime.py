"""What a process sets around the loading of torch, in the order that works: defaults, allocator, threads."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import os
import re
import sys
import threading
from pathlib import Path

from rsov.engine.budget import cpu_count
from rsov.errors import UsageError

_DEFAULTS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads leave the processor to rsov's readers and writer
    "TOKENIZERS_PARALLELISM": "false",
}
_BEHIND = 10
"""Niceness added for readers and writer: a tenth of a processor is theirs even beside busy programs."""
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_NEVER = 2**31 - 1
_THREADS = re.compile(r"\s*([1-9]\d{0,3})\s*(?:,.*)?", re.ASCII)
"""OMP_NUM_THREADS as OpenMP reads it, the outermost level first; torch would start any number."""


class _Process:
    """Where torch's threads live: a forked process believes in them and waits for them for ever."""

    id: int | None = None


def check_fork() -> None:
    """See that this process was not forked from one that has run a network.

    Raises:
        UsageError: it was.
    """
    if _Process.id not in {None, os.getpid()}:
        raise UsageError(
            "E-forked",
            "this process was forked from one in which rsov had already run",
            why="torch's threads do not come along, and the first layer would wait for them for ever",
            fix="start processes with multiprocessing.get_context('spawn')",
        )


def prepare_environment() -> None:
    """Defaults of variables that torch, tokenizers and numba read when loaded; the user's values stand."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "NUMBA_CACHE_DIR" not in os.environ:
        folder = _numba_cache()
        if folder is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks for the next tile instead of giving each back to the system.

    Without it every layer pays its page faults again: up to 37 % of the time on a CPU. Holds for the main
    thread's arena only, so the network runs there.

    Returns:
        Whether the C library has such a setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, _NEVER) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
    return False


def give_back_memory() -> None:
    """Return what :func:`keep_freed_memory` kept, once the network has run: what follows needs it."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def preload() -> None:
    """Import torch in a thread while the input is checked and sampled; :func:`start` waits for it."""
    prepare_environment()
    keep_freed_memory()
    threading.Thread(target=import_torch, name="torch", daemon=True).start()


def import_torch() -> None:
    """Import torch without garbage collection, which frees nothing there and takes a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with contextlib.suppress(Exception):  # whatever is wrong with it is told by the import that needs it
            importlib.import_module("torch")
    finally:
        if collecting:
            gc.enable()


def stand_back() -> None:
    """Let the calling thread run after the network's threads: called by those that read and write.

    A layer ends when the slowest thread of the network ends, so a reader that takes half of a processor
    makes all of them wait. Behind them it fills the gaps between layers, and when the network waits for a
    tile it has the processors for itself. A batch thread that wakes up displaces nobody.
    """
    if sys.platform.startswith("linux"):  # elsewhere the priority is that of the process
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _BEHIND)
            if os.sched_getscheduler(thread) == os.SCHED_OTHER:  # not what somebody chose for the process
                os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def start(threads: int | None = None) -> int:
    """Prepare this process for a run; call it in the main thread.

    Args:
        threads: of torch; by default OMP_NUM_THREADS, else all processors that this process may use. Readers
            and writer come on top: they sleep while they wait for a file or for the network.

    Returns:
        The number of torch threads.
    """
    prepare_environment()
    keep_freed_memory()
    import torch

    given = _THREADS.fullmatch(os.environ.get("OMP_NUM_THREADS", ""))
    count = threads or (int(given[1]) if given else cpu_count())
    torch.set_num_threads(count)
    _Process.id = os.getpid()
    return count


def _numba_cache() -> Path | None:
    """A folder of one's own for compiled kernels if the one beside the package cannot be written, else None.

    Never a shared temporary folder: numba unpickles what it finds there.
    """
    spec = importlib.util.find_spec("rsov")
    beside = (
        Path(next(iter(spec.submodule_search_locations))) / "kernels"
        if spec and spec.submodule_search_locations
        else None
    )
    if beside is not None and os.access(beside, os.W_OK):
        return None
    for base in (os.environ.get("XDG_CACHE_HOME"), Path.home() / ".cache"):
        if base:
            folder = Path(base) / "rsov" / "numba"
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK):
                    return folder
    return None
