"""The written form of names that people type: one rule for prompts and legend files.

Names keep their letters in every script. What cannot be seen is refused: invisible and control marks make
two names look alike, or turn text around in a terminal or an attribute table (CVE-2021-42574).
"""

from __future__ import annotations

import re
import unicodedata

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


def clean(text: str) -> str:
    """NFC, without blanks at the ends, each run of blanks one space. Does not judge the characters."""
    return BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")


def comparison_key(text: str) -> str:
    """The form in which two names count as the same: cleaned and without case (UAX 15, casefold)."""
    return unicodedata.normalize("NFC", clean(text).casefold())


def word_forms(text: str) -> tuple[str, ...]:
    """Keys under which a table may hold a name: the name itself, its singulars, its plural."""
    key = comparison_key(text.replace("_", " "))
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    single = [key.removesuffix(end) + new for end, new in endings if key.endswith(end)]
    return (key, *single, key + "s")


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
