"""Simplified borders that stay shared, in a stream.

A border is simplified once for both of its sides: corners of the pixel lattice are taken away, and
every ring that passes there loses its vertex. What may go is decided within bands of rows, in which
all borders are known; corners on the rows between bands stay where they are. So the result depends
on the raster and the tolerance only, and memory on the width of the raster. Regions are handed out when
the band in which they close is done.

Kept exactly: which regions are neighbours, their number and their holes. The result is a valid coverage:
no gaps, no overlaps. Areas of regions change a little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rsov.kernels import borders
from rsov.kernels.rings import TAKEN
from rsov.kernels.trace import MARK, Y

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND_ROWS = 512
"""Rows of a band: many times any sensible tolerance, and a few MB of corners on a wide scene."""
MAX_DOUBLED_AREA = (1 << 31) - 1
"""What the kernel's queue can hold: triangles of a thousand million pixels."""


class Bands:
    """Simplifies the vertex store of a trace, band by band.

    Args:
        area: largest triangle to take away, in pixels: the tolerance squared, as GEOS has it.
    """

    def __init__(self, area: float) -> None:
        self.doubled_area = int(min(2 * area, MAX_DOUBLED_AREA))
        self.kept: NDArray[np.int32] = np.empty(0, np.int32)
        self._seam: NDArray[np.int32] = np.empty(0, np.int32)
        self._top = 0

    def close(self, vertices: NDArray[np.int32], made: NDArray[np.int32], row: int) -> None:
        """Mark what goes of the band that ends with corner row ``row`` and has the vertices ``made``."""
        span = (self._top, row)
        self._seam = borders.drop_corners(vertices, made, self._seam, span, self.doubled_area)
        self.kept = made[vertices[made, Y] == row]
        self._top = row

    def forget_closed(self, vertices: NDArray[np.int32]) -> NDArray[np.int32]:
        """Vertices of the seam whose regions are open still; to be called when closed ones are taken out."""
        self.kept = self.kept[(vertices[self.kept, MARK] & TAKEN) == 0]
        return self.kept
