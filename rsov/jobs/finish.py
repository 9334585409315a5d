"""From the work files of a run to its outputs: sieve, COGs, polygons, areas, quicklook.

The COG copies (in GDAL, without the interpreter's lock), one pass over the labels in row blocks (areas,
polygons, quicklook) and the check of the work files run beside each other.
"""

from __future__ import annotations

import contextlib
import math
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from rsov.errors import OutputError
from rsov.jobs.preview import Preview, TappedScene
from rsov.kernels.area import add_labels
from rsov.raster.area import pixel_area, pixel_gsd
from rsov.raster.cog import SCORE_NODATA, class_spec, kept_points, score_spec, stamp, write_cog
from rsov.raster.faults import writing
from rsov.raster.sieve import sieve
from rsov.raster.style import polygon_qml, raster_qml
from rsov.raster.workfile import WorkRaster, row_blocks
from rsov.report.quicklook import Quicklook
from rsov.report.summary import ClassArea, class_areas
from rsov.types import BLOCK, NODATA
from rsov.vector.measure import ground
from rsov.vector.trace import RowBlock, trace
from rsov.vector.verify import verify_vector
from rsov.vector.write import write_polygons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from rsov.engine.reading import Scene as EngineScene
    from rsov.jobs.options import PredictOptions
    from rsov.jobs.predict_outputs import Outputs
    from rsov.jobs.stop import Stop
    from rsov.raster.publish import Publication
    from rsov.raster.scene import Scene
    from rsov.types import Grid, Legend, MapPixels, Notices

PASS_PIXELS = 32 << 20
"""Labels held at once in the pass over the finished map; very wide maps are read in thinner bands (M02)."""


@dataclass(frozen=True)
class WorkFiles:
    """The sink of a run: labels, and confidence and probabilities where somebody needs them."""

    labels: WorkRaster
    confidence: WorkRaster | None
    probs: WorkRaster | None

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls, scratch: Callable[[str], Path], grid: Grid, legend: Legend, *, confidence: bool, probs: bool
    ) -> Iterator[WorkFiles]:
        """New files; closed at the end, and closed as well where one cannot be made."""
        with contextlib.ExitStack() as stack:

            def scores(name: str, bands: int) -> WorkRaster:
                raster = WorkRaster(scratch(name), grid, "uint8", bands=bands, nodata=SCORE_NODATA)
                return stack.enter_context(raster)

            labels = stack.enter_context(WorkRaster(scratch("labels.tif"), grid, legend.dtype, nodata=NODATA))
            yield cls(
                labels,
                scores("confidence.tif", 1) if confidence else None,
                scores("probs.tif", len(legend)) if probs else None,
            )

    def write(self, pixels: MapPixels) -> None:
        """Keep a finished window."""
        self.labels.write(pixels.window, pixels.labels)
        if self.confidence is not None and pixels.confidence is not None:
            self.confidence.write(pixels.window, pixels.confidence)
        if self.probs is not None and pixels.probs is not None:
            self.probs.write(pixels.window, pixels.probs)

    def check(self, going_on: Callable[[], None], *, labels: bool = True) -> None:
        """See that the closed files hold what was written; that of the ``labels`` may be known already.

        ``going_on`` is called between windows and raises where nobody waits for the result any more.

        Raises:
            OutputError: one does not.
        """
        for raster in (self.labels if labels else None, self.confidence, self.probs):
            if raster is not None:
                raster.check(going_on)


class Tally:
    """Counts labels row block by row block; pixels have the areas that polygons are measured by."""

    def __init__(self, grid: Grid, dtype: str) -> None:
        self._ground = ground(grid)
        self._pixels = np.zeros(int(np.iinfo(dtype).max) + 1, np.int64)
        self._area = np.zeros(self._pixels.size)

    def add(self, row: int, labels: NDArray[Any]) -> None:
        """Rows from ``row`` on."""
        add_labels(labels, row, self._ground.areas, self._ground.step, self._pixels, self._area)

    def areas(self, legend: Legend) -> tuple[ClassArea, ...]:
        """The rows of the report."""
        found = [int(value) for value in np.flatnonzero(self._pixels)]
        area = {value: float(self._area[value]) for value in found} if self._ground.unit == "m" else None
        return class_areas(legend, {value: int(self._pixels[value]) for value in found}, area)


@dataclass(frozen=True)
class Finished:
    """What the outputs hold, and where each kind's bytes lie until they are published."""

    areas: tuple[ClassArea, ...]
    polygons: int
    valid_pixels: int
    parts: dict[str, Path]


def least_pixels(min_area: float, measured: Grid) -> int:
    """Pixels that ``--min-area`` asks for, by the pixel area at the centre, if that is known."""
    return math.ceil(min_area / (pixel_area(measured, measured.window) or 1.0))


