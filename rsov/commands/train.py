"""`rsov train bundled`: a recipe and data sets to a bundle of weights and card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsov.commands.parser import CONTEXT, SectionedCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

EPILOG = """
The folder of -o gets bundled.safetensors and its card, and training/ with
checkpoints and log. The same call goes on where an earlier one was stopped.

Examples:
  rsov train bundled --data data/ -o own/
  rsov train bundled recipe.toml --data data/ -o own/
  rsov train bundled --data data/ -o own/ --set loop.steps=3000 --restart
  rsov predict ortho.tif --prompts "forest,road" --model own/

Exit codes: 0 done, 2 usage, 3 data, 4 model, 5 output, 129/130/143 stopped.
"""


def _known(what: str) -> str:
    """The name of what is trained; there is one so far."""
    if what != "bundled":
        from rsov.errors import UsageError

        raise UsageError(
            "E-train-model", f"no training for {what!r}", fix="rsov train bundled --data DIR -o OUT/"
        )
    return what


@app.command(
    "train",
    cls=SectionedCommand,
    help="Train the bundled model from a recipe, the shipped one by default.",
    epilog=EPILOG,
    context_settings=CONTEXT,
)
def train(
    what: Annotated[
        str,
        typer.Argument(
            metavar="bundled",
            show_default=False,
            autocompletion=lambda: ["bundled"],
            callback=_known,
            is_eager=True,  # before options that only a known model needs
        ),
    ],
    *,
    given: Annotated[str | None, typer.Argument(metavar="RECIPE.toml", show_default=False)] = None,
    data: Annotated[str, typer.Option("--data", metavar="DIR", help="Folder of the data sets.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="The bundle.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="FILE", help="A TOML file [the shipped recipe].")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start anew.")] = False,
) -> int:
    """Translate, call, print."""
    del what  # there is one
    from rsov.commands.signals import stopping
    from rsov.errors import InputError, Interrupted, UsageError
    from rsov.jobs.stop import Stop
    from rsov.term import emit, say

    if given and recipe:
        raise UsageError(
            "E-option-conflict", f"two recipes: {given} and --recipe {recipe}", fix="leave one of the two"
        )
    if not Path(data).is_dir():
        raise InputError(
            "E-train-data",
            f"{data} is no folder",
            where="--data",
            fix="give the folder that holds the data sets",
        )
    from rsov.engine.runtime import prepare_environment

    prepare_environment()
    from rsov.jobs.train.bundled import Recipe, train_bundled, training_sets
    from rsov.jobs.train.export import export_bundle
    from rsov.jobs.train.loop import LAST
    from rsov.jobs.train.recipe import load_recipe

    settings = load_recipe(
        Recipe, Path(chosen) if (chosen := recipe or given) else None, "bundled", change or []
    )
    folder, stop = Path(output), Stop()
    with stopping(stop, say, deadline_s=None):
        train_bundled(
            settings,
            Path(data),
            folder / "training",
            not restart,
            report=say,
            should_stop=stop.event.is_set,
        )
    if stop.event.is_set():
        raise Interrupted(stop.exit_code, "stopped; the same command goes on from the last checkpoint")
    target = folder / "bundled.safetensors"
    names = [item.name for item in training_sets(Path(data), settings.exclude_sets)]
    export_bundle(folder / "training" / LAST, target, version="own", data_sets=names)
    emit(str(target))
    return 0
