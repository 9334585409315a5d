"""Estimated memory of a run, item by item; constants were measured (benchmarks/mosaic.py prints the peak)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsov.types import BLOCK

if TYPE_CHECKING:
    from rsov.engine.lattice import Lattice
    from rsov.models.protocol import ModelCard

BASE = 420 * 2**20
"""Python, torch, numba, GDAL, text encoder: resident before the first tile."""
READING = (96 + 160 + 32) * 2**20
"""GDAL's block cache, decoded pixels, validity: the limits of rsov.raster (robustness M05)."""
BAND_BYTES = 32 * 2**20
"""Rows of a part are decided in bands of about this size."""
IN_FLIGHT = 2
"""Finished score rows that wait for the writer, the one being written included."""
PIXEL_BYTES = 4
"""A work pixel that was read: three bands and its validity."""


def queue_depth(readers: int) -> int:
    """Tiles read ahead of the network."""
    return readers + 1


@dataclass(frozen=True)
class Costs:
    """Bytes: what is always there, and what each column of a strip adds."""

    base: int
    per_cell_column: int
    per_output_column: int

    @classmethod
    def of(
        cls,
        card: ModelCard,
        tile_width: int,
        rows: Lattice,
        classes: int,
        *,
        output_height: int,
        texts: int,
        batch: int,
        probs: bool,
        readers: int,
    ) -> Costs:
        """Costs of one tile size; ``classes`` without none, ``texts`` of all classes.

        Rasters that are written hold their rows back until a row of blocks is full, of ``output_height`` rows
        at most, and join them: twice these rows are ``per_output_column``.
        """
        channels = classes + 1
        tile = tile_width * rows.tile
        forward = batch * tile * card.tile_bytes
        scores = batch * tile // card.stride**2 * (3 * channels + texts - classes) * 4
        queued = (queue_depth(readers) + batch + 1) * tile * PIXEL_BYTES
        label = 1 if classes <= 254 else 2
        held = label + 1 + (classes if probs else 0)
        sums = (rows.tile // card.stride + 2) * (channels + 1) * 4
        finished = IN_FLIGHT * (rows.step // card.stride + 2) * channels * 4
        return cls(
            base=BASE + READING + card.weights_bytes * 3 + forward + scores + queued + BAND_BYTES,
            per_cell_column=sums + finished,
            per_output_column=2 * min(BLOCK, output_height) * held,
        )

    def total(self, columns: int, cells_per_column: float) -> int:
        """Bytes for a strip of so many output columns, each ``cells_per_column`` score cells wide."""
        return self.base + int(columns * (self.per_output_column + cells_per_column * self.per_cell_column))
