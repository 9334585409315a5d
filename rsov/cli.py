"""The command `rsov`: names the subcommands, loads each on demand, turns errors into messages and exit codes.

Nothing heavy is imported here: `rsov --help` answers at once.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from rsov import __version__
from rsov.errors import ExitCode, Interrupted, OutputError, RsovError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "predict": ("rsov.commands.predict", "Make a land-cover map from an orthomosaic and words."),
    "train": ("rsov.commands.train", "Train the bundled model from a recipe."),
    "doctor": ("rsov.commands.doctor", "Check this installation and machine."),
    "completion": ("rsov.commands.completion", "Print the completion script for a shell."),
}
"""Module and one line of help of every subcommand; the help of `rsov` loads none of them."""


COMPLETE = "_RSOV_COMPLETE"
"""Set by the completion scripts; Typer answers then instead of running anything."""


class LazyGroup(TyperGroup):
    """Subcommands whose modules are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is Typer's
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's too
        """Load the module of a command; ``None`` if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(importlib.import_module(COMMANDS[cmd_name][0]).app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - and this
        """From the table, so that no module is loaded for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(value: bool) -> None:
    if value:
        from rsov.term import emit

        emit(f"rsov {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    name="rsov",
    help="Land-cover maps from orthomosaics and words.",
    epilog="Help on one command: rsov COMMAND --help",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "-V", "--version", help="Show the version.", callback=_version, is_eager=True
    ),
) -> None:
    del version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the entry point of `rsov` and of the tests."""
    if arguments is None:
        from rsov.term import keep_streams

        keep_streams()
        _leave(_run(sys.argv[1:]))
    return _run(list(arguments))


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
    if os.environ.get(COMPLETE):
        from typer._completion_classes import completion_init

        completion_init()
    try:
        result = app(arguments, prog_name="rsov", standalone_mode=False)
    except RsovError as error:
        return fail(error, arguments)
    except TyperException as error:
        return _usage(error, arguments)
    except KeyboardInterrupt:
        return fail(Interrupted(ExitCode.INTERRUPT, "stopped; nothing was written"), arguments)
    except BrokenPipeError:
        return int(ExitCode.PIPE)
    except Exception as error:  # noqa: BLE001 - whatever nobody planned for becomes two lines and a file
        return _unplanned(error, arguments)
    return result if isinstance(result, int) else 0


def _unplanned(error: Exception, arguments: Sequence[str]) -> int:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # of stdout, when help is shown
        return fail(OutputError("E-output-full", "the disk is full", why=str(error)), arguments)
    from rsov.commands.messages import show_bug

    return show_bug(error, arguments)


def fail(error: RsovError, arguments: Sequence[str]) -> int:
    """Show an error once, as text and (with `--json`) as a document; return its exit code."""
    from rsov.commands.messages import show_error

    return show_error(error, arguments)


def _usage(error: TyperException, arguments: Sequence[str]) -> int:
    """Typer's complaints in rsov's form, with the nearest name."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message() + "\n")
        return int(ExitCode.USAGE)
    command = next((word for word in arguments if word in COMMANDS), "")
    hint = f"see rsov {command} --help" if command else "see rsov --help"
    wrong = getattr(error, "option_name", None)
    context = getattr(error, "ctx", None)
    if wrong is not None and context is not None:
        known = [name for each in context.command.params for name in (*each.opts, *each.secondary_opts)]
        return fail(
            UsageError("E-usage", error.message.rstrip("."), fix=_nearest(wrong, known) + hint), arguments
        )
    word = next((word for word in arguments if not word.startswith("-")), "")
    near = "" if command else _nearest(word, list(COMMANDS))
    return fail(UsageError("E-usage", error.format_message().rstrip("."), fix=near + hint), arguments)


def _nearest(wrong: str, known: Sequence[str]) -> str:
    """Names that go on as the word does, else the most similar one."""
    begun = sorted(name for name in known if len(wrong) > 3 and name.startswith(wrong))
    near = begun[:3] or difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"did you mean {' or '.join(near)}? " if near else ""


if __name__ == "__main__":
    sys.exit(main())
