"""The table of areas on the terminal: 80 columns wide, less where there is less room."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from rsov.term import rendered, safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from rsov.report.summary import ClassArea

WIDTH = 80
GAP = 2
BAR_CELLS = 16
LONGEST_NAME = 32
SHORTEST_NAME = 12
"""Cells of the longest name; the bar makes room for the first, the swatch for the second."""

SHOWN_ROWS = 40
"""A terminal screen; the report has all classes."""

_UNITS = ((1e7, 1e6, "km²"), (1e4, 1e4, "ha"), (0.0, 1.0, "m²"))
"""(from which area on, m2 per unit, unit)."""


@dataclass(frozen=True)
class AreaUnit:
    """Unit and decimals that all areas of a table share, so that their points stand below each other.

    ``m2`` is square metres in one unit.
    """

    m2: float
    name: str
    decimals: int

    def text(self, area_m2: float) -> str:
        """An area without its unit; little is told from nothing."""
        amount = area_m2 / self.m2
        least = 10.0**-self.decimals
        if 0 < amount < least / 2:
            return f"<{least:g}"
        return f"{amount:,.{self.decimals}f}" if amount else "0"


def area_unit(areas_m2: Iterable[float]) -> AreaUnit:
    """The unit in which the largest of the areas reads well, in about four figures."""
    largest = max(areas_m2, default=0.0)
    m2, name = next((m2, name) for start, m2, name in _UNITS if largest >= start)
    amount = largest / m2
    return AreaUnit(m2, name, 2 if amount < 100 else 1 if amount < 1000 else 0)


@dataclass(frozen=True)
class AreasTable:
    """Swatch, class, area (or pixels), share and a bar: what of it a console has room and letters for.

    Where it is narrow the bar goes, then the swatch, then names are cut; numbers never are.
    """

    areas: Sequence[ClassArea]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For Rich."""
        rows, rest = shortened(self.areas, SHOWN_ROWS)
        if self.title:
            yield _cut(
                _letters(safe(self.title, "bold"), options.ascii_only),
                options.max_width,
                options.ascii_only,
            )
        table = Table(box=None, pad_edge=False)
        columns = _columns(rows, options.max_width, options.ascii_only)
        for head, right, _ in columns:
            table.add_column(head, justify="right" if right else "left", no_wrap=True)
        for cells in zip(*(cells for _, _, cells in columns), strict=True):
            table.add_row(*cells)
        yield table
        if rest:
            yield Text(f"and {rest} more in the report", style="dim")


def areas_table(areas: Sequence[ClassArea], *, title: str = "") -> AreasTable:
    """The table for a console.

    Args:
        areas: rows of :func:`rsov.report.summary.class_areas`; names are shown escaped.
        title: shown above; escaped as well.
    """
    return AreasTable(areas, title)


def areas_text(areas: Sequence[ClassArea], *, title: str = "", width: int = WIDTH) -> str:
    """The same as plain text."""
    return rendered(areas_table(areas, title=title), width)


def _columns(
    rows: Sequence[ClassArea], width: int, ascii_only: bool
) -> list[tuple[str, bool, Sequence[Text]]]:
    """Head, whether it stands at the right, and cells of every column that there is room for."""
    block, shade, line = ("##", "::", "=") if ascii_only else ("██", "░░", "━")
    known = [a.area_m2 for a in rows if a.area_m2 is not None]
    unit = area_unit(known)
    head = _ascii_unit(unit.name) if ascii_only else unit.name
    amounts = [f"{a.pixels:,}" if a.area_m2 is None else unit.text(a.area_m2) for a in rows]
    numbers = [(head if known else "pixels", amounts), ("share", [format_share(a.share) for a in rows])]
    names = [_letters(safe(a.name), ascii_only) for a in rows]
    bars = [round(BAR_CELLS * (a.share or 0.0)) for a in rows]
    styles = ["#" + bytes(a.colour).hex() if a.colour else "dim" for a in rows]

    room = width - sum(GAP + max(map(len, (head, *cells))) for head, cells in numbers)
    swatch, name_cells, bar = _fitted(room, max(cell_len(name.plain) for name in names), max(bars))
    columns: list[tuple[str, bool, Sequence[Text]]] = []
    if swatch:
        marks = (block if a.colour else shade for a in rows)
        columns.append(("", False, list(map(Text, marks, styles))))
    columns.append(("class", False, [_cut(name, name_cells, ascii_only) for name in names]))
    columns += [(head, True, list(map(Text, cells))) for head, cells in numbers]
    if bar:
        columns.append(("", False, list(map(Text, (line * cells for cells in bars), styles))))
    return columns


def _fitted(room: int, longest_name: int, longest_bar: int) -> tuple[bool, int, bool]:
    """Whether there is a swatch, how many cells a name has, whether there is a bar."""
    wanted = min(longest_name, LONGEST_NAME)
    least = min(wanted, SHORTEST_NAME)
    swatch = room >= 2 + GAP + least
    room -= (2 + GAP) * swatch
    bar = longest_bar > 0 and room >= wanted + GAP + longest_bar
    room -= (GAP + longest_bar) * bar
    return swatch, max(1, min(wanted, room)), bar


def _ascii_unit(name: str) -> str:
    """``m2`` for ``m²``."""
    return unicodedata.normalize("NFKD", name)


def _letters(text: Text, ascii_only: bool) -> Text:
    """A text in letters that can be shown, others as escapes, so that columns stay below each other."""
    if ascii_only:
        text.plain = text.plain.encode("ascii", "backslashreplace").decode()
    return text


def _cut(text: Text, cells: int, ascii_only: bool) -> Text:
    """A text of at most so many cells."""
    if cell_len(text.plain) > cells and ascii_only:
        text.right_crop(len(text) - max(0, cells - 3))
        text.append("..."[:cells])
    text.truncate(cells, overflow="ellipsis")
    return text


def format_share(share: float | None) -> str:
    """Per cent with one decimal; nothing for what has no share."""
    if share is None:
        return ""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}" if share else "0%"


def shortened(areas: Sequence[ClassArea], count: int) -> tuple[list[ClassArea], int]:
    """The ``count`` largest classes in legend order, all other rows, and how many are left out."""
    classes = [a for a in areas if a.colour is not None]
    if len(classes) <= count:
        return list(areas), 0
    largest = {a.id for a in sorted(classes, key=lambda a: -a.pixels)[:count]}
    return [a for a in areas if a.colour is None or a.id in largest], len(classes) - count
