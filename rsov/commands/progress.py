"""Progress on stderr: a bar on a terminal, a line every tenth elsewhere; warnings and errors between them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Self

from rsov import term
from rsov.commands.logfile import add_line, open_log
from rsov.commands.messages import error_document

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rsov.errors import RsovError
    from rsov.jobs.predict_map import MapResult
    from rsov.jobs.predict_progress import Step
    from rsov.types import Notice

BAR_LABEL = 12
"""Cells that a name has beside the bar at least; a third of the terminal where that is more."""

LEAST_RATE = 0.01
"""Below, the start of the run is all that a figure of throughput would show."""

PLAIN_SHARE = 0.1
PLAIN_SECONDS = 30.0
"""A plain line comes every tenth of the work or half a minute, whichever is later."""


class Screen:
    """The watcher of the command line.

    Args:
        style: ``auto`` (a bar on a terminal, else lines), ``bar``, ``plain`` or ``none``.
        level: 0 errors only, 1 warnings and progress, 2 and more stages too.
        log: a file that takes everything, one JSON object a line.
    """

    def __init__(self, style: str, level: int, log: Path | None = None) -> None:
        console = term.stderr()
        if style == "auto":
            style = "bar" if console.is_terminal and console.width > term.MIN_WIDTH else "plain"
        self._style = style if level > 0 else "none"
        self.level = level
        self._log = None if log is None else open_log(log)
        self._bar: Any = None
        self._task: Any = None
        self._said = (0.0, time.monotonic())
        self._library = _Library(self)
        if self._log is not None:
            logging.getLogger().addHandler(self._library)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        logging.getLogger().removeHandler(self._library)
        if self._log is not None:
            self._log.close()

    def say(self, message: str) -> None:
        """A line, whatever the level."""
        self.record("note", message=message)
        term.say(message)

    def note(self, message: str) -> None:
        """A line that explains a wait; not with ``--quiet``."""
        self.record("note", message=message)
        if self.level > 0:
            term.say(f"rsov: {message}")

    def notice(self, notice: Notice) -> None:
        """A warning."""
        self.record("warning", id=notice.id, message=notice.message)
        if self.level > 0:
            term.say(term.format_notice(notice))

    def failed(self, path: Path, error: RsovError) -> None:
        """An error of one of several inputs."""
        self.clear()
        self.record("error", **error_document(error, path))
        term.say(term.format_error(error))

    def summary(self, result: MapResult) -> None:
        """The table of areas and a line about the run."""
        self.clear()
        if self.level == 0 or result.planned:
            return
        from rsov.report.table import areas_table

        term.say(areas_table(result.areas, title=result.input.name))
        timing, metrics = result.report["timing"], result.report["metrics"]
        peak, rate = metrics["peak_rss_bytes"], timing["mpx_per_s"]
        facts = [f"{rate:.2f} Mpx/s"] if rate >= LEAST_RATE else []
        facts += [f"peak {term.size_text(peak)}"] if peak else []
        made = counted(metrics["tiles"], "tile")
        if result.report["settings"]["vector_format"]:
            made += f", {counted(metrics['polygons'], 'polygon')}"
        beside = f" ({', '.join(facts)})" if facts else ""
        term.say(f"{made} in {term.duration_text(timing['total_s'])}{beside}")

    def stage(self, path: Path, name: str) -> None:
        """What is being done now."""
        self.record("stage", input=str(path), stage=name)
        self.clear()
        if self._style == "bar":
            self._show(f"{path.name}: {name}", None)
        elif self.level > 1:
            term.say(f"rsov: {path.name}: {name}")

    def step(self, step: Step) -> None:
        """Tiles done, throughput, time left."""
        self.record("progress", input=str(step.path), tiles=step.tiles, total=step.total, pixels=step.pixels)
        if self._style == "bar" and step.tiles == step.total:  # a full bar that stays looks stuck
            self._show(f"{step.path.name}: finishing the last pixels", None)
        elif self._style == "bar":
            if self._bar is None or self._task is None or self._bar.tasks[0].total != step.total:
                self._show(step.path.name, step.total)
            self._bar.update(self._task, completed=step.tiles, rate=_rate(step))
        elif self._style == "plain":
            self._plain(step)

    def clear(self) -> None:
        """Take the bar away, so that a message can follow."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        self._said = (0.0, time.monotonic())

    def _show(self, label: str, total: int | None) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self.clear()
        console = term.stderr()
        name = term.safe(label)
        columns: list[ProgressColumn] = [TextColumn("{task.fields[label]}", markup=False)]
        if total is None:
            columns.insert(0, SpinnerColumn("line" if console.options.ascii_only else "dots"))
        else:
            name.truncate(max(BAR_LABEL, console.width // 3), overflow="ellipsis")
            columns += [
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[rate]}"),
                TextColumn("eta"),
                TimeRemainingColumn(compact=True),
            ]
        self._bar = Progress(*columns, console=console, transient=True, expand=total is not None)
        self._task = self._bar.add_task("", total=total, label=name, rate="")
        self._bar.start()

    def _plain(self, step: Step) -> None:
        share, now = step.tiles / max(1, step.total), time.monotonic()
        if (
            share - self._said[0] >= PLAIN_SHARE
            and now - self._said[1] >= PLAIN_SECONDS
            and step.tiles < step.total
        ):
            self._said = (share, now)
            done = f"{share:.0%} {step.tiles}/{step.total} tiles {_rate(step)}"
            left = term.duration_text(step.seconds * (1 - share) / share)
            term.say(f"rsov: {step.path.name} {done} eta {left}")

    def record(self, kind: str, **values: Any) -> None:
        """A line of the log file."""
        if self._log is not None:
            add_line(self._log, kind, values)


def counted(count: int, thing: str) -> str:
    """``1 tile``, ``4,032 tiles``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _rate(step: Step) -> str:
    return f"{step.pixels / step.seconds / 1e6:.1f} Mpx/s" if step.seconds > 0 and step.pixels else ""


class _Library(logging.Handler):
    """What libraries log (GDAL's own messages among it) goes to the log file."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self._screen.record("library", logger=record.name, message=record.getMessage())
