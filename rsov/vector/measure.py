"""Areas and lengths of polygons on the ground, for any CRS, without projecting a single vertex.

What a pixel step means in metres changes smoothly over a scene. The metric tensor of the pixel grid
(:func:`rsov.geodesy.metric`) is found at the nodes of a coarse table and interpolated; areas and lengths are
integrals over it (:func:`rsov.kernels.rings.measure`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rsov.geodesy import horizontal, metres_per_unit, metric
from rsov.kernels import rings as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsov.types import Grid
    from rsov.vector.trace import Regions

    Floats = NDArray[np.float64]

NODE_SPACING_M = 50_000.0
"""Between nodes; the relative error of interpolation is (spacing / earth radius)**2 / 8, below 1e-5."""
MAX_NODES = 1025
"""Along a side: 50 km over the whole earth."""


@dataclass(frozen=True)
class Ground:
    """The metric of a grid: (rows, columns, 3) of E, F, G in m2 (``unit`` "m") or pixels ("px")."""

    tensor: Floats
    width: int
    height: int
    unit: str

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in the middle of the scene, m2."""
        rows, columns = self.tensor.shape[:2]
        middle = self.tensor[(rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1]
        e, f, g = middle.mean(axis=(0, 1))
        return math.sqrt(max(e * g - f * f, 0.0))

    @cached_property
    def areas(self) -> Floats:
        """The table of :func:`rsov.kernels.area.across`: (rows, columns, 2), in the square of ``unit``."""
        e, f, g = np.moveaxis(self.tensor, -1, 0)
        area = np.sqrt(np.maximum(e * g - f * f, 0.0))
        cells = (area[:, :-1] + area[:, 1:]) / 2 * self.step[0]
        return np.stack([area, np.pad(cells.cumsum(axis=1), ((0, 0), (1, 0)))], axis=-1)

    @property
    def step(self) -> tuple[float, float]:
        """Pixels between nodes, in x and y."""
        rows, columns = self.tensor.shape[:2]
        return self.width / (columns - 1), self.height / (rows - 1)

    def measure(self, regions: Regions) -> tuple[Floats, Floats]:
        """Areas (m2) and lengths of all borders, holes included (m), of polygons in pixel coordinates."""
        return kernel.measure(regions.xy, regions.rings, regions.parts, self.tensor, self.areas, self.step)


def ground(grid: Grid) -> Ground:
    """The metric of ``grid``; in pixels without a CRS."""
    if grid.crs is None:
        return Ground(np.tile([1.0, 0.0, 1.0], (2, 2, 1)), grid.width, grid.height, "px")
    return Ground(np.ascontiguousarray(metric(grid, *_nodes(grid))), grid.width, grid.height, "m")


def _nodes(grid: Grid) -> tuple[Floats, Floats]:
    """Pixel places of the table's nodes, columns and rows; (rows, columns) each."""
    unit, axes = metres_per_unit(horizontal(grid)), []
    for count, size in zip((grid.width, grid.height), grid.pixel_size, strict=True):
        nodes = math.ceil(count * size * unit / NODE_SPACING_M) + 1
        axes.append(np.linspace(0, count, min(MAX_NODES, max(2, nodes))))
    columns, rows = np.meshgrid(*axes)
    return columns, rows
