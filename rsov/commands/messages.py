"""Errors, warnings and summaries as they are shown; used by every command."""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING, Any

from rsov.errors import RsovError

if TYPE_CHECKING:
    from collections.abc import Sequence

BUG_FILE = "last-error.txt"


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` was given, readable even where the command line itself is wrong."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own and "--no-json" not in own


def error_document(error: RsovError) -> dict[str, Any]:
    """One entry of ``errors`` in the JSON documents."""
    from rsov.term import mask

    texts = {"message": error.what, "where": error.where, "why": error.why, "hint": error.fix}
    return {"id": error.id, **{key: mask(text) for key, text in texts.items()}}


def print_error(error: BaseException, verbosity: int) -> None:
    """The block on stderr; from `-v -v` on with its traceback."""
    from rsov import term

    if isinstance(error, RsovError):
        term.say(term.format_error(error))
    if verbosity > 1:
        for line in term.mask("".join(traceback.format_exception(error))).splitlines():
            term.say(line)  # a line each: names in it are escaped


def show_error(error: RsovError, arguments: Sequence[str]) -> int:
    """The block on stderr and, with `--json`, a document on stdout; returns the exit code."""
    from rsov import term

    code = int(error.exit_code)
    print_error(error, verbosity(arguments))
    if wants_json(arguments):
        command = next((word for word in arguments if not word.startswith("-")), "rsov")
        document = {
            "schema": f"rsov/{command if command.isidentifier() else 'rsov'}/1",
            "status": "error",
            "exit_code": code,
            "errors": [error_document(error)],
        }
        term.emit(json.dumps(document, ensure_ascii=False, allow_nan=False))
    return code


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
    return show_error(bug, [word for word in arguments if not word.startswith("-v") and word != "--verbose"])


def verbosity(arguments: Sequence[str]) -> int:
    """How often `-v` was given, also where the command line could not be parsed."""
    return sum(
        len(word) - 1 if word.startswith("-v") and set(word[1:]) == {"v"} else word == "--verbose"
        for word in arguments
    )
