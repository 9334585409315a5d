"""What a run will do before it does it: tiles, strips, parts, memory and disk.

Everything is arithmetic on three numbers an axis (scene, tile, overlap), so that a plan of any mosaic takes
no time and any part can be found from its place alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rsov.engine.lattice import AxisMap, Lattice, even_lattice
from rsov.engine.memory import Costs
from rsov.errors import ResourceError, UsageError
from rsov.term import size_text
from rsov.types import BLOCK, Grid, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rsov.models.protocol import ModelCard

MIN_TILE = 256
"""Work pixels: tiles are not made smaller than this to save memory; below, they lack context."""


class Work(Protocol):
    """Size of the work grid, and source pixels per work pixel."""

    @property
    def width(self) -> int:
        """Work pixels."""
        ...

    @property
    def height(self) -> int:
        """Work pixels."""
        ...

    @property
    def scale_x(self) -> float:
        """Source columns per work column."""
        ...

    @property
    def scale_y(self) -> float:
        """Source rows per work row."""
        ...


@dataclass(frozen=True)
class Tile:
    """One tile: its place on the lattices and its window on the work grid (may reach beyond the picture)."""

    row: int
    col: int
    window: Window


@dataclass(frozen=True)
class Part:
    """One part of the result: strip and tile row, output window, and the tiles that give its scores.

    ``cells`` is the window of score cells read when its pixels are decided.
    """

    strip: int
    row: int
    window: Window
    cells: Window
    tile_rows: range
    tile_cols: range


@dataclass(frozen=True)
class Plan:
    """The whole run."""

    cols: Lattice
    rows: Lattice
    """Where tiles lie, on the work grid."""
    x: AxisMap
    y: AxisMap
    """From output columns and rows to score cells."""
    output: tuple[int, int]
    """Width and height of the output grid."""
    strip_width: int
    """Output pixels, a multiple of the written rasters' block unless there is one strip."""
    channels: int
    """Scores of a cell: none of them, then the classes."""
    model_stride: int
    batch: int
    costs: Costs
    budget: int
    tile_limit: int
    """Side that no tile exceeds, in work pixels; below the model's where the budget asks for it."""

    @property
    def strips(self) -> int:
        """Number of column ranges worked one after the other."""
        return -(-self.output[0] // self.strip_width)

    @property
    def tile_rows(self) -> range:
        """Tile rows that touch the cells which the output reads."""
        return self._covering(self.rows, self.y.lower(0), self.y.upper(self.output[1] - 1))

    @property
    def tiles(self) -> int:
        """Tiles that the output needs, empty ones included; those at strip borders counted for each strip."""
        return sum(len(self.strip_tiles(s)) for s in range(self.strips)) * len(self.tile_rows)

    @property
    def memory(self) -> int:
        """Estimated peak in bytes."""
        return self.costs.total(min(self.strip_width, self.output[0]), self.x.scale)

    def strip_span(self, strip: int) -> tuple[int, int]:
        """First output column and width of a strip."""
        first = strip * self.strip_width
        return first, min(self.strip_width, self.output[0] - first)

    def strip_tiles(self, strip: int) -> range:
        """Tile columns that touch the cells a strip reads."""
        return self.tile_cols(*self.strip_span(strip))

    def tile_cols(self, first: int, width: int) -> range:
        """Tile columns that touch the cells read by a range of output columns."""
        return self._covering(self.cols, self.x.lower(first), self.x.upper(first + width - 1))

    def part(self, strip: int, row: int) -> Part:
        """The part of a strip that is final once tile row ``row`` is added; its window may be empty."""
        top, bottom = self._row_start(row), self._row_start(row + 1)
        left, width = self.strip_span(strip)
        if bottom <= top:
            return Part(strip, row, Window(left, top, width, 0), Window(0, 0, 0, 0), range(0), range(0))
        x0, x1 = self.x.lower(left), self.x.upper(left + width - 1)
        y0, y1 = self.y.lower(top), self.y.upper(bottom - 1)
        return Part(
            strip,
            row,
            Window(left, top, width, bottom - top),
            Window(x0, y0, x1 + 1 - x0, y1 + 1 - y0),
            self._covering(self.rows, y0, y1),
            self._covering(self.cols, x0, x1),
        )

    def parts(self) -> Iterator[Part]:
        """All parts with pixels, strip after strip, from top to bottom."""
        for strip in range(self.strips):
            for row in range(self.rows.count):
                part = self.part(strip, row)
                if part.window.height:
                    yield part

    def tile(self, row: int, col: int) -> Tile:
        """A tile by its place."""
        window = Window(self.cols.start(col), self.rows.start(row), self.cols.tile, self.rows.tile)
        return Tile(row, col, window)

    def _covering(self, lattice: Lattice, first_cell: int, last_cell: int) -> range:
        stride = self.model_stride
        return lattice.covering(first_cell * stride, min(last_cell * stride, lattice.size - 1))

    def _row_start(self, row: int) -> int:
        """First output row that needs a cell of a tile row; the picture's ends for the first and last."""
        if row <= 0:
            return 0
        if row >= self.rows.count:
            return self.output[1]
        return self.y.first_needing(self.rows.start(row) // self.model_stride, self.output[1])


def rows_to_add(previous: Part | None, part: Part) -> range:
    """Tile rows that a part needs besides those of the part before it, whose sums are still there."""
    if previous is not None and previous.strip == part.strip and previous.row < part.row:
        last = previous.tile_rows.stop - 1
        if last in part.tile_rows:
            return range(last + 1, part.tile_rows.stop)
    return part.tile_rows


def make_plan(  # noqa: PLR0917 - what a plan is made of, in the order of design.md
    work: Work,
    source: Grid,
    output: Grid,
    card: ModelCard,
    classes: int,
    budget: int,
    *,
    tile: int | None = None,
    overlap: int | str | None = None,
    texts: int | None = None,
    batch: int = 1,
    probs: bool = False,
    readers: int = 1,
) -> Plan:
    """Choose tiles and strips for a scene; ``texts`` of all classes, by default one each.

    Without ``tile`` the card's is halved as often as the budget needs, down to :data:`MIN_TILE`.
    ``overlap`` is in work pixels, or as a text such as ``12%`` a share of the tile chosen.

    Raises:
        ResourceError: even the smallest tile and strip need more than ``budget`` bytes; says how many.
        UsageError: tile or overlap that the model cannot take.
    """
    sizes = [_checked_tile(tile, card)] if tile is not None else _tile_sizes(card)
    needed = 0
    for size in sizes:
        border = _checked_overlap(min(card.overlap, size // 4) if overlap is None else overlap, size, card)
        cols = even_lattice(work.width, size, border, card.size_multiple)
        rows = even_lattice(work.height, size, border, card.size_multiple)
        x, y = axis_maps(work, source, output, card.stride)
        costs = Costs.of(
            card,
            cols.tile,
            rows,
            classes,
            output_height=output.height,
            texts=texts or classes,
            batch=batch,
            probs=probs,
            readers=readers,
        )
        strip_width = _strip_width(output.width, x, costs, budget)
        if strip_width:
            return Plan(
                cols,
                rows,
                x,
                y,
                (output.width, output.height),
                strip_width,
                classes + 1,
                card.stride,
                batch,
                costs,
                budget,
                size,
            )
        needed = costs.total(min(BLOCK, output.width), x.scale)
    raise ResourceError(
        "E-memory-budget",
        f"{classes} {'class' if classes == 1 else 'classes'} with tiles of {sizes[-1]} px:"
        f" {size_text(needed)} of memory needed, {size_text(budget)} allowed",
        why=f"model {card.name}, text encoder and libraries take {size_text(costs.base)} of it",
        fix=f"--max-memory {-(-needed // 2**20)}M",
    )


def axis_maps(work: Work, source: Grid, output: Grid, stride: int) -> tuple[AxisMap, AxisMap]:
    """Output pixel -> score cell for both axes; output and source differ by scale and offset only."""
    t = source.pixels_of(output)
    sx, sy = work.scale_x * stride, work.scale_y * stride
    cells_x, cells_y = -(-work.width // stride), -(-work.height // stride)
    return AxisMap(t.a / sx, t.c / sx, cells_x), AxisMap(t.e / sy, t.f / sy, cells_y)


def _tile_sizes(card: ModelCard) -> list[int]:
    sizes = [card.tile]
    while sizes[-1] // 2 >= MIN_TILE and (sizes[-1] // 2) % card.size_multiple == 0:
        sizes.append(sizes[-1] // 2)
    return sizes


def _checked_tile(tile: int, card: ModelCard) -> int:
    if tile < card.size_multiple or tile % card.size_multiple:
        raise UsageError(
            "E-option-tile",
            f"--tile {tile}: the model {card.name} takes multiples of {card.size_multiple} px",
            fix=f"--tile {max(card.size_multiple, round(tile / card.size_multiple) * card.size_multiple)}",
        )
    return tile


def _checked_overlap(overlap: int | str, tile: int, card: ModelCard) -> int:
    """Between two score cells (interpolation) and a quarter tile (at most two tiles on a pixel per axis)."""
    low, high = 2 * card.stride, tile // 4 // card.stride * card.stride
    count = min(float(str(overlap).removesuffix("%")), 2.0**31)
    pixels = tile * count / 100 if str(overlap).endswith("%") else count
    rounded = round(pixels / card.stride) * card.stride
    if not low <= rounded <= high:
        raise UsageError(
            "E-option-overlap",
            f"--overlap {overlap}: must be from {low} to {high} px for tiles of {tile} px",
            fix=f"--overlap {min(max(rounded, low), high)}",
        )
    return rounded


def _strip_width(width: int, x: AxisMap, costs: Costs, budget: int) -> int:
    """Output columns of a strip that fits the budget: all, or as many whole blocks; 0 if not one fits."""
    if costs.total(width, x.scale) <= budget:
        return width
    low, high = 0, -(-width // BLOCK)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if costs.total(middle * BLOCK, x.scale) <= budget else (low, middle)
    return low * BLOCK
