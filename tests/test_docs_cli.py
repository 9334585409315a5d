"""docs/cli.md and the help: every example runs, every option is listed.

`python tests/test_docs_cli.py` writes the table of options anew.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from rsov.cli import main
from rsov.commands.predict import EPILOG
from rsov.commands.table import PREDICT

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
BEGIN, END = "<!-- options: made from", "<!-- end of options -->"


def table() -> str:
    """The options by panel."""
    lines, panel = [], ""
    for option in sorted(
        (o for o in PREDICT if not o.hidden), key=lambda o: [p.panel for p in PREDICT].index(o.panel)
    ):
        if option.panel != panel:
            panel = option.panel
            lines += ["", f"**{panel}**", "", "| option | meaning [default] |", "|---|---|"]
        flags = ", ".join(f"`{flag.split('/')[0]}`" for flag in option.flags)
        value = f" {option.metavar}" if option.convert is not None else ""
        meaning = option.help.replace("|", "\\|")
        lines.append(f"| {flags}{value.replace('|', ' or ')} | {meaning} |")
    return "\n".join(lines).strip() + "\n"


def split() -> tuple[str, str, str]:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    comment, rest = rest.split("\n", 1)
    found, after = rest.split(END)
    return f"{before}{BEGIN}{comment}\n", found, f"{END}{after}"


def test_the_table_of_options_is_the_programs():
    assert split()[1].strip() == table().strip()


def examples() -> list[str]:
    """Lines of the page and of the help."""
    page = [
        line.strip()[2:]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith("$ rsov")
    ]
    shown = [line.strip() for line in EPILOG.splitlines() if line.strip().startswith("rsov predict")]
    return list(dict.fromkeys(page + shown))


@pytest.mark.parametrize("line", examples())
def test_an_example_runs_as_it_stands(line, tmp_path, monkeypatch, capsys):
    import rsov.models.registry as registry
    from tests.support.models import ColourSegmenter
    from tests.support.places import picture

    monkeypatch.setattr(registry, "model_card", lambda *_: ColourSegmenter().card)
    monkeypatch.setattr(registry, "load_segmenter", lambda *_: ColourSegmenter())
    monkeypatch.chdir(tmp_path)
    for name in ("ortho", "a", "b"):
        picture(tmp_path / f"{name}.tif")
    (tmp_path / "classes.txt").write_text("forest | wood\nway = road\n")
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


def test_there_are_examples_in_the_help():
    assert len([line for line in EPILOG.splitlines() if line.strip().startswith("rsov predict")]) >= 3


if __name__ == "__main__":
    head, _, tail = split()
    PAGE.write_text(f"{head}{table()}{tail}", encoding="utf-8")
