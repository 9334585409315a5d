"""One map: a picture, a legend and options to verified files."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import rsov
from rsov.engine.runtime import import_torch
from rsov.errors import InputError, Interrupted, ResourceError
from rsov.jobs.options import OptionError
from rsov.jobs.predict_plan import plan_facts, plan_lines, seconds_at_most
from rsov.jobs.predict_progress import Step
from rsov.jobs.process import peak_rss, versions
from rsov.term import plain, size_text
from rsov.types import Notices

if TYPE_CHECKING:
    from pathlib import Path

    from rsov.engine.plan import Plan
    from rsov.engine.run import Progress, RunStats
    from rsov.jobs.finish import Finished, Finisher
    from rsov.jobs.options import PredictOptions
    from rsov.jobs.predict_outputs import Outputs
    from rsov.jobs.predict_progress import Watcher
    from rsov.jobs.predict_tools import Tools
    from rsov.jobs.stop import Stop
    from rsov.raster.preflight import Source
    from rsov.raster.publish import Publication
    from rsov.raster.scene import Scene
    from rsov.report.summary import ClassArea, RunReport
    from rsov.types import Notice


@dataclass(frozen=True)
class MapResult:
    """One map: where it lies and what it says; prints as the table of areas.

    After a dry run ``planned`` is the plan in lines, and ``outputs`` what would be written.
    """

    input: Path
    outputs: dict[str, Path]
    areas: tuple[ClassArea, ...]
    warnings: tuple[Notice, ...]
    report: dict[str, Any]
    planned: str = ""

    def __str__(self) -> str:
        from rsov.report.table import areas_text

        if self.planned:
            return self.planned
        return areas_text(self.areas, title=self.input.name)


class MapJob:
    """Makes the map of one input; :meth:`preflight` first, for all inputs of a call."""

    def __init__(
        self,
        path: Path,
        outputs: Outputs,
        options: PredictOptions,
        stop: Stop,
        watcher: Watcher,
    ) -> None:
        self.path = path
        self._outputs = outputs
        self._options = options
        self._stop = stop
        self._watcher = watcher
        self._notices = Notices(watcher.notice, subject=path.name)
        self._source: Source | None = None
        self._started = datetime.now(UTC)
        self._laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def preflight(self) -> None:
        """Is the file there, whole and of a kind that can be read?"""
        from rsov.raster.preflight import check_source

        self._source = check_source(self.path, self._options, self._notices)

    @property
    def members(self) -> tuple[Path, ...]:
        """The files that a virtual raster is made of; known after :meth:`preflight`."""
        return self._source.sources if self._source is not None else ()

    def run(self, tools: Tools) -> MapResult:
        """Read, plan, classify, finish, publish.

        Raises:
            RsovError: whatever went wrong; nothing of this map is on disk then.
        """
        try:
            return self._run(tools)
        except MemoryError as error:
            raise ResourceError(
                "E-memory",
                f"the memory ran out at {self.path.name}",
                why=f"the plan was made for {size_text(tools.budget)}",
                fix=f"--max-memory {tools.budget // 2**21}M plans with half of it",
            ) from error

    def _run(self, tools: Tools) -> MapResult:
        from rsov.jobs.finish import Finisher
        from rsov.kernels.cache import kernels_kept
        from rsov.raster.publish import Publication

        self._tools = tools
        self._since = time.perf_counter()
        self._watcher.stage(self.path, "looking at the picture")
        scene = self._stop.aside(self._open)
        plan = self._plan(scene)
        self._lap("plan")
        self._stop.check()
        if self._options.dry_run:
            return self._planned(scene, plan)
        beside = ""
        if self._tools.head is None and not kernels_kept():
            self._watcher.note("no compiled kernels yet: this first map takes up to a minute longer")
            beside = ", compiling kernels"
        self._watcher.stage(self.path, "loading the model")
        self._stop.aside(import_torch)
        self._tools.load()
        self._lap("model")
        self._stop.check()
        kinds = self._outputs.kinds()
        with (
            Publication(list(kinds.values()), overwrite=self._options.overwrite) as publication,
            self._stop.removing(publication.discard),
        ):
            finisher = Finisher(
                publication=publication,
                scene=scene,
                legend=self._tools.legend,
                outputs=self._outputs,
                options=self._options,
                stop=self._stop,
            )
            self._watcher.stage(self.path, f"first tiles{beside}")
            stats = self._classify(scene, finisher, plan)
            scene.check_unchanged()
            scene.tell_bad_blocks()
            self._lap("tiles")
            self._watcher.stage(self.path, f"writing{beside}")
            finished = finisher.finish(
                self._tags(scene, publication.run), self._tools.threads, self._started, self._notices
            )
            self._lap("finish")
            if finished.valid_pixels == 0:
                self._nothing_valid()
            report = self._report(scene, plan, stats, finished, publication)
            publication.write(self._outputs.report, report.to_json())
            publication.commit()
        return MapResult(self.path, kinds, finished.areas, tuple(self._notices.items), report.to_dict())

    def _open(self) -> Scene:
        from rsov.raster.scene_open import open_scene

        card = self._tools.card
        return open_scene(
            self.path,
            self._options,
            card.gsd,
            card.gsd_range,
            self._notices,
            source=self._source,
            memory=self._tools.budget,
        )

    def _plan(self, scene: Scene) -> Plan:
        from rsov.engine.plan import make_plan
        from rsov.raster.outputs import check_outputs
        from rsov.vector.write import check_format

        o, tools = self._options, self._tools
        plan = make_plan(
            scene.work,
            scene.grid,
            scene.output_grid,
            tools.card,
            len(tools.legend),
            tools.budget,
            tile=o.tile,
            overlap=checked_overlap(o.overlap),
            texts=sum(len(item.texts) for item in tools.legend),
            probs=o.probs,
            readers=tools.readers,
        )
        if o.tile is None and max(scene.work.width, scene.work.height) > plan.tile_limit < tools.card.tile:
            self._notices.warn(
                "W-memory-tile",
                f"{self.path.name}: the memory allowed makes tiles {plan.tile_limit} px instead of"
                f" {tools.card.tile} px; the model sees less around each pixel, and the map is not quite"
                " that of a run with more memory",
            )
        for name in o.vector_format:
            check_format(name, scene.output_grid, filled=scene.all_valid and scene.aoi is None)
        self._check_min_area(scene)
        check_outputs(
            list(self._outputs.kinds().values()),
            [self.path],
            overwrite=o.overwrite,
            needed=self._needed(scene),
            probe=False,
            notices=None,
        )
        if older := [path.name for path in self._outputs.others if path.exists()]:
            self._notices.warn(
                "W-older-outputs",
                f"{self.path.name}: what an earlier run wrote and this one does not stays beside the map: "
                + ", ".join(older),
            )
        return plan

    def _check_min_area(self, scene: Scene) -> None:
        from rsov.jobs.finish import least_pixels

        grid, wanted = scene.output_grid, self._options.min_area
        pixels = least_pixels(wanted, scene.measured_grid)
        if pixels > grid.width * grid.height:
            self._notices.warn(
                "W-min-area",
                f"{self.path.name}: --min-area {wanted:g} ({pixels:,} pixels) is larger than the whole map "
                f"({grid.width * grid.height:,} pixels): no region can be that large",
            )

    def _needed(self, scene: Scene) -> int:
        """Bytes on disk that the run takes at most."""
        from rsov.raster.outputs import space_needed

        o, out = self._options, scene.output_grid
        return space_needed(
            round(_filled(scene) * out.width * out.height),
            confidence=o.confidence or bool(o.vector_format),
            prob_bands=len(self._tools.legend) if o.probs else 0,
            polygons=len(o.vector_format),
            sieved=o.min_area > 0,
        )

    def _classify(self, scene: Scene, finisher: Finisher, plan: Plan) -> RunStats:
        from rsov.engine.run import run

        def progress(done: Progress) -> None:
            self._watcher.step(Step(self.path, done.tiles, done.total, done.pixels, done.seconds))

        segmenter, head = self._tools.load()
        try:
            with finisher.sink() as sink:
                return run(
                    finisher.tapped(scene),
                    segmenter,
                    head,
                    self._tools.legend,
                    plan,
                    sink,
                    confidence=finisher.needs_confidence,
                    probs=self._options.probs,
                    readers=self._tools.readers,
                    on_progress=progress,
                    stop=self._stop.event,
                    notices=self._notices,
                )
        except Interrupted as error:
            raise Interrupted(self._stop.exit_code, f"{error.what}; nothing was written") from error

    def _nothing_valid(self) -> None:
        if self._options.fail_empty:
            raise InputError(
                "E-input-empty", f"{self.path} has no valid pixel", fix="check --nodata, --alpha, --aoi"
            )
        self._notices.warn("W-input-empty", f"{self.path} has no valid pixel: the map is empty")

    def _lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[f"{name}_s"] = round(now - self._since, 3)
        self._since = now

    def _tags(self, scene: Scene, run: str) -> dict[str, str]:
        from rsov.raster.cog import provenance
        from rsov.text.legend import format_prompts

        card = self._tools.card
        return provenance(
            {
                "version": rsov.__version__,
                "run": run,
                "prompts": format_prompts(self._tools.legend),
                "model": card.name,
                "model_version": card.version,
                "model_sha256": card.sha256,
                "input": plain(self.path.name),  # tags are XML in UTF-8, names of files any bytes
            }
        ) | dict(scene.tags)

    def _report(
        self, scene: Scene, plan: Plan, stats: RunStats, finished: Finished, publication: Publication
    ) -> RunReport:
        from rsov.models.backend import computed_in
        from rsov.raster.scene_info import bbox
        from rsov.report.summary import RunReport, output_entries

        seconds = sum(self._laps.values())
        pixels = scene.region.width * scene.region.height
        written = [(kind, path) for kind, path in self._outputs.kinds().items() if kind != "report"]
        return RunReport(
            legend=self._tools.legend,
            areas=finished.areas,
            background=self._tools.background,
            inputs=[{"path": str(self.path), "path_abs": str(self.path.absolute()), **scene.info()}],
            outputs=[
                entry for kind, path in written for entry in output_entries(kind, path, finished.parts[kind])
            ],
            bbox=bbox(scene.output_grid),
            model={**dataclasses.asdict(self._tools.card), **computed_in(self._tools.load()[0])},
            settings={**self._options.as_dict(), "plan": plan_facts(plan)},
            warnings=tuple(self._notices.items),
            metrics={
                "tiles": stats.tiles,
                "tiles_skipped": stats.skipped,
                "work_pixels": stats.pixels,
                "polygons": finished.polygons,
                "peak_rss_bytes": peak_rss(),
            },
            timing={
                **self._laps,
                "forward_s": round(stats.forward_seconds, 3),
                "read_wait_s": round(stats.read_wait_seconds, 3),
                "write_wait_s": round(stats.write_wait_seconds, 3),
                "total_s": round(seconds, 3),
                "mpx_per_s": round(pixels / 1e6 / seconds, 3) if seconds else None,
            },
            versions=versions(),
            run={"id": publication.run, "started": self._started.isoformat(timespec="seconds")},
        )

    def _planned(self, scene: Scene, plan: Plan) -> MapResult:
        """What a dry run tells."""
        from rsov.raster.scene_info import bbox
        from rsov.report.summary import RunReport

        info = scene.info()
        report = RunReport(
            legend=self._tools.legend,
            inputs=[{"path": str(self.path), "path_abs": str(self.path.absolute()), **info}],
            outputs=[
                {"path": str(path), "kind": kind, "exists": path.exists()}
                for kind, path in self._outputs.kinds().items()
            ],
            bbox=bbox(scene.output_grid),
            model=dataclasses.asdict(self._tools.card),
            settings=self._options.as_dict(),
            warnings=tuple(self._notices.items),
            versions=versions(),
        ).to_dict()
        seconds = seconds_at_most(plan, self._tools.card, self._tools.threads, _filled(scene))
        report["plan"] = {**plan_facts(plan), "seconds": round(seconds, 1)}
        lines = plan_lines(
            scene,
            card=self._tools.card,
            plan=plan,
            outputs=self._outputs.kinds(),
            disk=self._needed(scene),
            seconds=seconds,
        )
        return MapResult(self.path, self._outputs.kinds(), (), tuple(self._notices.items), report, lines)


def _filled(scene: Scene) -> float:
    """Share of the pixels to be mapped, at most, that can be valid: as if all of them lay there."""
    source, region = scene.grid.width * scene.grid.height, scene.region
    return min(1.0, scene.filled * source / (region.width * region.height))


def checked_overlap(text: str | None) -> str | None:
    """``--overlap`` as the plan takes it.

    Raises:
        OptionError: neither a count of pixels nor a percentage.
    """
    if text is None:
        return None
    number = text.removesuffix("%").strip()
    if not (number.isascii() and number.isdigit()):
        raise OptionError("overlap", f"must be pixels or percent of a tile, such as 128 or 12%, not {text!r}")
    return text


__all__ = ["MapJob", "MapResult"]
