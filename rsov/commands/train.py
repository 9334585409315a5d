"""`rsov train bundled`: a recipe and data sets to a bundle of weights and card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsov.commands.parser import CONTEXT, SectionedCommand

if TYPE_CHECKING:
    from rsov.jobs.train.bundled import Recipe

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

EPILOG = """
The folder of -o gets bundled.safetensors and its card, and training/ with
checkpoints and log. The same call goes on where an earlier one was stopped;
with another recipe or other data it needs --restart or another folder.

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
    _check(data, given, recipe)
    from rsov.commands.signals import stopping
    from rsov.engine.runtime import prepare_environment
    from rsov.errors import Interrupted
    from rsov.jobs.stop import Stop
    from rsov.term import emit, say

    prepare_environment()
    from rsov.jobs.train.bundled import Recipe, train_bundled
    from rsov.jobs.train.recipe import load_recipe

    chosen = recipe or given
    settings = load_recipe(Recipe, Path(chosen) if chosen else None, "bundled", change or [])
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
    emit(str(_written(settings, Path(data), folder)))
    return 0


def _check(data: str, given: str | None, recipe: str | None) -> None:
    """What can be said before anything heavy is loaded."""
    from rsov.errors import InputError, UsageError

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


def _written(settings: Recipe, data: Path, folder: Path) -> Path:
    """The bundle of a training that is done, or its checkpoint where there can be no bundle."""
    from rsov.jobs.train.bundled import training_sets
    from rsov.jobs.train.export import export_bundle
    from rsov.jobs.train.loop import LAST
    from rsov.term import say

    checkpoint, target = folder / "training" / LAST, folder / "bundled.safetensors"
    if settings.closed:
        say("closed = true knows no words: no bundle, but a checkpoint for benchmarks/quality.py --model")
        return checkpoint
    sets = training_sets(data, settings.exclude_sets, settings.exclude_pictures)
    export_bundle(checkpoint, target, version="own", sets=sets, report=say)
    return target
