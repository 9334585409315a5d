"""`rsov completion SHELL`: print the script; nothing of the user's is edited."""

from __future__ import annotations

from typing import Annotated

import typer

from rsov.commands.parser import CONTEXT, SectionedCommand

EPILOG = """
Examples:
  eval "$(rsov completion bash)"        (this session, or in ~/.bashrc)
  rsov completion zsh > ~/.zfunc/_rsov  (a folder of $fpath)
  rsov completion fish > ~/.config/fish/completions/rsov.fish
"""
SHELLS = ("bash", "zsh", "fish", "powershell")

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(
    "completion",
    cls=SectionedCommand,
    help="Print the completion script for a shell: bash, zsh, fish or powershell.",
    epilog=EPILOG,
    context_settings=CONTEXT,
)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", show_default=False, autocompletion=lambda: SHELLS)],
) -> None:
    """Print the script."""
    from typer._completion_shared import get_completion_script

    from rsov.errors import UsageError
    from rsov.term import emit

    if shell not in SHELLS:
        raise UsageError("E-shell", f"no completion for {shell!r}", fix=f"one of {', '.join(SHELLS)}")
    emit(get_completion_script(prog_name="rsov", complete_var="_RSOV_COMPLETE", shell=shell))