class Finisher:
    """Takes a run's pixels and makes its outputs, inside a publication."""

    def __init__(
        self,
        *,
        publication: Publication,
        scene: Scene,
        legend: Legend,
        outputs: Outputs,
        options: PredictOptions,
        stop: Stop,
    ) -> None:
        self._publication = publication
        self._scene = scene
        self._grid = scene.output_grid
        self._measured = scene.measured_grid
        self._legend = legend
        self._outputs = outputs
        self._options = options
        self._stop = stop
        self._work: WorkFiles | None = None
        self.needs_confidence = options.confidence or bool(outputs.vectors)
        self._look: Quicklook | None = None
        self._preview: Preview | None = None
        if outputs.quicklook is not None:
            self._look = Quicklook(self._grid, legend, pixel_gsd(self._measured))
            self._preview = Preview(scene, self._look.picture_size)

    def tapped(self, scene: Scene) -> EngineScene:
        """The scene as the engine is to read it: what is read also makes the quicklook's picture."""
        return scene if self._preview is None else TappedScene(scene, self._preview)

    @contextlib.contextmanager
    def sink(self) -> Iterator[WorkFiles]:
        """Where the run writes; closed at the end."""
        with WorkFiles.opened(
            self._publication.scratch,
            self._grid,
            self._legend,
            confidence=self.needs_confidence,
            probs=self._options.probs,
        ) as work:
            self._work = work
            yield work

    def finish(self, tags: Mapping[str, str], threads: int, started: datetime, notices: Notices) -> Finished:
        """Make, verify and register all outputs but the report; after the run, once."""
        work = self._work
        if work is None:
            raise RuntimeError("finish before sink")
        labels = self._sieved(work.labels.path, notices)
        parts = {
            kind: self._publication.part(path)
            for kind, path in self._outputs.kinds().items()
            if kind != "report"
        }
        place = self._scene.place
        points = (
            kept_points(place.gcps, place.gcps_crs, self._grid)
            if place.gcps and self._grid.crs is None
            else None
        )
        specs = [(labels, parts["classes"], class_spec(self._legend, tags, points))]
        if work.confidence is not None and "confidence" in parts:
            specs.append(
                (work.confidence.path, parts["confidence"], score_spec(["confidence"], tags, points))
            )
        if work.probs is not None and "probs" in parts:
            names = [item.name for item in self._legend]
            specs.append((work.probs.path, parts["probs"], score_spec(names, tags, points)))
        for source, _, spec in specs:
            stamp(source, spec)  # before the copies and the pass below open the files

        ended = Event()

        def going_on() -> None:
            self._stop.check()
            if ended.is_set():
                raise CancelledError

        def copies() -> None:
            for source, target, spec in specs:
                going_on()
                write_cog(source, target, spec, threads=threads, going_on=going_on)

        tally = Tally(self._measured, self._legend.dtype)
        with ThreadPoolExecutor(2, "finish") as executor:
            unsieved = labels == work.labels.path  # else they were read back before the sieve
            copied, checked = executor.submit(copies), executor.submit(work.check, going_on, labels=unsieved)
            try:
                polygons = self._polygons(labels, tally, parts, started, notices)
                copied.result()
            except OutputError:
                checked.result()  # work files that lost something explain what is wrong with the outputs
                raise
            else:
                checked.result()
            finally:
                ended.set()  # after a fault nobody waits for the other copies
        areas = tally.areas(self._legend)
        self._publication.write(self._outputs.style, raster_qml(self._legend).encode("utf-8"))
        if self._look is not None and self._preview is not None and self._outputs.quicklook is not None:
            picture = self._look.render(self._preview.picture, areas, title=self._scene.path.name)
            self._publication.write(self._outputs.quicklook, picture)
        valid = sum(row.pixels for row in areas if row.id != NODATA)
        return Finished(areas, polygons, valid, parts)

    def _sieved(self, labels: Path, notices: Notices) -> Path:
        """The labels after ``--min-area``: what every output is made from."""
        pixels = least_pixels(self._options.min_area, self._measured)
        if pixels <= 1:
            return labels
        if self._work is not None:
            self._work.labels.check(self._stop.check)  # a sieve would take lost pixels for regions
        target = self._publication.scratch("sieved.tif")
        changed = sieve(labels, target, pixels)
        self._stop.check()
        if not changed and pixels <= self._grid.width * self._grid.height and not self._holds(labels, pixels):
            notices.warn(
                "W-min-area",
                f"{self._scene.path.name}: --min-area ({pixels:,} pixels) is larger than every region of the "
                "map, so no region has a neighbour to go to: nothing was merged",
            )
        return target

    def _holds(self, labels: Path, pixels: int) -> bool:
        """Some region has at least that many pixels, or there is none."""
        found = False
        for regions in trace(self._rows(labels, None), self._grid.width, skip=(NODATA,)):
            if (regions.pixels >= pixels).any():
                return True
            found = True
        return not found

    def _rows(self, labels: Path, tally: Tally | None) -> Iterator[RowBlock]:
        """Row blocks for the polygons; areas and quicklook are filled on the way."""
        work, confidence = self._work, None
        height = max(1, min(BLOCK, PASS_PIXELS // self._grid.width))
        if work is not None and work.confidence is not None:
            confidence = row_blocks(work.confidence.path, rows=height)
        for row, block in row_blocks(labels, rows=height):
            self._stop.check()
            if tally is not None:
                tally.add(row, block)
                if self._look is not None:
                    self._look.add(row, block)
            yield RowBlock(block, next(confidence)[1] if confidence is not None else None)

    def _polygons(
        self, labels: Path, tally: Tally, parts: Mapping[str, Path], started: datetime, notices: Notices
    ) -> int:
        """One pass for each vector file; the first also counts areas. Returns the number of polygons."""
        count = 0
        kinds = self._outputs.kinds()
        for number, (kind, fmt) in enumerate(self._outputs.vector_kinds().items()):
            blocks = self._rows(labels, tally if number == 0 else None)
            with writing(kinds[kind]):
                stats = write_polygons(
                    blocks,
                    self._grid,
                    self._legend,
                    parts[kind],
                    fmt,
                    simplify_m=self._options.simplify,
                    style_qml=polygon_qml(self._legend) if fmt == "gpkg" else None,
                    layer=kinds[kind].stem,
                    start_time=started,
                    max_features=self._options.max_features,
                    measured=self._measured,
                    notices=notices,
                )
            verify_vector(
                parts[kind], fmt, stats.count, None if fmt == "geojson" else stats.bounds, stats.layer
            )
            count = stats.count
        if not self._outputs.vectors:
            for _ in self._rows(labels, tally):
                pass
        return count
