"""How a job is stopped from outside: between steps and tiles, or at once with its traces removed."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

from rsov.errors import ExitCode, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Stop"]

T = TypeVar("T")
_LISTEN_S = 0.1
"""Between two looks for a stop, while something else works."""


class Stop:
    """A request to stop, and what must be removed if there is no time to stop in order.

    ``event`` is looked at between tiles, by :meth:`check` between the steps of a job, by :meth:`aside` all
    the time.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.exit_code = ExitCode.INTERRUPT
        self._traces: list[Callable[[], None]] = []

    def request(self, exit_code: ExitCode) -> None:
        """Ask the job to stop; ``exit_code`` is what the process will return."""
        self.exit_code = exit_code
        self.event.set()

    def check(self) -> None:
        """Raise :class:`Interrupted` if a stop was asked for."""
        if self.event.is_set():
            raise Interrupted(self.exit_code, "stopped; nothing was written")

    def aside(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, from a thread of its own: a stop is heard whatever call of a decoder it is in.

        After a stop nobody waits for that thread, so ``work`` must leave nothing behind that it would remove.

        Raises:
            Interrupted: a stop was asked for before ``work`` was done.
        """
        self.check()
        found: Future[T] = Future()
        threading.Thread(target=_settle, args=(found, work), name="aside", daemon=True).start()
        while not wait([found], _LISTEN_S).done:
            self.check()
        return found.result()

    @contextlib.contextmanager
    def removing(self, traces: Callable[[], None]) -> Iterator[None]:
        """Within, :meth:`abandon` calls ``traces``: the caller's own clean-up does not run then."""
        self._traces.append(traces)
        try:
            yield
        finally:
            self._traces.remove(traces)

    def abandon(self) -> None:
        """Remove what the job has on disk; called from another thread, just before the process ends."""
        for traces in reversed(self._traces):
            with contextlib.suppress(Exception):
                traces()


def _settle(found: Future[T], work: Callable[[], T]) -> None:
    try:
        found.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        found.set_exception(error)
