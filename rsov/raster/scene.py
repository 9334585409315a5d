"""A picture as the engine sees it: grids, radiometry, and readers that give windows of the work grid."""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rsov.raster.preflight import Fingerprint
from rsov.raster.scene_cache import SharedCache
from rsov.raster.scene_chunks import Chunk, ChunkLattice, Packed, make_chunk, source_validity
from rsov.raster.scene_view import View, changed_error, memory_error
from rsov.types import Grid, Notices, Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from rsov.raster.aoi import AreaOfInterest
    from rsov.raster.radiometry import Radiometry
    from rsov.raster.scene_decode import Decoder
    from rsov.raster.scene_georef import Place
    from rsov.raster.scene_grids import GridMap
    from rsov.raster.workgrid import WorkGrid

__all__ = ["Pixels", "Scene", "SceneReader"]

_METRES = 'LOCAL_CS["metres",UNIT["metre",1]]'
"""A plane tied to no place."""
VALIDITY_BYTES = 32 << 20
"""Validity of source pixels, kept until the writer asks for it (M05)."""
_SOURCE_PIXELS = 16 << 20
"""Source pixels looked at together for the validity of a coarser output grid."""


@dataclass(frozen=True)
class Pixels:
    """A window of the work grid.

    ``data`` uint8 (3, h, w), 0..255 after radiometry; outside the picture it is mirrored, invalid pixels have
    the scene's mean colour. ``valid`` (h, w) is false for both.
    ``any_valid``: some pixel of the source under the window is valid. A work pixel is valid from half of its
    source on, so a sliver of the picture is valid without a valid work pixel.
    """

    data: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    any_valid: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture that passed all checks. Nothing is read but samples; readers are opened per thread.

    ``grid``: source pixels (after warp), at the turn of ``output_grid`` (190 or -170 degrees). ``region``:
    those to be mapped; what lies around it is read as context, so that a part of a map equals the whole one.
    ``output_to_source`` maps pixel positions of ``output_grid`` to ``grid``. ``descriptor`` holds the file
    that was checked, so that a replaced one is told from a changed one.
    """

    path: Path
    view: View
    place: Place
    grid: Grid
    region: Window
    output_grid: Grid
    output_to_source: GridMap
    work: WorkGrid
    decoder: Decoder
    radiometry: Radiometry
    fill: NDArray[np.uint8]
    lattice: ChunkLattice
    aoi: AreaOfInterest | None
    notices: Notices
    facts: dict[str, Any]
    descriptor: int
    chunks: SharedCache[Chunk]
    packed: SharedCache[Packed] = field(
        default_factory=lambda: SharedCache[Packed](VALIDITY_BYTES, lambda item: item.nbytes)
    )

    def __post_init__(self) -> None:
        import weakref

        weakref.finalize(self, os.close, self.descriptor)

    @property
    def gsd(self) -> tuple[float, float] | None:
        """Metres per source pixel in x and y at the centre; None if not known."""
        return self.place.gsd

    @property
    def work_gsd(self) -> tuple[float, float] | None:
        """Metres per work pixel."""
        if self.gsd is None:
            return None
        return self.gsd[0] * self.work.scale_x, self.gsd[1] * self.work.scale_y

    @property
    def measured_grid(self) -> Grid:
        """The output grid as areas and lengths are measured on it: without a CRS, metres by ``--gsd``."""
        out, gsd = self.output_grid, self.gsd
        if gsd is None or out.crs is not None or self.place.gsd_how != "--gsd":
            return out
        from affine import Affine
        from rasterio.crs import CRS

        axis = self.output_to_source
        scale = Affine.scale(gsd[0] * axis.scale_x, gsd[1] * axis.scale_y)
        return Grid(out.width, out.height, scale, CRS.from_wkt(_METRES))

    @property
    def all_valid(self) -> bool:
        """Every pixel of the source grid is valid: there is no mask to read."""
        return self.decoder.raw.all_valid

    @property
    def filled(self) -> float:
        """Share of the source pixels, at most, that can be valid: blocks that the file leaves out are not."""
        sparse = self.decoder.raw.sparse
        return 1.0 if sparse is None else float(1 - sparse.mean())

    @property
    def tags(self) -> dict[str, str]:
        """For the metadata of outputs: the radiometry, which ``--stats`` can take from there."""
        return self.radiometry.tags()

    def open_reader(self) -> SceneReader:
        """A reader for one thread; open and use it there."""
        return SceneReader(self)

    def empty(self, window: Window) -> bool | None:
        """Whether a window of the work grid has certainly nothing to map; None if only reading tells."""
        inside = window.intersect(Window(0, 0, self.work.width, self.work.height))
        if inside.width == 0 or inside.height == 0:
            return True
        source = self.under(inside)
        mapped = source.intersect(self.region)
        if mapped.width == 0 or mapped.height == 0:
            return True
        if self.aoi is not None and self.aoi.outside(source):
            return True
        if self.decoder.raw.absent(source):
            return True
        return False if self.all_valid else None

    def under(self, window: Window) -> Window:
        """Source pixels that a window inside the work grid is computed from."""
        return self.work.support(window, self.grid.width, self.grid.height)

    def check_unchanged(self) -> None:
        """Compare the input with what was checked at the start (R18-R20).

        Raises:
            InputError: the file that was read has another size or time of change. A file put in its place
                while the old one was read to its end is only a notice.
        """
        source = self.view.source
        held = Fingerprint.of(os.fstat(self.descriptor))
        if held != source.fingerprint:
            raise changed_error(source, "its size or time of change differs from the start")
        try:
            now = Fingerprint.of(source.path.stat())
        except OSError:
            self.notices.warn(
                "W-input-removed",
                f"{self.path.name} was removed while it was read; the map shows it as it was",
            )
            return
        if now.inode != held.inode:
            self.notices.warn(
                "W-input-replaced",
                f"{self.path.name} was replaced while it was read; the map shows the old one",
            )

    def tell_bad_blocks(self) -> None:
        """Warn of blocks that could not be decoded and count as no data; after reading (R06)."""
        count = len(self.decoder.raw.bad.places)
        if count:
            self.notices.warn(
                "W-bad-blocks",
                f"{self.path.name}: {count} damaged block{'s are' if count > 1 else ' is'} no data",
            )

    def info(self) -> dict[str, Any]:
        """What a report says about the input; JSON types only."""
        from rsov.raster.scene_info import describe

        return describe(self)


class SceneReader:
    """Reads windows in one thread; a handle on the file is opened when pixels are needed first."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stack = ExitStack()
        self._handle: DatasetReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle = None
        self._stack.close()

    def read(self, window: Window) -> Pixels:
        """Pixels of a window of the work grid, which may reach beyond it (then mirrored, invalid).

        Raises:
            InputError: a block that cannot be decoded, or the file changed.
            ResourceError: memory ran out.
        """
        try:
            return self._read(window)
        except MemoryError as error:
            raise memory_error(self._scene.view.source, error) from error

    def _read(self, window: Window) -> Pixels:
        work = self._scene.work
        columns, rows = (
            _mirrored(window.col, window.width, work.width),
            _mirrored(window.row, window.height, work.height),
        )
        inner = Window(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
        data, valid = self._assemble(inner)
        if inner != window:
            data = data[:, rows - inner.row][:, :, columns - inner.col]
            outside = np.arange(window.col, window.right), np.arange(window.row, window.bottom)
            inside_x = (outside[0] >= 0) & (outside[0] < work.width)
            inside_y = (outside[1] >= 0) & (outside[1] < work.height)
            valid = valid[rows - inner.row][:, columns - inner.col] & inside_y[:, None] & inside_x
        return Pixels(data, valid, bool(valid.any()) or self._any_under(inner))

    def _any_under(self, window: Window) -> bool:
        """Some source pixel is valid; chunk by chunk, for a tile may lie over more than fits the memory."""
        return any(np.any(valid) for _, valid in self._packed(self._scene.under(window)))

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Validity (h, w) of a window of the output grid: that of the source pixel under each centre."""
        scene = self._scene
        axis, region = scene.output_to_source, scene.region
        if axis.shift is not None:
            col, row = window.col + axis.shift[0], window.row + axis.shift[1]
            return self._source_valid(Window(col, row, window.width, window.height))
        columns = np.floor((np.arange(window.col, window.right) + 0.5) * axis.scale_x + axis.offset_x).astype(
            np.int64
        )
        rows = np.floor((np.arange(window.row, window.bottom) + 0.5) * axis.scale_y + axis.offset_y).astype(
            np.int64
        )
        inside_x, inside_y = (
            (columns >= region.col) & (columns < region.right),
            (rows >= region.row) & (rows < region.bottom),
        )
        out = np.zeros((window.height, window.width), bool)
        if scene.all_valid and scene.aoi is None:
            out[np.ix_(inside_y, inside_x)] = True
            return out
        used = columns[inside_x]
        if used.size == 0:
            return out
        left, width = int(used.min()), int(np.ptp(used)) + 1
        step = max(1, int(_SOURCE_PIXELS / width / max(1.0, abs(axis.scale_y))))
        for start in range(0, window.height, step):
            some = rows[start : start + step]
            keep = inside_y[start : start + step]
            if not keep.any():
                continue
            top, height = int(some[keep].min()), int(np.ptp(some[keep])) + 1
            source = self._source_valid(Window(left, top, width, height))
            part = np.zeros((len(some), window.width), bool)
            part[np.ix_(keep, inside_x)] = source[np.ix_(some[keep] - top, used - left)]
            out[start : start + step] = part
        return out

    def _dataset(self) -> DatasetReader:
        if self._handle is None:
            self._handle = self._stack.enter_context(self._scene.view.open())
        return self._handle

    def _assemble(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A window inside the work grid from its chunks."""
        data = np.empty((3, window.height, window.width), np.uint8)
        valid = np.ones((window.height, window.width), bool)
        for key, place in self._scene.lattice.over(window):
            chunk = self._scene.chunks.get(key, functools.partial(self._make, key, place))
            part = place.intersect(window)
            to_rows = slice(part.row - window.row, part.bottom - window.row)
            to_columns = slice(part.col - window.col, part.right - window.col)
            rows = slice(part.row - place.row, part.bottom - place.row)
            columns = slice(part.col - place.col, part.right - place.col)
            if chunk.data is None:
                data[:, to_rows, to_columns] = self._scene.fill[:, None, None]
            else:
                data[:, to_rows, to_columns] = chunk.data[:, rows, columns]
            if chunk.valid is not None:
                valid[to_rows, to_columns] = chunk.valid[rows, columns]
        return data, valid

    def _make(self, key: tuple[int, int], place: Window) -> Chunk:
        chunk, packed = make_chunk(self._scene, self._dataset, place)
        if packed is not None:
            self._scene.packed.put(key, packed)
        return chunk

    def _source_valid(self, window: Window) -> NDArray[np.bool_]:
        """Validity of a window of the source grid; what is not to be mapped is invalid."""
        scene = self._scene
        inside = window.intersect(scene.region)
        out = np.zeros((window.height, window.width), bool)
        rows = slice(inside.row - window.row, inside.bottom - window.row)
        columns = slice(inside.col - window.col, inside.right - window.col)
        if scene.all_valid:
            out[rows, columns] = True
        else:
            for part, valid in self._packed(inside):
                out[
                    part.row - window.row : part.bottom - window.row,
                    part.col - window.col : part.right - window.col,
                ] = valid
        area = scene.aoi.mask(inside) if scene.aoi is not None else None
        if area is not None:
            out[rows, columns] &= area
        return out

    def _packed(self, window: Window) -> Iterator[tuple[Window, NDArray[np.bool_] | bool]]:
        """The parts of a window of the source grid that lie in one chunk each, and their validity."""
        for key, place in self._scene.lattice.over_source(window):
            packed = self._scene.packed.get(key, functools.partial(self._pack, place))
            part = place.intersect(window)
            if part.width and part.height:
                yield (
                    part,
                    packed.cut(
                        part.row - place.row,
                        part.bottom - place.row,
                        part.col - place.col,
                        part.right - place.col,
                    ),
                )

    def _pack(self, owned: Window) -> Packed:
        return Packed.of(source_validity(self._scene, self._dataset, owned), owned)


def _mirrored(start: int, count: int, size: int) -> NDArray[np.int64]:
    """Indexes of ``count`` pixels from ``start``, folded into ``0..size - 1`` by symmetric reflection."""
    positions = np.arange(start, start + count) % (2 * size)
    return np.where(positions < size, positions, 2 * size - 1 - positions)
