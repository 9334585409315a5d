"""What `rsov predict` takes as inputs: several, lists of them, patterns, odd names."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

import pytest
import rasterio

from rsov.cli import main
from tests.support.models import ColourSegmenter
from tests.support.places import ARGS, picture


def test_C36_a_batch_with_one_damaged_input(here, capsys):
    picture(here / "second.tif")
    (here / "broken.tif").write_bytes((here / "ortho.tif").read_bytes()[:3000])
    assert main(["predict", "ortho.tif", "broken.tif", "second.tif", *ARGS, "-o", "out/", "--json"]) == 6
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["status"], document["exit_code"]) == ("partial", 6)
    assert [entry["path"] for entry in document["inputs"]] == ["ortho.tif", "second.tif"]
    assert [entry.get("input") for entry in document["errors"]] == [None, "broken.tif"]
    assert document["errors"][1]["exit_code"] == 3
    assert "1 of 3 inputs failed" in captured.err
    assert {path.name for path in Path("out").iterdir() if "broken" in path.name} == set()
    assert len(list(Path("out").iterdir())) == 8


def test_maps_that_somebody_moves_away_during_a_batch_are_told_all_the_same(here, capsys, monkeypatch):
    picture(here / "second.tif")
    features = ColourSegmenter.features

    def moving(self, pixels):
        for path in here.glob("ortho_*"):  # as a program does that waits for reports
            path.unlink()
        return features(self, pixels)

    monkeypatch.setattr(ColourSegmenter, "features", moving)
    assert main(["predict", "ortho.tif", "second.tif", *ARGS, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["path"] for entry in document["inputs"]] == ["ortho.tif", "second.tif"]
    assert len(document["outputs"]) == 8


@pytest.mark.parametrize("listed", [b"ortho.tif\0#7 north.tif\0", b"# all\northo.tif\n\n./#7 north.tif\n"])
def test_inputs_from_standard_input(here, capsys, monkeypatch, listed):
    picture(here / "#7 north.tif")

    class Stdin:
        buffer = io.BytesIO(listed)

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert main(["predict", "--inputs-file", "-", *ARGS, "-o", "out/"]) == 0
    assert "out/#7 north_classes.tif" in capsys.readouterr().out.splitlines()


def test_a_file_that_is_no_list_of_inputs_is_refused_at_once(here, capsys):
    picture(here / "noise.tif", 1500, 1500)
    (here / "zeros").write_bytes(bytes(100))
    (here / "wide.txt").write_text("ortho.tif\n", encoding="utf-16")
    (here / "long.txt").write_bytes(b"ortho.tif\n" * 2_000_000)
    for name, why in (
        ("noise.tif", "not a text"),
        ("zeros", "not a text"),
        ("wide.txt", "UTF-16"),
        ("long.txt", "more than 16,777,216 bytes"),
    ):
        since = time.monotonic()
        assert main(["predict", "--inputs-file", name, *ARGS, "-n"]) == 2
        assert time.monotonic() - since < 2
        err = capsys.readouterr().err
        assert "E-inputs-file" in err
        assert f"{name} is no list of names" in err
        assert why in err
    for text in ("ortho.tif\r\n# ümlaut\n".encode("latin-1"), b"\xef\xbb\xbfortho.tif\r\n"):
        (here / "list.txt").write_bytes(text)
        assert main(["predict", "--inputs-file", "list.txt", *ARGS, "-n"]) == 0


def test_a_pipe_as_a_list_of_inputs_is_refused_at_once(here, capsys):
    os.mkfifo(here / "pipe")
    for name in ("pipe", "/dev/zero", "."):
        assert main(["predict", "--inputs-file", name, *ARGS, "-n"]) == 2
        err = capsys.readouterr().err
        assert f"{name} is not a file" in err
        assert "--inputs-file - reads from a pipe" in err


def test_what_the_shell_opened_is_read_and_written(here):
    """As `--inputs-file <(find ...)` and `--log-file >(...)` of bash pass it."""
    (out, lists), (log, lines) = os.pipe(), os.pipe()
    os.write(lists, b"ortho.tif\n")
    os.close(lists)
    names = ["--inputs-file", f"/dev/fd/{out}", "--log-file", f"/proc/self/fd/{lines}"]
    assert main(["predict", *names, *ARGS, "-n"]) == 0
    assert b'{"time": ' in os.read(log, 100)
    for descriptor in (out, log, lines):
        os.close(descriptor)


def test_a_pattern_that_the_shell_left_is_expanded(here, capsys):
    picture(here / "second.tif")
    picture(here / "[a]*.tif")
    assert main(["predict", "*o*.tif", *ARGS, "-n"]) == 0
    out = capsys.readouterr().out
    assert "ortho.tif: plan" in out
    assert "second.tif: plan" in out
    assert main(["predict", "[a]*.tif", *ARGS, "-n"]) == 0  # a file of that name goes first
    assert capsys.readouterr().out.startswith("[a]*.tif: plan")
    assert main(["predict", "no*.tif", *ARGS, "-n"]) == 3
    assert "no file matches no*.tif" in capsys.readouterr().err


def test_P13_standard_input_only_once_and_never_from_a_terminal(here, capsys, monkeypatch):
    class Terminal(io.StringIO):
        buffer = io.BytesIO()

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["predict", "--inputs-file", "-", "-p", "-"]) == 2
    assert "both read standard input" in capsys.readouterr().err
    assert main(["predict", "--inputs-file", "-", "-p", "forest"]) == 2
    assert "names of files" in capsys.readouterr().err
    assert main(["predict", "ortho.tif", "-p", "-"]) == 2
    assert "standard input" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "with space.tif",
        "ünïcode-森.tif",
        "100%.tif",
        "a#b.tif",
        "a:b.tif",
        "[bold]x.tif",
        "quote'\".tif",
        "new\nline.tif",
        "escape\x1b[31m.tif",
        "x" * 230 + ".tif",
    ],
)
def test_R27_names_of_all_kinds(name, here, capsys):
    picture(here / name)
    assert main(["predict", name, *ARGS, "-o", "out/"]) == 0
    captured = capsys.readouterr()
    assert (here / "out" / f"{Path(name).stem}_classes.tif").is_file()
    assert "\nline" not in captured.err


def test_R27_bytes_that_are_no_utf8_are_escaped_in_the_names_of_the_outputs(here, capfdbinary):
    picture(here / "plain.tif").rename(os.fsdecode(b"bad\xff.tif"))
    formats = ["--vector-format", "gpkg,fgb,shp,geojson"]  # two of them would take a backslash for a folder
    assert main(["predict", os.fsdecode(b"bad\xff.tif"), *ARGS, *formats, "-o", "out/"]) == 0
    assert capfdbinary.readouterr().out.splitlines()[0] == rb"out/bad_xff_classes.tif"
    with rasterio.open("out/bad_xff_classes.tif") as result:
        assert result.tags()["RSOV_INPUT"] == r"bad\udcff.tif"
    for out in (os.fsdecode(b"o\xff/"), r"out/a\b.tif"):
        assert main(["predict", "ortho.tif", *ARGS, "-o", out]) == 2
    capfdbinary.readouterr()
    assert main(["predict", os.fsdecode(b"bad\xff.tif"), *ARGS, "-o", "out2/", "--json"]) == 0
    document = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    assert os.fsdecode(b"bad\xff.tif") in json.dumps(document, ensure_ascii=False)


def test_S29_a_name_that_looks_like_an_option_needs_two_dashes(here, capsys):
    picture(here / "-of.tif")
    assert main(["predict", "-of.tif", *ARGS]) == 2
    capsys.readouterr()
    assert main(["predict", *ARGS, "-o", "out/", "--", "-of.tif"]) == 0
    assert (here / "out" / "-of_classes.tif").is_file()
