"""One forward pass that survives a lack of memory: smaller batches, then smaller tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from rsov.engine.blend import inverse_weights, window_weights
from rsov.engine.lattice import even_lattice
from rsov.errors import ModelError, ResourceError
from rsov.kernels.blend import add_tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rsov.models.protocol import Head, Segmenter
    from rsov.types import Notices

MIN_SUBTILE = 128
"""Work pixels below which a tile is not divided any more."""

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]


class Forward:
    """Pixels of equal tiles to scores [C, h, w] of each.

    When torch runs out of memory the batch is halved, then tiles are run in four overlapping quarters that
    are blended like tiles (scores differ near their borders as they do between tiles). What had to be made
    smaller stays so for the rest of the run.

    Raises:
        ModelError: scores that are not finite.
        ResourceError: not even the smallest tile can be run.
    """

    def __init__(self, segmenter: Segmenter, head: Head, batch: int, notices: Notices) -> None:
        self._segmenter = segmenter
        self._head = head
        self._notices = notices
        self.batch = batch
        self._divisions = 0

    def __call__(self, tiles: Sequence[Pixels]) -> list[Scores]:
        """Tiles uint8 [3, H, W] of one shape -> scores float32 [C, H/stride, W/stride]."""
        result: list[Scores] = []
        while len(result) < len(tiles):
            some = tiles[len(result) : len(result) + self.batch]
            try:
                result += self._run(np.stack(some), self._divisions)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self._shrink(some[0].shape, error)
        return result

    def _run(self, pixels: Pixels, divisions: int) -> list[Scores]:
        """Scores of each tile of a batch, the tiles divided into quarters ``divisions`` times."""
        if divisions:
            return [self._divided(tile, divisions) for tile in pixels]
        with torch.inference_mode():
            features = self._segmenter.features(pixels)
            scores = self._segmenter.scores(features, self._head).numpy()
        if not np.isfinite(scores.sum()):  # NaN never wins: every pixel would be none of them
            raise ModelError(
                "E-model-scores",
                f"the model {self._segmenter.card.name} gives scores that are not finite",
                why="numbers too large for half precision, or damaged weights",
                fix="--precision fp32",
            )
        return list(scores)

    def _divided(self, tile: Pixels, divisions: int) -> Scores:
        """One tile from four overlapping quarters, each perhaps divided again."""
        card = self._segmenter.card
        _, height, width = tile.shape
        overlap = min(card.overlap, min(height, width) // 8 // card.stride * card.stride)
        rows, cols = (
            even_lattice(n, _half(n, overlap, card.size_multiple), overlap, card.size_multiple)
            for n in (height, width)
        )
        padded = np.pad(
            tile,
            (
                (0, 0),
                (0, rows.start(rows.count - 1) + rows.tile - height),
                (0, cols.start(cols.count - 1) + cols.tile - width),
            ),
            "reflect",
        )
        cells = self._head.channels, height // card.stride, width // card.stride
        total, weights = np.zeros(cells, np.float32), np.zeros(cells[1:], np.float32)
        wy, wx = (
            window_weights(axis.tile // card.stride, axis.overlap // card.stride) for axis in (rows, cols)
        )
        for r in range(rows.count):
            for c in range(cols.count):
                y, x = rows.start(r), cols.start(c)
                piece = np.ascontiguousarray(padded[np.newaxis, :, y : y + rows.tile, x : x + cols.tile])
                add_tile(
                    total,
                    weights,
                    self._run(piece, divisions - 1)[0],
                    wy,
                    wx,
                    y // card.stride,
                    x // card.stride,
                )
        return total * inverse_weights(weights)

    def _shrink(self, shape: tuple[int, ...], error: Exception) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.batch > 1:
            self.batch //= 2
            self._notices.warn("W-memory-batch", f"out of memory: the batch is now {self.batch}")
            return
        side = min(shape[1:]) >> (self._divisions + 1)
        if side < MIN_SUBTILE:
            raise ResourceError(
                "E-memory-forward",
                f"the model has no memory for a tile of {shape[2]} x {shape[1]} px, nor for its parts",
                why=str(error).splitlines()[0],
                fix="give more memory, or use --device cpu",
            ) from error
        self._divisions += 1
        self._notices.warn("W-memory-tile", f"out of memory: tiles are run in pieces of about {side} px")


def _half(size: int, overlap: int, multiple: int) -> int:
    """Side of the two tiles that divide ``size``."""
    return -(-(size + overlap) // (2 * multiple)) * multiple


def _out_of_memory(error: Exception) -> bool:
    """Torch says it with a class of its own on a GPU and with a plain RuntimeError on a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
