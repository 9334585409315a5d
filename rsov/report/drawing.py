"""The sheet of a quicklook: pictures, captions, scale bar and legend on white paper."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rsov.report.table import area_unit, format_share, shortened
from rsov.term import plain
from rsov.types import NODATA, NONE_COLOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from rsov.report.summary import ClassArea

MARGIN = 28
GAP = 20
LEAST_WIDTH = 720
"""Room for a title and a legend beside pictures that are narrower."""

PAPER = (255, 255, 255)
INK = (34, 37, 41)
QUIET = (110, 116, 124)
FRAME = (196, 200, 205)
HATCH_COLOUR = (205, 208, 212)
HATCH_STEP = 6

TITLE, TEXT, SMALL = 28, 19, 16
"""Sizes of type, in pixels."""
LINE = 32
SWATCH = (30, 20)
LEGEND_COLUMN = 360
SCALE_ROOM = 180
"""Under pictures narrower than this beside the scale bar there is no place for it and a caption."""
SHOWN_CLASSES = 36
"""Names that still make a legend; the report has all classes."""

OTHER_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf")
"""Tried where they are installed when a name has letters that the bundled font lacks."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Sheet:
    """Draws one sheet.

    Args:
        panels: the input and the map, of one size.
        areas: what the legend shows; foreign names.
        stacked: above each other instead of side by side.
        title: foreign text.
        metres_across: width of a panel on the ground, for the scale bar.
        gsd: ground size (x, y) of a raster pixel in metres.
    """

    def __init__(
        self,
        panels: Sequence[Image.Image],
        areas: Sequence[ClassArea],
        *,
        stacked: bool,
        title: str,
        metres_across: float | None,
        gsd: tuple[float, float] | None,
    ) -> None:
        self._panels = panels
        self._stacked = stacked
        self._title = title
        self._metres_across = metres_across
        self._gsd = gsd
        self._entries, self._left_out = shortened([a for a in areas if a.colour or a.pixels], SHOWN_CLASSES)
        width, height = panels[0].size
        across, down = (1, len(panels)) if stacked else (len(panels), 1)
        self._step = (width + GAP, height + LINE + GAP)
        content = width * across + GAP * (across - 1)
        self._width = max(content, LEAST_WIDTH) + 2 * MARGIN
        self._top = MARGIN + TITLE + 18
        self._legend_top = self._top + self._step[1] * down
        self._columns = max(1, (self._width - 2 * MARGIN) // LEGEND_COLUMN)
        rows = math.ceil((len(self._entries) + bool(self._left_out)) / self._columns)
        self._height = self._legend_top + rows * LINE + MARGIN - (LINE - SWATCH[1])

    def draw(self) -> Image.Image:
        """The sheet as an RGB picture."""
        sheet = Image.new("RGB", (self._width, self._height), PAPER)
        pen = Pen(sheet, [self._title, *(entry.name for entry in self._entries)])
        pen.write((MARGIN, MARGIN - 4), self._title, TITLE, room=self._width - 2 * MARGIN)
        size = f", {length_text(sum(self._gsd) / 2)} per pixel" if self._gsd else ""
        for index, (panel, caption) in enumerate(
            zip(self._panels, (f"input{size}", "land cover"), strict=True)
        ):
            x = MARGIN if self._stacked else MARGIN + index * self._step[0]
            y = self._top + (index * self._step[1] if self._stacked else 0)
            sheet.paste(panel, (x, y))
            right, bottom = x + panel.width, y + panel.height
            pen.draw.rectangle((x - 1, y - 1, right, bottom), outline=FRAME)
            pen.write((x, bottom + 8), caption, SMALL, room=panel.width, colour=QUIET)
            if index == 1 and self._metres_across is not None:
                self._draw_scale(pen, right, bottom + 8, self._metres_across)
        self._draw_legend(sheet, pen)
        return sheet

    def _draw_scale(self, pen: Pen, right: int, y: int, across: float) -> None:
        width = self._panels[0].width
        metres = round_length(across / 4)
        pixels = round(width * metres / across)
        text = length_text(metres)
        label = pen.width(text, SMALL)
        if width - pixels - label < SCALE_ROOM:
            return
        middle = y + SMALL // 2 + 1
        start = right - pixels - label - 10
        for x in (start, start + pixels):
            pen.draw.line((x, middle - 5, x, middle + 5), fill=INK, width=2)
        pen.draw.line((start, middle, start + pixels, middle), fill=INK, width=2)
        pen.write((right - label, y), text, SMALL, room=label + 4)

    def _draw_legend(self, sheet: Image.Image, pen: Pen) -> None:
        column_width = (self._width - 2 * MARGIN) // self._columns
        unit = area_unit(a.area_m2 for a in self._entries if a.area_m2 is not None)
        places = [
            (MARGIN + index % self._columns * column_width, self._legend_top + index // self._columns * LINE)
            for index in range(len(self._entries) + 1)
        ]
        for (x, y), entry in zip(places, self._entries, strict=False):
            self._draw_swatch(sheet, pen, (x, y), entry)
            amounts = [format_share(entry.share)] if entry.share is not None else []
            if entry.area_m2:
                amounts.append(f"{unit.text(entry.area_m2)} {unit.name}")
            amount = " · ".join(amounts)
            width = pen.width(amount, SMALL)
            left = x + SWATCH[0] + 10
            room = x + column_width - left - width - 34
            end = left + pen.write((left, y - 1), entry.name, TEXT, room=room)
            pen.write((end + 12, y + 2), amount, SMALL, room=width + 4, colour=QUIET)
        if self._left_out:
            more = f"and {self._left_out} more in the report"
            pen.write(places[-1], more, SMALL, room=column_width, colour=QUIET)

    def _draw_swatch(self, sheet: Image.Image, pen: Pen, place: tuple[int, int], entry: ClassArea) -> None:
        x, y = place
        box = (x, y, x + SWATCH[0], y + SWATCH[1])
        if entry.id == NODATA:
            sheet.paste(Image.fromarray(hatch((SWATCH[1], SWATCH[0]))), place)
            pen.draw.rectangle(box, outline=FRAME)
        else:
            pen.draw.rectangle(box, fill=entry.colour or NONE_COLOUR, outline=FRAME)


def hatch(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """White paper with thin diagonal lines, (height, width, 3): what stands for no data."""
    rows, columns = np.indices(shape)
    paper = np.full((*shape, 3), PAPER, dtype=np.uint8)
    paper[(rows + columns) % HATCH_STEP == 0] = HATCH_COLOUR
    return paper


def round_length(metres: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above ``metres``."""
    power = 10.0 ** math.floor(math.log10(metres))
    return next(step * power for step in (5, 2, 1) if step * power <= metres)


def length_text(metres: float) -> str:
    """A length as people say it, in three figures at most."""
    if metres >= 1000:
        return f"{metres / 1000:g} km"
    metres = float(f"{metres:.3g}")  # 0.09999 m of a warped grid is 0.1 m
    return f"{metres:g} m" if metres >= 0.1 else f"{metres * 100:.2g} cm"


class Pen:
    """Writes and draws on a picture, in one typeface that has the letters of all ``texts``."""

    def __init__(self, picture: Image.Image, texts: Iterable[str]) -> None:
        self.draw = ImageDraw.Draw(picture)
        self._name = _typeface("".join(sorted({c for text in texts for c in plain(text)})))

    def font(self, size: int) -> Font:
        """The typeface in a size."""
        return _font(self._name, size)

    def width(self, text: str, size: int) -> int:
        """Pixels that a text takes."""
        return math.ceil(self.font(size).getlength(text))

    def write(
        self, place: tuple[int, int], text: str, size: int, *, room: int, colour: tuple[int, int, int] = INK
    ) -> int:
        """Write foreign text, cut to ``room`` pixels with an ellipsis; returns the width used."""
        font = self.font(size)
        text = plain(text)
        square = text.endswith("²") and not _shows(
            font, "²"
        )  # the bundled typeface has none: a small raised 2
        text = text[:-1] if square else text
        if not _shows(font, text):
            text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        if font.getlength(text) > room:
            while text and font.getlength(text + "…") > room:
                text = text[:-1]
            text += "…"
        self.draw.text(place, text, fill=colour, font=font)
        end = self.width(text, size)
        if square:
            small = self.font(round(0.65 * size))
            self.draw.text((place[0] + end, place[1]), "2", fill=colour, font=small)
            end += math.ceil(small.getlength("2"))
        return end


@lru_cache(maxsize=64)
def _typeface(letters: str) -> str:
    """The bundled typeface (no name), or an installed one that has ``letters`` the bundled one lacks."""
    for name in ("", *OTHER_FONTS):
        try:
            if _shows(_font(name, SMALL), letters):
                return name
        except OSError:  # not installed
            continue
    return ""


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> Font:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


def _shows(font: Font, text: str) -> bool:
    """Whether the font has all letters: a missing one looks like a letter that no font has."""
    missing = bytes(font.getmask("\uffff"))
    return all(c.isspace() or bytes(font.getmask(c)) != missing for c in set(text))
