"""Legend files: text with a class a line, or TOML with ``[[class]]`` blocks.

[[class]]
name = "forest"
synonyms = ["wood", "trees"]
colour = "#1b7837"
threshold = 0.4
"""

from __future__ import annotations

import codecs
import difflib
import re
import stat
import sys
import tomllib
from typing import TYPE_CHECKING, Any

from rsov.errors import UsageError
from rsov.term import say
from rsov.text.legend_grammar import Draft, Place, check_text, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_BYTES = 1 << 20
"""Longest legend file; 65,534 classes fit, a raster given by mistake does not."""

_KEYS = ("name", "synonyms", "colour", "threshold")
_SHOWN = 40  # characters of a wrong value in a message
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NEWLINES = re.compile(r"\r\n|\r|\n")


def read_drafts(path: Path, option: str = "--prompts") -> list[Draft]:
    """The classes of a legend file that an option names.

    Raises:
        UsageError: the file is missing, a folder, too large, not text, or has a fault at a line.
    """
    text = _decode(_read_bytes(path, option), path.name)
    return _parse_toml(text, path.name) if path.suffix.lower() == ".toml" else _parse_text(text, path.name)


def read_standard_input() -> list[Draft]:
    """The classes of standard input, a class a line; says on a terminal what is awaited."""
    stream = sys.stdin.buffer
    if stream.isatty():
        say("rsov: type the classes, one a line; Ctrl-D ends")
    data = stream.read(MAX_BYTES + 1)
    _check_size(len(data), "standard input", "--prompts")
    return _parse_text(_decode(data, "standard input"), "standard input")


def _read_bytes(path: Path, option: str) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # before opening: a FIFO would block
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise UsageError(
                "E-prompt-file", f"{path} is {kind}", where=option, fix="give a .txt or .toml file"
            )
        _check_size(status.st_size, str(path), option)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        fix = "check the name, or type the classes themselves"
        if option != "--prompts":
            fix = f"{option} takes a file with a name on each line, or none"
        if near := _near_file(path):
            fix = f"did you mean {near} (same folder)?"
        raise UsageError("E-prompt-file", f"{path} does not exist", where=option, fix=fix) from None
    except OSError as error:
        raise UsageError(
            "E-prompt-file",
            f"{path} cannot be read",
            where=option,
            why=error.strerror or str(error),
            fix="check its permissions, or give the classes themselves",
        ) from error
    _check_size(len(data), str(path), option)
    return data


def _near_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return ""
    return next(iter(difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)), "")


def _check_size(size: int, name: str, option: str) -> None:
    if size > MAX_BYTES:
        raise UsageError(
            "E-prompt-file",
            f"{name} is too large for a legend: over {MAX_BYTES // 1024} KiB",
            where=option,
            fix="give a text file with one class a line",
        )


