"""Value objects shared by all layers: grids, windows, legends, notices, pixels of maps.

Pixel coordinates are (column, row); a window's ``col``/``row`` is its upper left pixel. Arrays are
(row, column) or (band, row, column). Affine transforms map pixel corners to CRS coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

NODATA = 0
"""Value of the class raster where nothing is known; never a class."""

BLOCK = 512
"""Side of the blocks of every raster that is written, the usual one of COG: a block row of a work file is one
of the result, and work on either is cut there."""

NODATA_NAME = "no data"
NONE_NAME = "none of them"
NONE_COLOUR = (216, 216, 212)
"""Light grey: stays behind the classes, and is none of the automatic colours."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels on some grid; may reach outside of it."""

    col: int
    row: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 0 or self.height < 0:
            raise ValueError(f"negative window size {self.width} x {self.height}")

    @property
    def right(self) -> int:
        """First column after the window."""
        return self.col + self.width

    @property
    def bottom(self) -> int:
        """First row after the window."""
        return self.row + self.height

    def grown(self, margin: int) -> Window:
        """With as many pixels more on every side."""
        return Window(self.col - margin, self.row - margin, self.width + 2 * margin, self.height + 2 * margin)

    def intersect(self, other: Window) -> Window:
        """The common rectangle, of size 0 where there is none."""
        col, row = max(self.col, other.col), max(self.row, other.row)
        return Window(
            col,
            row,
            max(0, min(self.right, other.right) - col),
            max(0, min(self.bottom, other.bottom) - row),
        )


_WHOLE = 1e-6
"""Pixels: a position this near to a whole pixel is meant to be there (rounding of coordinates)."""


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: size, affine (pixel corner -> CRS), CRS (None = unknown)."""

    width: int
    height: int
    transform: Affine
    crs: CRS | None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(0, 0, self.width, self.height)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Lengths of a pixel's two sides in CRS units, right for rotated and mirrored grids."""
        t = self.transform
        return (t.a**2 + t.d**2) ** 0.5, (t.b**2 + t.e**2) ** 0.5

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of the corners in CRS units, whichever way the grid runs."""
        xs, ys = zip(
            *(self.transform @ (c, r) for c in (0, self.width) for r in (0, self.height)), strict=True
        )
        return min(xs), min(ys), max(xs), max(ys)

    def crop(self, window: Window) -> Grid:
        """The grid of a window of this one."""
        from affine import Affine

        shifted = self.transform @ Affine.translation(window.col, window.row)
        return Grid(window.width, window.height, shifted, self.crs)

    def pixels_of(self, other: Grid) -> Affine:
        """Pixel positions of another grid of this CRS to positions on this one; whole offsets are exact."""
        from affine import Affine

        t = ~self.transform @ other.transform
        c, f = (round(v) if abs(v - round(v)) < _WHOLE else v for v in (t.c, t.f))
        a, e = (round(v) if abs(v - round(v)) * max(self.shape) < _WHOLE else v for v in (t.a, t.e))
        return Affine(a, t.b, c, t.d, e, f)


@dataclass(frozen=True, slots=True)
class LegendClass:
    """One class: ``name`` is shown, ``texts`` are encoded, colour is (R, G, B) of 0..255."""

    id: int
    name: str
    texts: tuple[str, ...]
    colour: tuple[int, int, int]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Legend:
    """The classes of a map, ids 1..N in the order given."""

    classes: tuple[LegendClass, ...]

    def __iter__(self) -> Iterator[LegendClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def dtype(self) -> str:
        """``uint8`` up to 254 classes, else ``uint16``."""
        return "uint8" if len(self.classes) <= 254 else "uint16"

    @property
    def none_id(self) -> int:
        """Value of valid pixels that are none of the classes: 255 or 65535."""
        return 255 if self.dtype == "uint8" else 65535


@dataclass(frozen=True, slots=True)
class BackgroundTerm:
    """A name that competes with the prompts; pixels it wins are none of the classes."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Background:
    """The competing names in use, and those left out with the prompt they are too close to."""

    terms: tuple[BackgroundTerm, ...]
    dropped: tuple[tuple[str, str], ...] = ()
    source: str = "default"


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning with a stable id (``W-coarse-gsd``) and a text for people."""

    id: str
    message: str


@dataclass
class Notices:
    """Collects warnings of a run; ``on_notice`` shows them as they come.

    ``subject`` is the name of the picture that they are about: of several it must be clear which.
    """

    on_notice: Callable[[Notice], None] | None = None
    items: list[Notice] = field(default_factory=list)
    subject: str = ""

    def warn(self, id: str, message: str) -> None:
        """Add a warning once, with the subject before it unless it names it itself."""
        notice = Notice(id, message if self.subject in message else f"{self.subject}: {message}")
        if notice not in self.items:
            self.items.append(notice)
            if self.on_notice is not None:
                self.on_notice(notice)


@dataclass(frozen=True)
class MapPixels:
    """Finished pixels of a map; ``window`` is on the output grid.

    ``labels`` is (h, w) of the legend's dtype. ``confidence`` is (h, w) and ``probs`` (K, h, w),
    both uint8 with 0..250 = 0..1 and 255 = no data.
    """

    window: Window
    labels: NDArray[Any]
    confidence: NDArray[np.uint8] | None = None
    probs: NDArray[np.uint8] | None = None
