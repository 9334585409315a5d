"""Batches made ahead of time in other processes, handed over in the order of the steps."""

from __future__ import annotations

import multiprocessing as mp
import queue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rsov.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T_co = TypeVar("T_co", covariant=True)
_AHEAD = 3  # batches waiting per process
_PATIENCE_S = 30.0  # between two looks whether a silent process still lives


class MakesBatch(Protocol[T_co]):
    """Anything that makes the batch of a step; it is pickled into the loader processes."""

    def __call__(self, step: int) -> T_co:
        """The batch of a step."""
        ...


def _work(make: Callable[[int], Any], first: int, stop: int, stride: int, out: Any) -> None:
    for step in range(first, stop, stride):
        out.put(make(step))


def feed(make: MakesBatch[T_co], start: int, stop: int, workers: int) -> Iterator[T_co]:
    """The batches of steps `start` to `stop - 1`; with no workers they are made here.

    Processes are spawned, not forked: the trainer may already have started threads of torch.
    """
    if workers == 0:
        for step in range(start, stop):
            yield make(step)
        return
    context = mp.get_context("spawn")
    queues = [context.Queue(_AHEAD) for _ in range(workers)]
    processes = [
        context.Process(target=_work, args=(make, start + i, stop, workers, queues[i]), daemon=True)
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        for step in range(start, stop):
            which = (step - start) % workers
            yield _take(queues[which], processes[which])
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _take(source: Any, process: Any) -> Any:
    while True:
        try:
            return source.get(timeout=_PATIENCE_S)
        except queue.Empty:
            if not process.is_alive():
                raise ResourceError(
                    "E-train-loader",
                    "a loader process ended",
                    why=f"exit status {process.exitcode}",
                    fix="set workers = 0 in the recipe",
                ) from None