def _decode(data: bytes, name: str) -> str:
    """Text of UTF-8, with or without BOM, or of UTF-16 with BOM."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, body = "utf-16", data
    else:
        encoding, body = "utf-8", data.removeprefix(codecs.BOM_UTF8)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", body[: error.start])) + 1
        raise UsageError(
            "E-prompt-encoding",
            f"{name} is not {encoding.upper()} text",
            where=f"{name} line {line}, byte {error.start} (0x{body[error.start]:02x})",
            fix=f"save it as UTF-8, for example: iconv -f latin1 -t utf-8 {name} > utf8.txt",
        ) from None
    if "\0" in text:
        line = len(_NEWLINES.findall(text, 0, text.index("\0"))) + 1
        raise UsageError(
            "E-prompt-character",
            f"{name} is not a text file",
            where=f"{name} line {line}: U+0000",
            fix="give a text file",
        )
    return text


def _parse_text(text: str, name: str) -> list[Draft]:
    drafts: list[Draft] = []
    for number, line in enumerate(_NEWLINES.split(text), 1):
        drafts += parse_line(line, f"{name} line {number}", in_file=True)
    if not drafts:
        raise UsageError("E-prompt-empty", f"{name} names no class", where=name, fix="write one class a line")
    return drafts


def _parse_toml(text: str, name: str) -> list[Draft]:
    lines = _NEWLINES.split(text)
    try:
        document = tomllib.loads("\n".join(lines))
    except ValueError as error:  # of numbers with thousands of digits as well
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise UsageError(
            "E-legend-toml",
            f"{name} is not valid TOML",
            where=f"{name}:{found[1]}" if found else name,
            why=str(error),
            fix='write [[class]] and below it name = "forest"',
        ) from None
    except RecursionError:
        raise UsageError(
            "E-legend-toml", f"{name} is nested too deeply", where=name, fix="write [[class]] blocks"
        ) from None
    for key in document:
        if key != "class":
            _unknown_key(key, f"{name}{_line_of(lines, key)}", ("class",), "the only table is [[class]]")
    blocks = document.get("class")
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
        raise UsageError(
            "E-prompt-empty",
            f"{name} names no class",
            where=name,
            fix='write [[class]] and below it name = "forest"',
        )
    starts = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*class\s*\]\]", line)]
    known = len(starts) == len(blocks)  # else the blocks were written inline and have no lines of their own
    return [
        _block(block, number, name, lines, starts[number - 1] if known else None)
        for number, block in enumerate(blocks, 1)
    ]


def _line_of(lines: list[str], key: str, start: int = 0) -> str:
    pattern = re.compile(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*(=|\.|\])")
    return next((f":{n}" for n, line in enumerate(lines[start:], start + 1) if pattern.match(line)), "")


def _unknown_key(key: str, where: str, known: tuple[str, ...], otherwise: str) -> None:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    why = "ids follow the order of the classes, from 1" if key == "id" else ""
    fix = "remove it" if key == "id" else f'did you mean "{near[0]}"?' if near else otherwise
    raise UsageError("E-legend-key", f"unknown key {key!r}", where=where, why=why, fix=fix)


def _block(block: Mapping[str, Any], number: int, file: str, lines: list[str], start: int | None) -> Draft:
    def place(key: str) -> str:
        return f"{file}{_line_of(lines, key, start) if start is not None else ''} class {number}"

    for key in block:
        if key not in _KEYS:
            _unknown_key(key, place(key), _KEYS, f"keys are {', '.join(_KEYS)}")
    texts = list(_strings(block, place))
    places = tuple(Place(where, text) for where, text in texts)
    checked = tuple(check_text(where.line, where) for where in places)
    return Draft(
        checked[0],
        checked,
        places[0],
        places,
        _colour(block, place("colour")),
        _threshold(block, place("threshold")),
    )


def _strings(block: Mapping[str, Any], place: Any) -> Iterator[tuple[str, str]]:
    """(place, text) of the name and of each synonym; the name is encoded too."""
    name, synonyms = block.get("name"), block.get("synonyms", [])
    if not isinstance(name, str):
        raise UsageError("E-legend-value", "a class needs a name", where=place("name"), fix='name = "forest"')
    if not isinstance(synonyms, list) or not all(isinstance(text, str) for text in synonyms):
        raise UsageError(
            "E-legend-value",
            "synonyms are a list of texts",
            where=place("synonyms"),
            fix='synonyms = ["wood", "trees"]',
        )
    yield place("name"), name
    for text in synonyms:
        yield place("synonyms"), text


def _colour(block: Mapping[str, Any], where: str) -> tuple[int, int, int] | None:
    value = block.get("colour")
    if value is None:
        return None
    if not isinstance(value, str) or _COLOUR.fullmatch(value) is None:
        raise UsageError(
            "E-legend-colour",
            f"{str(value)[:_SHOWN]!r} is not a colour",
            where=where,
            fix='write it as "#1b7837"',
        )
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def _threshold(block: Mapping[str, Any], where: str) -> float | None:
    value = block.get("threshold")
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and 0 < value < 1):  # never true for nan
        raise UsageError(
            "E-legend-threshold",
            f"threshold is {str(value)[:_SHOWN]!r}",
            where=where,
            fix="give a number above 0 and below 1, such as 0.4",
        )
    return float(value)
