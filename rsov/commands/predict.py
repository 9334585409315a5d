"""`rsov predict`: options -> one call -> what is printed."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsov.commands.messages import document, error_document, print_error, show_error, to_json
from rsov.commands.parser import command_from_table
from rsov.commands.settings import settle
from rsov.commands.table import PREDICT
from rsov.commands.values import names_open_stream
from rsov.errors import RsovError, UsageError
from rsov.term import set_colour

if TYPE_CHECKING:
    from rsov.commands.progress import Screen
    from rsov.commands.settings import Settings
    from rsov.jobs.options import PredictOptions
    from rsov.jobs.predict import PredictResult
    from rsov.jobs.predict_map import MapResult

_MAX_LIST_BYTES = 1 << 24
"""A list of inputs is read whole; a hundred thousand long names are less."""
_NO_TEXT = re.compile(rb"[\x01-\x08\x0e-\x1f\x7f]|\0\0")
"""What no list holds: control characters, and empty names between two NUL."""

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
See also: docs/cli.md, docs/prompts.md, rsov doctor.
"""


def run(inputs: list[str], given: dict[str, Any], config: str | None, use_config: bool) -> int:
    """Translate, call, print."""
    settings = settle(
        "predict", PREDICT, given, config=Path(config) if config else None, use_config=use_config
    )
    as_json, verbose = settings.values.pop("json", False), settings.values.pop("verbose", 0)
    try:
        return _run(inputs, settings, verbose, as_json=as_json)
    except RsovError as error:  # here, not at the edge: `json` and `verbose` may come from the environment
        return show_error(error, "predict", verbosity=verbose, as_json=as_json)


def _run(inputs: list[str], settings: Settings, verbose: int, *, as_json: bool) -> int:
    values = dict(settings.values)
    prompts, out = values.pop("prompts", None), values.pop("output", None)
    quiet = values.pop("quiet", False)
    set_colour(values.pop("color", "auto"))
    style, log = values.pop("progress", "auto"), values.pop("log_file", None)
    if quiet and verbose:
        raise UsageError(
            "E-option-conflict", "--quiet cannot be combined with --verbose", fix="leave one of the two"
        )
    inputs = [name for given in inputs for name in _expanded(given)]
    inputs += _listed(values.pop("inputs_file", None), prompts)
    if prompts is None:
        raise UsageError(
            "E-prompt-empty",
            "no class names given",
            fix=f"rsov predict {inputs[0] if inputs else 'ortho.tif'} --prompts 'forest,road'",
        )
    from rsov.commands.logfile import check_log
    from rsov.commands.progress import Screen
    from rsov.jobs.options import PredictOptions
    from rsov.jobs.predict_outputs import plan_outputs

    with settings.blamed():
        options = PredictOptions(**values)
    if log is not None:
        for name in inputs:  # each alone: whether they fit together is judged by whoever maps them
            check_log(log, plan_outputs([Path(name)], out, options)[0].kinds().values())
    with Screen(style, 0 if quiet else 1 + verbose, log) as screen:
        result, failure = _predict(inputs, prompts, options, screen, out=out, settings=settings)
        return _show(result, failure, screen, as_json=as_json)


def _predict(
    inputs: list[str],
    prompts: str,
    options: PredictOptions,
    screen: Screen,
    *,
    out: str | None,
    settings: Settings,
) -> tuple[PredictResult | None, RsovError | None]:
    """What was made, and what failed."""
    from rsov.commands.signals import stopping
    from rsov.jobs.stop import Stop

    stop = Stop()
    with stopping(stop, screen.say):
        from rsov.jobs.predict import BatchError, BatchStopped, run_predict

        paths = [Path(each) for each in inputs]
        try:
            with settings.blamed():
                return run_predict(paths, prompts, options, out=out, stop=stop, watcher=screen), None
        except (BatchError, BatchStopped) as error:
            return error.result, error
        except RsovError as error:
            return None, error


