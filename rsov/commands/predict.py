"""`rsov predict`: options -> one call -> what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsov.commands.parser import command_from_table
from rsov.commands.settings import settle
from rsov.commands.table import PREDICT

HELP = """Make a land-cover map from an orthomosaic and words.

Writes <stem>_classes.tif, its polygons and a report; prints the paths written."""
EPILOG = """
Examples:
  rsov predict ortho.tif --prompts "forest,road"
  rsov predict ortho.tif -p "water=lake|river,forest|wood" -o out/ --quicklook
  rsov predict a.tif b.tif -p classes.txt -o out/ --dry-run

Options can be set as RSOV_PREDICT_<NAME> or RSOV_<NAME> too, or under [predict]
in rsov.toml. Switches have a --no- form. Exit codes: 0 done, 2 usage, 3 input,
4 model, 5 output, 6 some inputs failed, 7 memory, 129/130/143 stopped.
"""


def run(inputs: list[str], given: dict[str, Any], config: str | None, use_config: bool) -> None:
    """Translate, call, print."""
    settings = settle(
        "predict", PREDICT, given, config=Path(config) if config else None, use_config=use_config
    )
    import sys

    sys.stderr.write(repr((inputs, settings)))


app = command_from_table(run, PREDICT, name="predict", help=HELP, epilog=EPILOG, inputs="INPUT")
