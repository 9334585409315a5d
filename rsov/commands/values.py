"""Texts of options -> values. One rule for the command line, the environment and config files (P22, P23).

Every converter takes the option's name and one text, and raises :class:`OptionError` with the reason.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rsov.jobs.options import CHOICES, OptionError
from rsov.types import Window

Convert = Callable[[str, str], Any]

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)
_COMMA_DECIMAL = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_SQUARE_METRES = re.compile(r"(?<=[\d.]) ?m[2²]\Z")
_WITH_UNIT = re.compile(r"[\d.]+ *[^\W\d_]+\d?")


def names_open_stream(path: Path) -> bool:
    """Whether a path stands for what the caller opened (`<(...)` of a shell, `/dev/stderr`) or for null."""
    return str(path).startswith(("/dev/fd/", "/dev/std", "/dev/null", "/proc/self/fd/"))


def number(option: str, text: str) -> float:
    """A finite decimal of ASCII digits; the locale plays no part."""
    if _DECIMAL.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    fix = ""
    if _COMMA_DECIMAL.fullmatch(text):
        fix = f"use a point: {text.replace(',', '.')}"
    elif _WITH_UNIT.fullmatch(text):
        fix = "leave out the unit; rsov predict --help says which one it is"
    raise OptionError(option, f"must be a finite number such as 0.5, not {text!r}", fix=fix)


def integer(option: str, text: str) -> int:
    """A whole number of ASCII digits."""
    if not _INTEGER.fullmatch(text):
        raise OptionError(option, f"must be a whole number such as 512, not {text!r}")
    return int(text)


def area(option: str, text: str) -> float:
    """Square metres: ``25``, ``25m2`` or ``25 m²``."""
    return number(option, _SQUARE_METRES.sub("", text))


def threads(option: str, text: str) -> int | None:
    """A count, or ``auto``."""
    return None if text == "auto" else integer(option, text)


def word(option: str, text: str) -> str:
    """A text that is not blank."""
    if not text.strip():
        raise OptionError(option, "is empty")
    return text


def as_given(option: str, text: str) -> str:  # noqa: ARG001 - the signature of a converter
    """A text that has a grammar of its own; whoever reads it judges it."""
    return text


def path(option: str, text: str) -> Path:
    """A path; whether it exists is checked by whoever reads it."""
    return Path(word(option, text))


def one_of(*choices: str) -> Convert:
    """One of a few names."""

    def convert(option: str, text: str) -> str:
        if text in choices:
            return text
        near = difflib.get_close_matches(text.lower(), choices, n=1)
        fix = f"did you mean {near[0]}?" if near else ""
        raise OptionError(option, f"must be one of {', '.join(choices)}, not {text!r}", fix=fix)

    return convert


def device(option: str, text: str) -> str:
    """Where to compute; whether it is there only torch knows."""
    if not _DEVICE.fullmatch(text):
        raise OptionError(
            option,
            f"must be auto, cpu, cuda or cuda:N, not {text!r}",
            fix="leave it out: auto takes a GPU where there is one",
            id="E-option-device",
        )
    return text


def listed(item: Convert, count: int | None = None, shape: str = "") -> Convert:
    """Items between commas, ``count`` of them."""

    def convert(option: str, text: str) -> tuple[Any, ...]:
        items = [part.strip() for part in text.split(",")]
        if (count is not None and len(items) != count) or not all(items):
            parts = text.split()
            fix = f"write {','.join(parts)}" if len(parts) == (count or len(parts)) > 1 else ""
            raise OptionError(option, f"must be {shape or 'a list with commas'}, not {text!r}", fix=fix)
        return tuple(item(option, part) for part in items)

    return convert


bounds = listed(number, 4, "west,south,east,north")


def window(option: str, text: str) -> Window:
    """``col,row,width,height`` in pixels of the input."""
    col, row, width, height = listed(integer, 4, "col,row,width,height")(option, text)
    if min(col, row) < 0 or min(width, height) < 1:
        raise OptionError(option, f"must lie inside the picture and not be empty, not {text!r}")
    return Window(col, row, width, height)


def bands(option: str, text: str) -> tuple[int | str, ...]:
    """Numbers from 1 or names: ``4,3,2``, ``red,green,blue``."""

    def band(option: str, text: str) -> int | str:
        if not _INTEGER.fullmatch(text):
            return text
        if int(text) < 1:
            raise OptionError(option, f"bands are numbered from 1, not {text!r}")
        return int(text)

    values: tuple[int | str, ...] = listed(band)(option, text)
    return values


def nodata(option: str, text: str) -> tuple[float, ...]:
    """One number or one per band; ``nan`` is a nodata value, ``none`` = the file declares it wrongly."""
    if text.strip().lower() == "none":
        return ()

    def value(option: str, text: str) -> float:
        return math.nan if text.lower() == "nan" else number(option, text)

    values: tuple[float, ...] = listed(value)(option, text)
    return values


def vector_formats(option: str, text: str) -> tuple[str, ...]:
    """``gpkg,geojson``; ``none`` alone means no polygons."""
    if text.strip().lower() == "none":
        return ()
    values: tuple[str, ...] = listed(one_of(*CHOICES["vector_format"], "none"))(option, text)
    if "none" in values:
        raise OptionError(option, "none stands alone", id="E-option-conflict")
    return tuple(dict.fromkeys(values))


_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def switch(option: str, text: str) -> bool:
    """A flag set in the environment."""
    if text.lower() not in _TRUE | _FALSE:
        raise OptionError(option, f"must be 1 or 0, true or false, yes or no, not {text!r}")
    return text.lower() in _TRUE