def _show(result: PredictResult | None, failure: RsovError | None, screen: Screen, *, as_json: bool) -> int:
    """Tables and errors on stderr, the result on stdout; returns the exit code."""
    from rsov import term

    screen.clear()
    maps = result.maps if result is not None else ()
    for each in maps:
        screen.summary(each)
    if failure is not None:
        print_error(failure, screen.level - 1)
    code = int(failure.exit_code) if failure is not None else 0
    if as_json:
        errors = [error_document(failure)] if failure is not None else []
        errors += [error_document(each.error, each.input) for each in (result.failures if result else ())]
        reports = [_with_report(each) for each in maps]
        term.emit(to_json(document("predict", code, errors=errors, items=reports)))
        return code
    for each in maps:
        for line in [each.planned] if each.planned else map(str, each.outputs.values()):
            term.emit(line)
    return code


def _with_report(result: MapResult) -> dict[str, Any]:
    """A map's report, itself among the outputs; a file cannot hold its own checksum."""
    report = dict(result.report)
    if not result.planned:
        path = result.outputs["report"]
        entry: dict[str, Any] = {"path": str(path), "path_abs": str(path.absolute()), "kind": "report"}
        with contextlib.suppress(OSError):  # of a batch, maps that are done may have been moved away already
            entry["bytes"] = path.stat().st_size
        report["outputs"] = [*report["outputs"], entry]
    return report


def _expanded(name: str) -> list[str]:
    """The files of a pattern that the shell left as it is (quoted, or on Windows)."""
    if os.path.lexists(name):
        return [name]
    return sorted(glob(name)) or [name]  # noqa: PTH207 - Path.glob takes no absolute pattern


def _listed(file: str | None, prompts: str | None) -> list[str]:
    """Names of inputs from `--inputs-file`: a line each, `#` comments, or parted by NUL (`find -print0`)."""
    if file is None:
        return []
    if file == "-":
        if prompts is not None and prompts.strip() in {"-", "@-"}:
            raise UsageError(
                "E-stdin-twice",
                "--prompts and --inputs-file both read standard input",
                fix="put one of them into a file",
            )
        if sys.stdin.isatty():
            raise UsageError(
                "E-stdin-terminal",
                "--inputs-file - waits for names of files on standard input",
                fix="find . -name '*.tif' | rsov predict --inputs-file - -p forest,road",
            )
        data = sys.stdin.buffer.read(_MAX_LIST_BYTES + 1)
    else:
        path = Path(file)
        try:
            if path.exists() and not path.is_file() and not names_open_stream(path):  # may never end
                raise UsageError(
                    "E-inputs-file",
                    f"{file} is not a file",
                    where="--inputs-file",
                    fix="find . -name '*.tif' | rsov predict --inputs-file - reads from a pipe",
                )
            with path.open("rb") as opened:
                data = opened.read(_MAX_LIST_BYTES + 1)
        except OSError as error:
            raise _no_list(file, "cannot be read", error.strerror or "") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _no_list(file, "is no list of names", "it is UTF-16; save it as UTF-8")
    if _NO_TEXT.search(data):
        raise _no_list(file, "is no list of names", "it is not a text")
    if len(data) > _MAX_LIST_BYTES:
        raise _no_list(file, "is no list of names", f"it has more than {_MAX_LIST_BYTES:,} bytes")
    data = data.removeprefix(codecs.BOM_UTF8)  # of editors on Windows
    if b"\0" in data:
        names = [os.fsdecode(name) for name in data.split(b"\0")]
    else:
        names = [os.fsdecode(line) for line in data.splitlines() if not line.startswith(b"#")]
    return [name for name in names if name.strip()]


def _no_list(file: str, what: str, why: str) -> UsageError:
    return UsageError(
        "E-inputs-file",
        f"{'standard input' if file == '-' else file} {what}",
        where="--inputs-file",
        why=why,
        fix="give a text file with the name of an input on each line",
    )


app = command_from_table(run, PREDICT, name="predict", help=HELP, epilog=EPILOG, inputs="INPUT")
