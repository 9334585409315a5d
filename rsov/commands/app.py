"""The commands of `rsov`: their names, each loaded on demand.

Nothing heavy is imported here: `rsov --help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from rsov import __version__

COMMANDS = {
    "predict": ("rsov.commands.predict", "Make a land-cover map from an orthomosaic and words."),
    "train": ("rsov.commands.train", "Train the bundled model from a recipe."),
    "doctor": ("rsov.commands.doctor", "Check this installation and machine."),
    "completion": ("rsov.commands.completion", "Print the completion script for a shell."),
}
"""Module and one line of help of every subcommand; the help of `rsov` loads none of them."""


EPILOG = """
Examples:
  rsov predict ortho.tif --prompts "forest,road"
  rsov predict ortho.tif --prompts "water=lake|river,forest" --dry-run
  rsov doctor

Help on one command: rsov COMMAND --help
"""


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

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - and this
        """Lines as they are: examples must survive copying."""
        formatter.write(f"\n{EPILOG.strip()}\n")


def _version(value: bool) -> None:
    if value:
        from rsov.term import emit

        emit(f"rsov {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    name="rsov",
    help="Land-cover maps from orthomosaics and words.",
    epilog=EPILOG,
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


def flags_of(command: str) -> dict[str, str]:
    """``--tile`` -> ``PX: Tile side ...`` of a command, or of `rsov` itself; ``""`` for a switch."""
    group = typer.main.get_command(app)
    known = group.get_command(None, command) if isinstance(group, LazyGroup) and command else group
    found = {}
    for param in known.params if known is not None else ():
        value = "" if getattr(param, "is_flag", True) else f"{param.metavar}: {getattr(param, 'help', '')}"
        found.update(dict.fromkeys((*param.opts, *param.secondary_opts), value))
    return found
