"""The table of areas on the terminal, 80 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from rsov.term import rendered, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rsov.report.summary import ClassArea

WIDTH = 80
BAR_CELLS = 16

_UNITS = ((1e7, 1e6, "km2"), (1e4, 1e4, "ha"), (0.0, 1.0, "m2"))
"""(from which area on, m2 per unit, unit): one unit for the whole table, chosen by its largest area."""

SHOWN_ROWS = 40
"""A terminal screen; the report has all classes."""


def areas_table(areas: Sequence[ClassArea], *, title: str = "") -> Table:
    """Swatch, class, area (or pixels), share and a bar; names are shown escaped.

    Args:
        areas: rows of :func:`rsov.report.summary.class_areas`.
        title: shown above; escaped as well.
    """
    table = Table(
        title=safe(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    known = [a.area_m2 for a in areas if a.area_m2 is not None]
    scale, unit = area_unit(max(known)) if known else (1.0, "pixels")
    table.add_column("")
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=32)
    table.add_column(unit, justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    rows, rest = shortened(areas, SHOWN_ROWS)
    for a in rows:
        amount = f"{a.pixels:,}" if a.area_m2 is None else format_area(a.area_m2, scale)
        style = "#" + bytes(a.colour).hex() if a.colour else "dim"
        bar = Text("━" * round(BAR_CELLS * (a.share or 0.0)), style=style)
        table.add_row(
            Text("██" if a.colour else "░░", style=style), safe(a.name), amount, format_share(a.share), bar
        )
    if rest:
        table.add_row("", Text(f"and {rest} more in the report", style="dim"))
    return table


def areas_text(areas: Sequence[ClassArea], *, title: str = "", width: int = WIDTH) -> str:
    """The same as plain text."""
    return rendered(areas_table(areas, title=title), width)


def area_unit(largest_m2: float) -> tuple[float, str]:
    """Square metres per unit, and the unit, in which areas up to ``largest_m2`` read well."""
    return next((scale, unit) for start, scale, unit in _UNITS if largest_m2 >= start)


def format_area(area_m2: float, scale: float) -> str:
    """An area in units of ``scale`` m2 with three figures, at most two decimals."""
    amount = area_m2 / scale
    if amount < 0.005:
        return "<0.01" if amount else "0"
    decimals = 2 if amount < 10 else 1 if amount < 1000 else 0
    return f"{amount:,.{decimals}f}"


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
