"""What a prediction tells while it runs; the command line shows it, a Python caller may ignore it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from rsov.errors import RsovError
    from rsov.types import Notice


@dataclass(frozen=True)
class Step:
    """Where a map stands: ``tiles`` of ``total`` done, ``pixels`` seen by the model in ``seconds``."""

    path: Path
    tiles: int
    total: int
    pixels: int
    seconds: float


class Watcher(Protocol):
    """Called from the thread that runs the job or one that it waits for; after a stop perhaps once more."""

    def notice(self, notice: Notice) -> None:
        """A warning."""
        ...

    def note(self, message: str) -> None:
        """What explains a wait, and is no warning."""
        ...

    def stage(self, path: Path, name: str) -> None:
        """A new stage of a map: reading, loading the model, writing."""
        ...

    def step(self, step: Step) -> None:
        """Tiles were done."""
        ...

    def failed(self, path: Path, error: RsovError) -> None:
        """One of several inputs failed; the others go on."""
        ...


class Silent:
    """Tells nobody."""

    def notice(self, notice: Notice) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def stage(self, path: Path, name: str) -> None:
        """Nothing."""

    def step(self, step: Step) -> None:
        """Nothing."""

    def failed(self, path: Path, error: RsovError) -> None:
        """Nothing."""
