"""The entry point of `rsov`: signals and streams of the process, errors as messages and exit codes.

Little is imported at the top: until :func:`main` runs, Ctrl-C shows a traceback of Python's.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rsov.errors import ExitCode, OutputError, RsovError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from typer.exceptions import TyperException

COMPLETE = "_RSOV_COMPLETE"
"""Set by the completion scripts; Typer answers then instead of running anything."""

COLLECT = (50_000, 20, 100)
"""Thresholds of garbage collection. With Python's own, hundreds of collections walk through torch's objects
and find next to nothing: half a second of every map."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the entry point of `rsov` and of the tests."""
    if arguments is None:
        _use_utf8()
        gc.set_threshold(*COLLECT)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent ignores it
            signal.signal(signal.SIGINT, _end_now)
        from rsov.term import keep_streams

        keep_streams()
        _leave(_run(sys.argv[1:]))
    return _run(list(arguments))


def _use_utf8() -> None:
    """Start anew in Python's UTF-8 mode where the locale is another one; same process, same arguments.

    Names of files and prompts are UTF-8 for GDAL and in the outputs; an ASCII locale cannot hold them (P28).
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable and _can_start_anew():
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - itself


def _can_start_anew() -> bool:
    """Not where a caller's program came from a prompt or a pipe: there is nothing left of it to read."""
    return not hasattr(sys, "ps1") and getattr(sys.modules["__main__"], "__file__", None) != "<stdin>"


def _end_now(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    """Ctrl-C outside of a job, which has handlers of its own: there is nothing to undo.

    An exception would come out of whatever module is being loaded, and some of them would show or swallow it.
    """
    try:
        os.write(2, b"rsov: stopped\n")
    finally:  # also where nobody can be told
        os._exit(ExitCode.INTERRUPT)


def _leave(code: int) -> NoReturn:
    """End the process now, whatever threads still do.

    The interpreter takes most of a second over taking torch down, and on a busy machine longer than
    containers wait for the end of a stopped run (C03).
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or ExitCode.PIPE
        except (OSError, ValueError):
            code = code or ExitCode.OUTPUT
    os._exit(code)


def _run(arguments: list[str]) -> int:
    from typer.exceptions import TyperException

    from rsov.commands.app import app

    if os.environ.get(COMPLETE):
        from typer._completion_classes import completion_init

        completion_init()
    try:
        _check_folder()
        result = app(arguments, prog_name="rsov", standalone_mode=False)
    except RsovError as error:
        return fail(error, arguments)
    except TyperException as error:
        return _usage(error, arguments)
    except BrokenPipeError:
        return int(ExitCode.PIPE)
    except Exception as error:  # noqa: BLE001 - whatever nobody planned for becomes two lines and a file
        return _unplanned(error, arguments)
    return result if isinstance(result, int) else 0


def _check_folder() -> None:
    """Libraries fail in many ways, some by ending the process, where the current folder was removed."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            "E-current-folder",
            "the current folder cannot be used",
            why=error.strerror or "",
            fix="cd to a folder that exists",
        ) from error


def _unplanned(error: Exception, arguments: Sequence[str]) -> int:
    import errno

    if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # of stdout, when help is shown
        return fail(OutputError("E-output-full", "the disk is full", why=str(error)), arguments)
    if isinstance(error, FileNotFoundError):
        try:
            _check_folder()  # it may have been removed since the start
        except UsageError as gone:
            return fail(gone, arguments)
    from rsov.commands.messages import show_bug

    return show_bug(error, arguments)


def fail(error: RsovError, arguments: Sequence[str]) -> int:
    """Show an error once, as text and (with `--json`) as a document; return its exit code."""
    from rsov.commands.messages import command_of, show_error, verbosity, wants_json

    return show_error(
        error, command_of(arguments), verbosity=verbosity(arguments), as_json=wants_json(arguments)
    )


def _usage(error: TyperException, arguments: Sequence[str]) -> int:
    """Typer's complaints in rsov's form, with what the option takes or the nearest name."""
    from rsov.commands.app import COMMANDS, flags_of
    from rsov.commands.messages import command_of

    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message() + "\n")
        return int(ExitCode.USAGE)
    command, where = command_of(arguments), ""
    hint = f"see rsov {command} --help" if command else "see rsov --help"
    missing = getattr(error, "param", None)
    flag = getattr(error, "option_name", None) if missing is None else missing.opts[-1]
    message = error.message or error.format_message()  # the second has guesses of its own
    flags = flags_of(command)
    if flag in flags:
        where = f"{flag} {flags[flag]}" if flags[flag] else ""
    elif flag is not None and flag.startswith("-"):
        hint = _nearest(flag, list(flags)) + hint
    elif not command:
        word = next((word for word in arguments if not word.startswith("-")), "")
        hint = _nearest(word, list(COMMANDS)) + hint
        if "." in word:
            hint = f"rsov predict {word} --prompts 'forest,road'"
    return fail(UsageError("E-usage", message.rstrip("."), where=where, fix=hint), arguments)


def _nearest(wrong: str, known: Sequence[str]) -> str:
    """Names that begin or end with the word, else the most similar one."""
    import difflib

    bare = {name.lstrip("-"): name for name in known if name.startswith("--") or not name.startswith("-")}
    text = wrong.lstrip("-")
    begun = sorted(
        each for each in bare if len(text) > 2 and (each.startswith(text) or each.endswith(f"-{text}"))
    )
    near = [bare[each] for each in begun[:3] or difflib.get_close_matches(text, bare, n=1, cutoff=0.7)]
    return f"did you mean {' or '.join(near)}? " if near else ""


if __name__ == "__main__":
    sys.exit(main())
