"""Errors, warnings and summaries as they are shown; used by every command."""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING, Any

from rsov import __version__
from rsov.commands.app import COMMANDS
from rsov.errors import RsovError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONTENT = {"predict": "maps", "doctor": "checks"}
"""The list that the JSON document of a command has besides the keys of all."""

BUG_FILE = "last-error.txt"


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` was given, readable even where the command line itself is wrong."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own and "--no-json" not in own


def command_of(arguments: Sequence[str]) -> str:
    """The command that was meant, ``""`` if none."""
    return next((word for word in arguments if word in COMMANDS), "")


def document(
    command: str,
    code: int,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    items: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The JSON document of a call: the same keys whatever came out.

    ``items`` is the list of :data:`CONTENT`; what each of them did is summed up in the lists, and where there
    is only one also in the other keys.
    """
    only = items[0] if len(items) == 1 else {}
    listed = {
        key: [entry for item in items for entry in item.get(key, ())]
        for key in ("inputs", "outputs", "warnings")
    }
    status = "ok" if code == 0 else "partial" if listed["outputs"] else "error"
    content = {CONTENT[command]: list(items)} if command in CONTENT else {}
    return {
        "schema": f"rsov/{command or 'rsov'}/1",
        "status": status,
        "exit_code": code,
        "run_id": only.get("run_id"),
        **listed,
        "errors": list(errors),
        "metrics": only.get("metrics", {}),
        "timing": only.get("timing", {}),
        "versions": items[0]["versions"] if items and "versions" in items[0] else {"rsov": __version__},
        **content,
    }


def error_document(error: RsovError, input: Path | None = None) -> dict[str, Any]:
    """One entry of ``errors`` in the JSON documents; ``input`` is that of several which failed."""
    from rsov.term import mask

    texts = {"message": error.what, "where": error.where, "why": error.why, "hint": error.fix}
    return {
        "id": error.id,
        **{key: mask(text) for key, text in texts.items()},
        "input": None if input is None else mask(str(input)),
        "exit_code": int(error.exit_code),
    }


def print_error(error: BaseException, verbosity: int) -> None:
    """The block on stderr; from `-v -v` on with its traceback."""
    from rsov import term

    if isinstance(error, RsovError):
        term.say(term.format_error(error))
    if verbosity > 1:
        for line in term.mask("".join(traceback.format_exception(error))).splitlines():
            term.say(line)  # a line each: names in it are escaped


def show_error(error: RsovError, command: str, *, verbosity: int, as_json: bool) -> int:
    """The block on stderr and, with `--json`, a document on stdout; returns the exit code."""
    from rsov import term

    code = int(error.exit_code)
    print_error(error, verbosity)
    if as_json:
        term.emit(to_json(document(command, code, errors=[error_document(error)])))
    return code


def to_json(value: Mapping[str, Any]) -> str:
    """A document as it is printed: one line, in which NaN is a fault of whoever made it.

    Bytes of names that are no UTF-8 become escapes.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def show_bug(error: BaseException, arguments: Sequence[str]) -> int:
    """An exception nobody planned for: two lines, the traceback in a file of the cache (masked)."""
    from rsov import term
    from rsov.text.cache import cache_home

    text = term.mask("".join(traceback.format_exception(error)))
    place = cache_home() / BUG_FILE
    fix = f"please report it with {place}"
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        with os.fdopen(
            os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError:
        fix = "run it again with -v -v and please report what it shows"
    print_error(error, verbosity(arguments))
    bug = RsovError("E-bug", f"rsov has a fault: {type(error).__name__}: {error}", fix=fix)
    return show_error(bug, command_of(arguments), verbosity=0, as_json=wants_json(arguments))


def verbosity(arguments: Sequence[str]) -> int:
    """How often `-v` was given, also where the command line could not be parsed."""
    return sum(
        len(word) - 1 if word.startswith("-v") and set(word[1:]) == {"v"} else word == "--verbose"
        for word in arguments
    )
