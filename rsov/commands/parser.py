"""From a table of options to a Typer command with plain, sectioned help (no boxes, at most 100 columns)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from rsov.commands.table import OTHER, Option
from rsov.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HELP_WIDTH = 100
NAME_WIDTH = 26
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}


class SectionedCommand(TyperCommand):
    """Help in sections; examples are shown as they are typed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer, but ``-overwrite`` is not ``-o verwrite``.

        Raises:
            UsageError: a long name with one dash, as GDAL has it.
        """
        names = {name for param in self.params for name in (*param.opts, *param.secondary_opts)}
        for word in args[: args.index("--")] if "--" in args else args:
            flag = word.partition("=")[0]
            if len(flag) > 2 and f"-{flag}" in names:
                raise UsageError("E-usage", f"{flag} is written with two dashes", fix=f"-{word}")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """One section a panel, in the order of the table; arguments are in the line of usage."""
        others = OTHER if any(getattr(param, "rich_help_panel", None) for param in self.params) else "Options"
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, TyperOption):
                names = record[0].partition(" / --no-")[0].ljust(NAME_WIDTH)
                sections.setdefault(param.rich_help_panel or others, []).append((names, record[1]))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=NAME_WIDTH)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the name is Typer's
        """Lines as they are: examples must survive copying."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write(inspect.cleandoc(self.epilog) + "\n")


def command_from_table(
    run: Callable[..., int],
    options: Sequence[Option],
    *,
    name: str,
    help: str,
    epilog: str,
    inputs: str = "",
) -> typer.Typer:
    """A Typer app with one command ``run(inputs, given, config, use_config)``.

    Values arrive as texts (switches as bool or None); ``None`` or an empty list means not given.
    """
    parameters = [_parameter(option) for option in options]
    keyword = inspect.Parameter.KEYWORD_ONLY
    if inputs:
        argument = Annotated[list[str] | None, typer.Argument(metavar=inputs, show_default=False)]
        parameters.insert(0, inspect.Parameter("inputs", keyword, default=None, annotation=argument))
    parameters += [
        inspect.Parameter("config", keyword, default=None, annotation=_CONFIG),
        inspect.Parameter("no_config", keyword, default=False, annotation=_NO_CONFIG),
    ]

    def call(**given: Any) -> int:
        positional = given.pop("inputs", None) or []
        config, no_config = given.pop("config"), given.pop("no_config")
        return run(positional, given, config, not no_config)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions take it, stubs do not say so
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=SectionedCommand, help=help, epilog=epilog, context_settings=CONTEXT)(call)
    return app


_CONFIG = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Read options from this TOML file.", rich_help_panel=OTHER),
]
_NO_CONFIG = Annotated[
    bool, typer.Option("--no-config", help="Do not look for rsov.toml.", rich_help_panel=OTHER)
]


def completer(offers: Callable[[], Iterable[str]], *, listed: bool = False) -> Callable[[str], list[str]]:
    """What a shell is told for a value begun; in a list the last item is completed, by one not yet in it."""

    def complete(incomplete: str) -> list[str]:
        head, comma, last = incomplete.rpartition(",") if listed else ("", "", incomplete)
        there = head.split(",")
        return [head + comma + item for item in offers() if item.startswith(last) and item not in there]

    return complete


def _parameter(option: Option) -> inspect.Parameter:
    shown: dict[str, Any] = {
        "help": option.help,
        "rich_help_panel": option.panel,
        "hidden": option.hidden,
        "show_default": False,
    }
    if option.convert is not None:
        shown["metavar"] = option.metavar
        shown["autocompletion"] = completer(option.offers, listed=option.metavar == "LIST")
    annotation: Any = list[str] | None if option.repeat else str | None
    default: Any = None
    if option.convert is None:
        annotation = bool | None
        if option.repeat:
            annotation, default, shown["count"] = int, 0, True
    annotation = Annotated[annotation, typer.Option(*option.flags, **shown)]
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
