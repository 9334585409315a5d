"""`rsov doctor`: what this machine has, and what would make a run fail."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Annotated

import typer

from rsov.commands.parser import CONTEXT, SectionedCommand

LEAST_ROOM = 30
"""Cells of a line beside the names of the checks, however narrow the terminal is."""

EPILOG = """
Examples:
  rsov doctor
  rsov doctor --json
  rsov doctor --strict && rsov predict ortho.tif --prompts "forest,road"

Exit codes: 0, with --strict 8 if a check fails. See also: docs/install.md
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(
    "doctor",
    cls=SectionedCommand,
    help="Check this installation and machine: one line each, with a remedy where something is wrong.",
    epilog=EPILOG,
    context_settings=CONTEXT,
)
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 8 if a check fails.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Examine and print."""
    from rsov.commands.messages import document, to_json
    from rsov.errors import ExitCode
    from rsov.jobs.doctor import examine
    from rsov.term import emit, plain

    checks = examine()
    failed = any(check.status == "fail" for check in checks)
    code = int(ExitCode.CHECK) if strict and failed else 0
    if json:
        emit(to_json(document("doctor", code, items=[check.as_dict() for check in checks])))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            head = f"{check.status:<5} {check.name:<{width}}  "
            emit(_folded(head, plain(check.value)))
            if check.fix:
                emit(_folded(" " * len(head), f"fix: {plain(check.fix)}"))
    return code


def _folded(head: str, text: str) -> str:
    """A text beside its head; on a terminal in lines that fit below each other."""
    if not sys.stdout.isatty():
        return head + text
    room = max(LEAST_ROOM, shutil.get_terminal_size().columns - len(head))
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return head + f"\n{' ' * len(head)}".join(lines)
