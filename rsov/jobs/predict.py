"""The main job: pictures and words in, maps out; what ``rsov.predict`` and the command line call.

Everything cheap is checked for all inputs first (words, outputs, files); a model is loaded after that.
"""

from __future__ import annotations

import os
import shlex
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rsov.engine.runtime import check_fork, preload
from rsov.errors import ExitCode, InputError, Interrupted, PartialError, RsovError, UsageError
from rsov.jobs.options import PredictKeywords, PredictOptions
from rsov.jobs.predict_map import MapJob, MapResult
from rsov.jobs.predict_outputs import Outputs, plan_outputs
from rsov.jobs.predict_progress import Silent, Watcher
from rsov.jobs.predict_tools import Tools
from rsov.jobs.stop import Stop
from rsov.text.legend import make_legend
from rsov.types import Legend, Notices

if TYPE_CHECKING:
    from rsov.models.protocol import Segmenter

PathLike = str | os.PathLike[str]
Prompts = str | Path | Legend | Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Failure:
    """An input that has no map, and why."""

    input: Path
    error: RsovError


@dataclass(frozen=True)
class PredictResult:
    """What a call made; prints as the table of areas of each map."""

    maps: tuple[MapResult, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files written, in the order of the inputs."""
        return tuple(path for result in self.maps for path in result.outputs.values())

    @property
    def map(self) -> MapResult:
        """The only map.

        Raises:
            ValueError: there are none or several.
        """
        (result,) = self.maps
        return result

    def __str__(self) -> str:
        return "\n\n".join(str(result) for result in self.maps)


class BatchError(PartialError):
    """Some inputs of a call failed; ``result`` holds the maps of the others."""

    def __init__(self, result: PredictResult, codes: set[ExitCode]) -> None:
        failed = ", ".join(str(failure.input) for failure in result.failures)
        done, total = len(result.maps), len(result.maps) + len(result.failures)
        super().__init__(
            "E-batch", f"{total - done} of {total} inputs failed", where=failed, fix="see their errors above"
        )
        self.result = result
        self.exit_code = next(iter(codes)) if len(codes) == 1 and not result.maps else ExitCode.PARTIAL


class BatchStopped(Interrupted):
    """A signal stopped a call with several inputs; ``result`` holds the maps that are done."""

    def __init__(self, result: PredictResult, exit_code: ExitCode) -> None:
        done = len(result.maps)
        super().__init__(exit_code, f"stopped; {done} map{'s are' if done > 1 else ' is'} written, no other")
        self.result = result


def predict(
    inputs: PathLike | Sequence[PathLike],
    prompts: Prompts,
    *,
    out: PathLike | None = None,
    model: str | Segmenter = "bundled",
    stop: Stop | None = None,
    watcher: Watcher | None = None,
    **options: Unpack[PredictKeywords],
) -> PredictResult:
    """Make a land-cover map of each input.

    Args:
        inputs: one picture or several.
        prompts: ``"forest,water=lake|river"``, a legend file, a list of names, or shown name -> texts.
        out: a folder, or NAME.tif for one input; the current folder by default.
        model: a name, a folder, or a loaded model.
        stop: asks the job to stop between tiles.
        watcher: told of progress and warnings.
        options: see :class:`rsov.jobs.options.PredictOptions`; the names are those of the command line.

    Raises:
        RsovError: with one input whatever went wrong; nothing of its map is on disk then.
        BatchError: with several, when some failed and the others are done.
        BatchStopped: with several, when a stop came after the first map.
    """
    named = model if isinstance(model, str) else model.card.name
    return run_predict(
        [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs,
        prompts,
        PredictOptions(model=named, **options),
        out=out,
        segmenter=None if isinstance(model, str) else model,
        stop=stop,
        watcher=watcher,
    )


def run_predict(
    inputs: Sequence[PathLike],
    prompts: Prompts,
    options: PredictOptions,
    *,
    out: PathLike | None = None,
    segmenter: Segmenter | None = None,
    stop: Stop | None = None,
    watcher: Watcher | None = None,
) -> PredictResult:
    """:func:`predict` with its options as one object."""
    check_fork()
    stop, watcher = stop or Stop(), watcher or Silent()
    legend = make_legend(prompts)
    notices = Notices(watcher.notice)
    paths = _distinct([Path(each) for each in inputs], notices)
    outputs = plan_outputs(paths, out, options)
    _check_all(paths, outputs, options, prompts, notices)
    if not options.dry_run:
        _clear(outputs, watcher, notices)
    jobs = [MapJob(path, names, options, stop, watcher) for path, names in zip(paths, outputs, strict=True)]
    maps: list[MapResult] = []
    failures: list[Failure] = []
    ready = _ready(jobs, options, stop, watcher, failures)
    _check_outputs(outputs, [member for job in ready for member in job.members], options)
    tools = Tools.prepare(legend, options, segmenter, notices)
    if not options.dry_run:
        preload()
    for job in ready:
        try:
            maps.append(job.run(tools))
        except Interrupted as error:
            if not maps:
                raise
            raise BatchStopped(PredictResult(tuple(maps), tuple(failures)), error.exit_code) from error
        except RsovError as error:
            if len(jobs) == 1 or (options.fail_fast and not maps):
                raise
            failures.append(_failed(job, error, watcher))
            if options.fail_fast:
                break
    result = PredictResult(tuple(maps), tuple(failures))
    if failures:
        raise BatchError(result, {failure.error.code for failure in failures})
    return result


def _ready(
    jobs: Sequence[MapJob], options: PredictOptions, stop: Stop, watcher: Watcher, failures: list[Failure]
) -> list[MapJob]:
    """The jobs whose inputs can be read; ``failures`` gets the others."""
    ready = []
    for job in jobs:
        try:
            stop.aside(job.preflight)
        except Interrupted:
            raise
        except RsovError as error:
            if len(jobs) == 1 or options.fail_fast:
                raise
            failures.append(_failed(job, error, watcher))
        else:
            ready.append(job)
    return ready


def _failed(job: MapJob, error: RsovError, watcher: Watcher) -> Failure:
    watcher.failed(job.path, error)
    link: BaseException | None = error
    while link is not None:  # or each failure would keep a picture's handle and caches until the batch ends
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    return Failure(job.path, error)


def _distinct(paths: Sequence[Path], notices: Notices) -> list[Path]:
    """The inputs without those that are one file under two names."""
    if not paths:
        raise UsageError(
            "E-input-none", "no input given", fix="rsov predict ortho.tif --prompts 'forest,road'"
        )
    seen: dict[Any, Path] = {}
    for path in paths:
        try:
            found = path.stat()
            key: Any = (found.st_dev, found.st_ino)
        except OSError:
            key = path
        except ValueError:
            raise InputError(
                "E-input-missing", "a name with a zero byte is no name of a file", where=repr(str(path))
            ) from None
        if key in seen:
            notices.warn("W-input-twice", f"{path} is {seen[key]}, given once already")
        else:
            seen[key] = path
    return list(seen.values())


def _check_all(
    paths: Sequence[Path],
    outputs: Sequence[Outputs],
    options: PredictOptions,
    prompts: Prompts,
    notices: Notices,
) -> None:
    """All outputs of the call at once: collisions, existing files, inputs that would be overwritten."""
    read = [*paths, *(path for path in (options.aoi, options.like, options.stats) if path is not None)]
    words = [text for text in (prompts, options.background) if isinstance(text, (str, Path))]
    read += [Path(os.fspath(text).removeprefix("@")) for text in words]
    _check_outputs(outputs, read, options, probe=not options.dry_run, notices=notices)


def _check_outputs(
    outputs: Sequence[Outputs],
    read: Sequence[Path],
    options: PredictOptions,
    *,
    probe: bool = False,
    notices: Notices | None = None,
) -> None:
    from rsov.raster.outputs import check_outputs

    names = [path for each in outputs for path in each.kinds().values()]
    check_outputs(names, read, overwrite=options.overwrite, probe=probe, notices=notices)


def _clear(outputs: Sequence[Outputs], watcher: Watcher, notices: Notices) -> None:
    """Give back the room that killed runs on the same outputs still take."""
    from rsov.raster.leftovers import OLD, clear_leftovers

    gone, unsure = clear_leftovers(names.classes for names in outputs)
    for folder in gone:
        watcher.note(f"removed {folder}, left by a run that was killed")
    for folder in unsure:
        old = f", earlier outputs in {OLD}/" if (folder / OLD).exists() else " or works on another machine"
        notices.warn(
            "W-leftover",
            f"{folder} is of a run that was killed{old}; to remove it: rm -r -- {shlex.quote(str(folder))}",
        )


__all__ = ["BatchError", "BatchStopped", "Failure", "PredictResult", "predict", "run_predict"]
