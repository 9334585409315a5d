"""The file of `--log-file`: one JSON object a line, each beginning with its time; runs add to it."""

from __future__ import annotations

import json
import stat
import time
from typing import TYPE_CHECKING, Any, TextIO

from rsov import term
from rsov.commands.values import names_open_stream
from rsov.errors import OutputError, UsageError
from rsov.raster.outputs import companions, sidecars

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BEGIN = b'{"time": '
"""How each line starts, and so every file that may be added to."""


def open_log(path: Path) -> TextIO:
    """The log to add lines to: a new file, an empty one, or one that rsov began.

    Raises:
        UsageError: the name is taken by something else, which a log would spoil or wait for.
        OutputError: it cannot be written.
    """
    try:
        if str(path) == "-":
            raise _refused(path, "names no file: /dev/stderr shows it")
        if path.exists():
            if names_open_stream(path):
                return path.open("a", encoding="utf-8")
            if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe or a device may never end
                raise _refused(path, "is not a file")
            with path.open("rb") as file:
                if file.read(len(_BEGIN)) not in {b"", _BEGIN}:
                    raise _refused(path, "exists and is not a log of rsov")
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "E-log-file",
            f"the log file {path} cannot be written",
            where="--log-file",
            why=error.strerror or "",
            fix="choose a name in a folder that you can write to",
        ) from error


def check_log(path: Path, outputs: Iterable[Path]) -> None:
    """Refuse a log under the name of an output or of a part of one, which would find or replace it."""
    taken = {_place(name) for output in outputs for name in (output, *companions(output), *sidecars(output))}
    if _place(path) in taken:
        raise _refused(path, "would be an output of this run")


def add_line(log: TextIO, kind: str, values: dict[str, Any]) -> None:
    """One line; keys in URLs are masked."""
    line = {"time": time.strftime("%FT%T%z"), "kind": kind, **values}
    log.write(term.mask(json.dumps(line)) + "\n")
    log.flush()


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _refused(path: Path, what: str) -> UsageError:
    return UsageError(
        "E-log-file", f"--log-file {path} {what}", where="--log-file", fix="give the log a name of its own"
    )
