"""The grammar of class names in one line of text, for ``--prompts`` and for lines of a legend file.

A class is ``text``, ``text | text ...`` or ``shown name = text | text ...``. In ``--prompts`` commas part
classes, and a semicolon is refused, since it is meant to part them too; in a file a line is a class and
commas part texts as ``|`` does. Double quotes protect what has a meaning here; ``""`` inside them is one
quote. Every fault knows its column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from rich.cells import cell_len

from rsov.errors import UsageError
from rsov.term import plain
from rsov.text.normalise import BLANKS, MAX_TEXT, clean, forbidden_character, has_word

if TYPE_CHECKING:
    from collections.abc import Iterator

LEGEND_SUFFIXES = (".txt", ".toml")
_MARKS = ",|="
_FORM = "write: shown name = text | text"
_EXCERPT = 60  # characters of the line shown around a fault
_WHERE_INDENT = 9  # an error's second line begins under the text of its "  where: " label


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: ``source`` is ``--prompts`` or ``classes.txt line 3``, ``line`` its text."""

    source: str
    line: str
    column: int = 0

    def at(self, column: int) -> Place:
        """The same line, another column."""
        return Place(self.source, self.line, column)

    def caret(self) -> str:
        """The source with an excerpt of the line and, below it, a caret under the column."""
        start = max(0, self.column - _EXCERPT // 2)
        head = ("..." if start else "") + plain(self.line[start : self.column])
        tail = plain(self.line[self.column : start + _EXCERPT])
        tail += "..." if start + _EXCERPT < len(self.line) else ""
        before = f"{self.source}: {head}"
        return f"{before}{tail}\n{' ' * (_WHERE_INDENT + cell_len(before))}^"


@dataclass(frozen=True, slots=True)
class Draft:
    """One class as read: shown name, its texts and their places; colour and threshold come from TOML only."""

    name: str
    texts: tuple[str, ...]
    place: Place
    text_places: tuple[Place, ...]
    colour: tuple[int, int, int] | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """A text, or one of the marks ``, | =`` (``mark`` is empty for a text)."""

    mark: str
    text: str
    column: int


def fault(id: str, what: str, place: Place, fix: str, why: str = "") -> NoReturn:
    """Raise a ``UsageError`` that shows the place with a caret."""
    raise UsageError(id, what, where=place.caret(), why=why, fix=fix)


def check_text(raw: str, place: Place) -> str:
    """The cleaned text; ``UsageError`` for forbidden characters, for too long and for wordless ones."""
    bad = forbidden_character(raw)
    if bad is not None:
        index, description = bad
        fault(
            "E-prompt-character",
            f"a class name holds {description}",
            place.at(place.column + index),
            "type the name anew; copied text often carries such characters",
        )
    text = clean(raw)
    if len(text) > MAX_TEXT:
        fault(
            "E-prompt-long",
            f"a class name has {len(text)} characters, at most {MAX_TEXT} are read",
            place,
            "name the class in a few words",
        )
    if not has_word(text):
        fault(
            "E-prompt-empty",
            "a class name is missing",
            place,
            'for example: --prompts "forest,road,water=lake|river"',
        )
    return text


def parse_line(line: str, source: str, *, in_file: bool) -> list[Draft]:
    """The classes of a line; an empty or comment line has none.

    Args:
        line: the text of ``--prompts``, or a line of a legend file.
        source: what it is called in messages.
        in_file: the line is one class, commas part its texts, and ``#`` begins a comment.

    Raises:
        UsageError: with a caret under the fault.
    """
    place = Place(source, line)
    tokens = list(_tokens(place, in_file))
    if not tokens:
        return []
    groups: list[list[_Token]] = [[]]
    starts = [0]
    for token in tokens:
        if token.mark == "," and not in_file:
            groups.append([])
            starts.append(token.column + 1)
        else:
            groups[-1].append(token)
    if all(token.mark == "," for token in tokens):
        return []
    return [_parse_class(group, place.at(start)) for group, start in zip(groups, starts, strict=True)]


def quoted(text: str) -> str:
    """A text as the grammar reads it back: in double quotes where it holds a character with a meaning."""
    bare = not any(char in text for char in _MARKS + ';"#@') and not _like_a_file(text)
    return text if bare else '"' + text.replace('"', '""') + '"'


def _like_a_file(text: str) -> bool:
    return text.startswith("@") or text.lower().endswith(LEGEND_SUFFIXES)


def _tokens(place: Place, in_file: bool) -> Iterator[_Token]:
    line, i = place.line, 0
    while i < len(line):
        blank = BLANKS.match(line, i)
        if blank:
            i = blank.end()
        elif line[i] in _MARKS:
            yield _Token(line[i], "", i)
            i += 1
        elif line[i] == '"':
            text, end = _quoted(place, i, in_file)
            yield _Token("", text, i + 1)
            i = end
        elif in_file and line[i] == "#" and (i == 0 or BLANKS.match(line[i - 1])):
            return
        else:
            end = _bare_end(place, i, in_file)
            if _like_a_file(line[i:end].strip()):
                fault(
                    "E-prompt-file",
                    "a legend file stands among classes",
                    place.at(i),
                    "give the file alone: --prompts classes.txt; put quotes around a class of that name",
                )
            yield _Token("", line[i:end], i)
            i = end


def _bare_end(place: Place, start: int, in_file: bool) -> int:
    line = place.line
    for i in range(start, len(line)):
        if line[i] in _MARKS:
            return i
        if in_file and line[i] == "#" and BLANKS.match(line[i - 1]):
            return i
        if line[i] == ";" and not in_file:
            fault(
                "E-prompt-grammar",
                "a semicolon stands in a name",
                place.at(i),
                'part classes by commas; put quotes around a name that holds one: "a; b"',
            )
        if line[i] == '"':
            fault(
                "E-prompt-grammar",
                "a quote stands inside a name",
                place.at(i),
                'put the whole name in quotes: "road, paved"',
            )
    return len(line)


def _quoted(place: Place, start: int, in_file: bool) -> tuple[str, int]:
    """Text between quotes and the index after the closing one."""
    line, i, parts = place.line, start + 1, []
    while i < len(line):
        if line[i] != '"':
            parts.append(line[i])
            i += 1
        elif line[i + 1 : i + 2] == '"':
            parts.append('"')
            i += 2
        else:
            blank = BLANKS.match(line, i + 1)
            after = blank.end() if blank else i + 1
            comment = in_file and blank and line[after : after + 1] == "#"
            if after < len(line) and line[after] not in _MARKS and not comment:
                fault(
                    "E-prompt-grammar",
                    "text follows a closing quote",
                    place.at(after),
                    "part names by , or |",
                )
            return "".join(parts), i + 1
    fault("E-prompt-grammar", "a quote is not closed", place.at(start), 'add the closing "')


def _parse_class(tokens: list[_Token], place: Place) -> Draft:
    signs = [i for i, token in enumerate(tokens) if token.mark == "="]
    if len(signs) > 1:
        second = place.at(tokens[signs[1]].column)
        fault("E-prompt-grammar", "a class has more than one =", second, _FORM)
    if not signs:
        texts, places = _texts(tokens, place)
        return Draft(texts[0], texts, places[0], places)
    left, sign, right = tokens[: signs[0]], tokens[signs[0]], tokens[signs[0] + 1 :]
    names, name_places = _texts(left, place)
    if len(names) > 1:
        fault("E-prompt-grammar", "left of = stands one name", name_places[1], _FORM)
    texts, places = _texts(right, place.at(sign.column + 1))
    return Draft(names[0], texts, name_places[0], places)


def _texts(tokens: list[_Token], place: Place) -> tuple[tuple[str, ...], tuple[Place, ...]]:
    """Texts parted by marks: one must stand before, between and after them."""
    texts: list[str] = []
    places: list[Place] = []
    here, expected = place, True
    for token in tokens:
        if token.mark:
            if expected:
                check_text("", here.at(token.column))
            here, expected = place.at(token.column + 1), True
        else:
            here = place.at(token.column)
            texts.append(check_text(token.text, here))
            places.append(here)
            expected = False
    if expected:
        check_text("", here)
    return tuple(texts), tuple(places)
