"""The written form of names and numbers that people type: one rule for prompts, legend files and options.

Names keep their letters in every script. What cannot be seen is refused: invisible and control marks make
two names look alike, or turn text around in a terminal or an attribute table (CVE-2021-42574).
"""

from __future__ import annotations

import re
import unicodedata
from math import isnan

from rsov.errors import UsageError

MAX_TEXT = 512
"""Longest name in characters; a sentence encoder reads no more than a few hundred."""

_BLANK = " \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
BLANKS = re.compile(f"[{_BLANK}]+")
_JOINERS = "\u200c\u200d"  # ZWNJ and ZWJ shape words of Persian, Indic scripts and emoji
_FORBIDDEN_CATEGORIES = {
    "Cc": "a control character",
    "Cf": "an invisible formatting character",
    "Cs": "half of a character (the text is not valid UTF-8)",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def clean(text: str) -> str:
    """NFC, without blanks at the ends, each run of blanks one space. Does not judge the characters."""
    return BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")


def comparison_key(text: str) -> str:
    """The form in which two names count as the same: cleaned and without case (UAX 15, casefold)."""
    return unicodedata.normalize("NFC", clean(text).casefold())


def forbidden_character(text: str) -> tuple[int, str] | None:
    """Index and description of the first character that no name may hold, ``None`` if there is none."""
    for index, char in enumerate(text):
        if char == "\t":
            continue
        category = unicodedata.category(char)
        joins = char in _JOINERS and text[:index].strip() != "" and text[index + 1 :].strip() != ""
        noncharacter = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
        if (category in _FORBIDDEN_CATEGORIES and not joins) or noncharacter:
            kind = _FORBIDDEN_CATEGORIES.get(category, "not a character")
            name = unicodedata.name(char, "")
            return index, f"U+{ord(char):04X}{' ' + name if name else ''}, {kind}"
    return None


def has_word(text: str) -> bool:
    """Whether there is anything to encode: a letter, a digit or a symbol such as an emoji."""
    return any(unicodedata.category(char)[0] in "LN" or unicodedata.category(char) == "So" for char in text)


def parse_number(
    text: str,
    option: str,
    *,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite decimal number in ASCII within a range; the option's name stands in the error.

    Raises:
        UsageError: no such number (``nan``, ``1e999``, ``0x10``, ``1,5``, other digits), or out of range.
    """
    bounds = _range_text(low, high, low_open, high_open)
    if _NUMBER.fullmatch(text) is None:
        comma = re.fullmatch(r"[+-]?\d+,\d+", text, re.ASCII) is not None
        fix = (
            f"use a point: {text.replace(',', '.')}"
            if comma
            else f"give a decimal number{bounds}, such as 0.5 or 12"
        )
        raise UsageError("E-number", f"{option} is not a number: {text!r}", where=option, fix=fix)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise UsageError(
            "E-number", f"{option} is too large: {text}", where=option, fix=f"give a number{bounds}"
        )
    check_range(value, option, low=low, high=high, low_open=low_open, high_open=high_open)
    return value + 0.0  # -0.0 becomes 0.0


def check_range(
    value: float,
    option: str,
    *,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """Raise ``UsageError`` with the range in it unless the value lies in the range; NaN never does."""
    above = not isnan(value) and (low is None or (value > low if low_open else value >= low))
    below = high is None or (value < high if high_open else value <= high)
    if not (above and below):
        bounds = _range_text(low, high, low_open, high_open) or " that is finite"
        raise UsageError(
            "E-range", f"{option} is out of range: {value:g}", where=option, fix=f"give a number{bounds}"
        )


def _range_text(low: float | None, high: float | None, low_open: bool, high_open: bool) -> str:
    parts = []
    if low is not None:
        parts.append(f"{'above' if low_open else 'at least'} {low:g}")
    if high is not None:
        parts.append(f"{'below' if high_open else 'at most'} {high:g}")
    return " " + " and ".join(parts) if parts else ""
