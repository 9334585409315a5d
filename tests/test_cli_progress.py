"""The bar on a terminal: names are text, numbers are whole, narrow terminals get lines."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from rsov import term
from rsov.commands.progress import Screen
from rsov.jobs.predict_progress import Silent, Step
from tests.support.maps import run
from tests.support.places import picture

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only in the base
        return self._encoding

    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80, encoding: str = "utf-8") -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(term._Choice, "colour", "auto")
    stream = Terminal(encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def _run(name: str) -> None:
    path = Path(name)
    with Screen("auto", 1) as screen:
        screen.stage(path, "loading the model")
        screen.step(Step(path, 30, 60, 2_000_000, 4.0))


def test_a_name_beside_the_bar_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    _run("[bold red]x[link=x]y.tif")
    assert "[bold red]x[link=x]y.tif" in terminal.getvalue()
    assert "\x1b]8" not in terminal.getvalue()


def test_a_long_name_leaves_room_for_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    _run("x" * 200 + ".tif")
    last = ESCAPES.sub("", terminal.getvalue()).split("\r")[-2:]
    assert any("xxx…" in line and " 50 % 0.5 Mpx/s eta " in line for line in last)


def test_a_terminal_without_unicode_gets_a_bar_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _terminal(monkeypatch, encoding="ascii")
    _run("a.tif")
    assert stream.getvalue().isascii()
    assert "50 %" in stream.getvalue()


def test_a_narrow_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _terminal(monkeypatch, columns=20)
    _run("a.tif")
    assert stream.getvalue() == ""


def test_a_full_bar_gives_way_to_what_is_done_after_the_last_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with Screen("auto", 1) as screen:
        for tiles in (30, 60):
            screen.step(Step(Path("a.tif"), tiles, 60, 2_000_000, 4.0))
    shown = ESCAPES.sub("", terminal.getvalue())
    assert " 50 % " in shown
    assert "100 %" not in shown
    assert "a.tif: finishing the last pixels" in shown


@pytest.mark.parametrize(("kept", "beside"), [(True, ""), (False, ", compiling kernels")])
def test_every_stage_between_the_model_and_the_map_says_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool, beside: str
) -> None:
    class Stages(Silent):
        names: list[str] = []  # noqa: RUF012 - one class a test

        def stage(self, path: Path, name: str) -> None:
            self.names.append(name)

    monkeypatch.setattr("rsov.kernels.cache.kernels_kept", lambda: kept)
    run(picture(tmp_path / "ortho.tif"), tmp_path, watcher=Stages())
    assert Stages.names[1:] == ["loading the model", f"first tiles{beside}", f"writing{beside}"]
