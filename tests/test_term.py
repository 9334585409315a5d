"""The terminal: what is escaped, what is coloured, where results go."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsov import term
from rsov.commands.messages import error_document
from rsov.errors import InputError
from rsov.types import Notice

PACKAGE = Path(__file__).resolve().parent.parent / "rsov"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(term._Choice, "colour", "auto")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2984, "0.298"),
        (0.5, "0.5"),
        (30, "30"),
        (20_123.4, "20,100"),
        (9.999, "10"),
        (123.4, "123"),
        (0.00123, "0.00123"),
        (5e-9, "5e-09"),
        (float("inf"), "inf"),
        (0.0, "0"),
    ],
)
def test_numbers_are_written_as_people_do(value: float, text: str) -> None:
    assert term.number_text(value) == text


@given(st.text())
def test_plain_text_is_printable_and_one_line(text: str) -> None:
    assert term.plain(text).isprintable()


def test_plain_keeps_what_can_be_seen() -> None:
    assert term.plain("Wälder 森林 🌳 [x]") == "Wälder 森林 🌳 [x]"
    assert term.plain("a\u200b\U000e0041") == r"a\u200b\U000e0041"


def test_S28_a_newline_in_a_file_name_makes_no_line_of_its_own() -> None:
    name = "a.tif\nerror[E-fake]: all is well\n  where: x\n         ^"
    error = InputError("E-input-missing", f"{name} does not exist", where=name)
    lines = term.format_error(error).plain.splitlines()
    assert len(lines) == 3  # the caret of `where` may stand on a line: it is blanks and ^ only
    assert lines[2].strip() == "^"
    assert r"\x0aerror[E-fake]" in lines[0]
    assert "\n" not in term.format_notice(Notice("W-x", name)).plain


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@host.test/a.tif?X-Amz-Signature=secret&x=y",
        str(Path("https://user:secret@host.test/a.tif?X-Amz-Signature=secret")),
        "/vsicurl/https://host.test/a.tif?sig=secret",
        "S3://key:secret@bucket/a.tif",
    ],
)
def test_S27_queries_and_passwords_of_urls_are_masked(url: str) -> None:
    error = InputError("E-remote", f"cannot open {url}", where=f"'{url}'", why=url, fix=url)
    shown = [
        term.format_error(error).plain,
        term.format_notice(Notice("W-x", url)).plain,
        str(error_document(error)),
    ]
    assert not any("secret" in text for text in shown)
    assert all("***" in text for text in shown)


def test_S27_ordinary_question_marks_stay() -> None:
    assert term.mask("what? a file a.tif?x") == "what? a file a.tif?x"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (25, "25 bytes"),
        (2048, "2.0 KiB"),
        (780 * 2**20, "780 MiB"),
        (2**30, "1.0 GiB"),
        (14.06 * 2**30, "14.1 GiB"),
    ],
)
def test_sizes_are_never_nothing_and_count_in_1024(count: float, shown: str) -> None:
    assert term.size_text(int(count)) == shown


def test_error_blocks_have_what_where_why_and_fix() -> None:
    error = InputError(
        "E-input-truncated", "a.tif is cut off", where="file has 1 MB", why="copy", fix="again"
    )
    assert term.format_error(error).plain == str(error)


@pytest.mark.parametrize(
    ("env", "terminal", "choice", "coloured"),
    [
        ({}, True, "auto", True),
        ({}, False, "auto", False),
        ({"NO_COLOR": "1"}, True, "auto", False),
        ({"NO_COLOR": ""}, True, "auto", True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, "auto", False),
        ({"FORCE_COLOR": "1"}, False, "auto", True),
        ({"CLICOLOR_FORCE": "1"}, False, "auto", True),
        ({"TERM": "dumb"}, True, "auto", False),
        ({"NO_COLOR": "1"}, False, "always", True),
        ({"FORCE_COLOR": "1"}, True, "never", False),
    ],
)
def test_colour_follows_the_usual_switches(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], terminal: bool, choice: term.Colour, coloured: bool
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    screen = Screen() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    term.set_colour(choice)
    term.say(term.format_error(InputError("E-x", "what", fix="fix")))
    assert ("\x1b" in screen.getvalue()) is coloured


def test_long_lines_are_not_wrapped_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    term.say("x " * 200)
    assert screen.getvalue().count("\n") == 1


def test_a_console_is_shared_by_all_who_write_to_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert term.stderr() is term.stderr()
    old = term.stderr()
    monkeypatch.setattr(sys, "stderr", Screen())
    assert term.stderr() is not old


@pytest.mark.parametrize("columns", ["", "abc", "-3", "0", "１２", "60", "3"])
def test_odd_widths_are_survived(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    known = {"60": 60, "3": term.MIN_WIDTH}
    assert term.stderr().width == known.get(columns, term.MAX_WIDTH)


@pytest.mark.parametrize("columns", ["3", "39", "80"])
def test_a_terminal_of_a_few_columns_breaks_lines_itself(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    term.say("a message " * 12)
    assert (screen.getvalue().count("\n") == 1) is (int(columns) < term.MIN_WIDTH)


def test_results_go_to_stdout_byte_for_byte_in_any_locale() -> None:
    code = "import sys; from rsov.term import emit; emit(sys.argv[1])"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, b"W\xc3\xa4lder\xff.tif"], env=env, capture_output=True, check=True
    )
    assert done.stdout == b"W\xc3\xa4lder\xff.tif\n"
    assert done.stderr == b""


def test_a_reader_who_went_away_ends_the_process_with_141() -> None:
    code = "from rsov.term import emit\nfor _ in range(100_000): emit('x' * 1000)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


def test_work_goes_on_when_the_reader_of_the_messages_went_away() -> None:
    code = "from rsov.term import say\nfor _ in range(200): say('x' * 1000)\nprint('done')"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_nothing_else_in_the_package_makes_a_console() -> None:
    makers = [path for path in PACKAGE.rglob("*.py") if "Console(" in path.read_text(encoding="utf-8")]
    assert [path.name for path in makers] == ["term.py"]
