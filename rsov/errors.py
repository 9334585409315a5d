"""Errors and exit codes: one tree, one table, used by every command.

An error is raised where the fault is known, carries what a user needs to act on it, and is shown
once, by the command line. Library users catch :class:`RsovError`.
"""

from __future__ import annotations

import copyreg
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ExitCode",
    "InputError",
    "Interrupted",
    "ModelError",
    "OutputError",
    "PartialError",
    "ResourceError",
    "RsovError",
    "UsageError",
    "root_cause",
]


class ExitCode(IntEnum):
    """What the process returns; the same table for every command."""

    OK = 0
    BUG = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    OUTPUT = 5
    PARTIAL = 6
    RESOURCES = 7
    CHECK = 8
    TEMPORARY = 9
    HANGUP = 129
    INTERRUPT = 130
    PIPE = 141
    TERMINATED = 143


class RsovError(Exception):
    """A fault with its place and its remedy.

    Args:
        id: stable name, ``E-input-truncated``, for scripts: it stands in JSON and in the message.
        what: one sentence without jargon, naming the file, option or class concerned.
        where: file, band, tile, option or line of a config; only if known.
        why: the cause; only if known.
        fix: a line the user can act on, pasted if possible.

    ``code`` is that of the branch; the process returns ``exit_code``, another one after signals and batches.
    Texts may hold foreign strings as they are; whoever shows them escapes them.
    """

    code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, id: str, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.id = id
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix
        self.exit_code: ExitCode = self.code

    def __reduce__(self) -> tuple[Any, ...]:
        """With its state: a pool of processes waits for ever for an error that cannot be unpickled."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in typeshed

    def __str__(self) -> str:
        lines = [f"error[{self.id}]: {self.what}"]
        lines += [
            f"  {label + ':':<6} {text}"
            for label, text in (("where", self.where), ("why", self.why), ("fix", self.fix))
            if text
        ]
        return "\n".join(lines)


def root_cause(error: BaseException) -> str:
    """What an error was raised from in the end, as ``Type: message``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


class UsageError(RsovError):
    """Wrong option, argument, prompt, config, or combination; nothing was read or written."""

    code = ExitCode.USAGE


class InputError(RsovError):
    """An input is missing, unreadable, damaged, unsupported, or does not fit the others."""

    code = ExitCode.INPUT


class ModelError(RsovError):
    """Model, text encoder or engine missing, refused or incompatible."""

    code = ExitCode.MODEL


class OutputError(RsovError):
    """Output exists, cannot be written, disk full, or failed its verification."""

    code = ExitCode.OUTPUT

    @classmethod
    def damaged(cls, path: Path, why: str) -> OutputError:
        """For a file that does not hold what was written to it."""
        return cls(
            "E-output-damaged",
            f"{path.name} was not written correctly",
            where=str(path),
            why=why,
            fix="check the room on the disk and the disk itself, then run the same command again",
        )


class PartialError(RsovError):
    """A batch finished and at least one item failed."""

    code = ExitCode.PARTIAL


class ResourceError(RsovError):
    """Cannot run within the memory or time allowed, even at the smallest tile."""

    code = ExitCode.RESOURCES


class Interrupted(RsovError):  # noqa: N818 - a request, not a fault
    """Stopped by a signal; ``exit_code`` is 129, 130 or 143."""

    code = ExitCode.INTERRUPT

    def __init__(self, exit_code: ExitCode, what: str) -> None:
        super().__init__("E-stopped", what)
        self.exit_code = exit_code
