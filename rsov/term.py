"""The terminal: one console for messages (stderr), one writer for results (stdout), foreign text escaped.

Nothing else in the package prints.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NoReturn, TextIO

from rsov.errors import ExitCode, OutputError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from rsov.errors import RsovError
    from rsov.types import Notice

Colour = Literal["auto", "always", "never"]

MAX_WIDTH = 100
MIN_WIDTH = 40
"""On a narrower terminal lines are not fitted any more: it breaks them itself."""
_CARET = re.compile(r"\n *\^$")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]+:/+[^\s?\"']*)\?[^\s\"']*", re.IGNORECASE)
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]+:/+)[^\s/@\"']+@", re.IGNORECASE)


def plain(text: object) -> str:
    r"""Foreign text as printable characters: controls and what cannot be seen become ``\x1b``, ``\u202e``."""
    return "".join(_visible(char) for char in str(text))


def safe(text: object, style: str = "") -> Text:
    """``plain`` text for rich: brackets in it are no markup, its escapes are not sent to the terminal."""
    from rich.text import Text

    return Text(plain(text), style=style)


def _visible(char: str) -> str:
    if char.isprintable():  # false for controls, direction overrides and zero-width characters
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def wants_colour(stream: TextIO, choice: Colour = "auto") -> bool:
    """Whether escapes may be sent: ``--color`` decides, then ``NO_COLOR``, ``FORCE_COLOR``, the terminal."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isascii() and columns.isdigit() and int(columns) > 0 else MAX_WIDTH


@lru_cache(maxsize=8)
def _console(stream: TextIO, colour: bool) -> Console:
    console = _make_console(
        stream, colour, None if stream.isatty() else _width(), soft_wrap=not stream.isatty()
    )
    if console.width < MIN_WIDTH:
        console.width, console.soft_wrap = MIN_WIDTH, True
    return console


def _make_console(stream: TextIO, colour: bool, width: int | None, *, soft_wrap: bool = False) -> Console:
    from rich.console import Console

    class PatientConsole(Console):
        def on_broken_pipe(self) -> None:  # Rich ends the process, in the middle of a run
            _discard(stream)

    return PatientConsole(
        file=stream,
        markup=False,
        highlight=False,
        emoji=False,
        no_color=not colour,
        force_terminal=colour,  # without colour no escape is sent, cursor movements included
        force_interactive=colour and stream.isatty(),
        width=width,
        soft_wrap=soft_wrap,
    )


def rendered(renderable: RenderableType, width: int) -> str:
    """A table or text as plain lines of at most ``width`` cells, without blanks at their ends."""
    out = io.StringIO()
    console = _make_console(out, colour=False, width=width)
    console.print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


class _Choice:
    """What `--color` said; set once, at the edge."""

    colour: Colour = "auto"


def set_colour(choice: Colour) -> None:
    """Follow `--color` from now on."""
    _Choice.colour = choice


def stderr() -> Console:
    """The console for all but results; one per stream, so that a progress bar and a message share it."""
    return _console(sys.stderr, wants_colour(sys.stderr, _Choice.colour))


def say(message: RenderableType) -> None:
    """A line for people. A string is foreign text and is escaped; ``Text`` comes from :func:`safe`.

    Messages that cannot be written (a full disk, a reader who left) are lost; the work goes on.
    """
    try:
        stderr().print(safe(message) if isinstance(message, str) else message)
    except OSError:
        _discard(sys.stderr)


def emit(text: str, end: str = "\n") -> None:
    """Write a result to stdout: UTF-8, file names byte for byte. A reader who left ends the process."""
    stream = sys.stdout
    try:
        raw = getattr(stream, "buffer", None)
        if raw is None:
            stream.write(text + end)
        else:
            stream.flush()
            raw.write((text + end).encode("utf-8", "surrogateescape"))
        stream.flush()
    except BrokenPipeError:
        _end_silently(stream)
    except OSError as error:
        _discard(stream)
        raise OutputError(
            "E-output-stdout", "standard output cannot be written", why=error.strerror or str(error)
        ) from error


def keep_streams() -> None:
    """Give a process whose standard streams were closed empty ones.

    Otherwise the next file that is opened gets their number, and messages of C libraries go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115 - kept open


def _discard(stream: TextIO) -> None:
    """From now on what is written to the stream goes nowhere, the interpreter's last flush included."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _end_silently(stream: TextIO) -> NoReturn:
    """End with 141 without the interpreter's own complaint when it flushes the stream."""
    _discard(stream)
    os._exit(ExitCode.PIPE)


def size_text(count: int) -> str:
    """Bytes as `14.1 GiB`, `780 MiB`, `25 bytes`: in units of 1024, as `--max-memory` counts."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            amount = count / size
            return f"{amount:,.1f} {unit}" if amount < 10 or unit == "GiB" else f"{amount:,.0f} {unit}"
    return f"{count} bytes"


def duration_text(seconds: float) -> str:
    """``3m15s``, ``12s``, ``2h05m``."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{whole % 60:02d}s" if minutes else f"{whole % 60}s"


def number_text(value: float, digits: int = 3) -> str:
    """Three digits that count, as people write them: `0.298`, `20,100`; powers of ten below 0.0001 only."""
    if not math.isfinite(value) or abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def mask(text: str) -> str:
    """URLs without their query and without a password: both may carry keys."""
    return _LOGIN.sub(r"\1***@", _QUERY.sub(r"\1?***", text))


def format_error(error: RsovError) -> Text:
    """An error as it is shown, foreign text escaped; only the line of a caret stays a line of its own."""
    from rich.text import Text

    block = Text.assemble((f"error[{plain(error.id)}]", "bold red"), ": ", plain(mask(error.what)))
    caret = _CARET.search(error.where)
    place = plain(mask(error.where[: caret.start()])) + caret[0] if caret else plain(mask(error.where))
    for label, text in (("where", place), ("why", plain(mask(error.why))), ("fix", plain(mask(error.fix)))):
        if text:
            block.append(f"\n  {label + ':':<6} {text}")
    return block


def format_notice(notice: Notice) -> Text:
    """A warning as it is shown."""
    from rich.text import Text

    return Text.assemble((f"warning[{plain(notice.id)}]", "yellow"), ": ", plain(mask(notice.message)))
