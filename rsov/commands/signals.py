"""Ctrl-C, SIGTERM and SIGHUP: stop between tiles, and in any case within seconds (C03-C05).

A Python signal handler runs between two bytecodes only, and one call into a network may last longer than
the ten seconds that containers give. So a thread reads the signals from a wake-up socket, asks the job to
stop, and ends the process itself when a second signal or the deadline comes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

from rsov.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from rsov.jobs.stop import Stop

DEADLINE_S = 6.0
"""From a signal to the end of the process; a container kills after ten (C03)."""

CODES = {signal.SIGINT: ExitCode.INTERRUPT, signal.SIGTERM: ExitCode.TERMINATED}
if hasattr(signal, "SIGHUP"):
    CODES[signal.SIGHUP] = ExitCode.HANGUP


@contextlib.contextmanager
def stopping(stop: Stop, say: Callable[[str], None], deadline_s: float | None = DEADLINE_S) -> Iterator[None]:
    """Within, signals set ``stop``; the previous handlers come back afterwards.

    Does nothing outside of the main thread, where Python cannot install handlers. A signal that the parent
    had ignored (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    old_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old = {}
    for number in CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            old[number] = signal.signal(number, _heard)
    watcher = threading.Thread(
        target=_watch, args=(reader, stop, say, deadline_s), name="signals", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_wakeup)
        writer.close()
        watcher.join()
        reader.close()


def _heard(number: int, frame: FrameType | None) -> None:
    pass


def _watch(reader: socket.socket, stop: Stop, say: Callable[[str], None], deadline_s: float | None) -> None:
    code: ExitCode | None = None
    while True:
        reader.settimeout(deadline_s if code is not None else None)
        try:
            data = reader.recv(1)
        except TimeoutError:
            break
        except OSError:
            return
        if not data:
            return
        number = data[0]
        if number not in CODES:
            continue
        if code is not None:
            break
        code = CODES[signal.Signals(number)]
        stop.request(code)
        if code is ExitCode.INTERRUPT:
            say("stopping; Ctrl-C again stops at once")
    if code is None:
        return
    stop.abandon()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(int(code))
