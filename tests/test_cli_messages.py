"""What `rsov predict` tells: standard output, messages, JSON, the log."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rsov.cli import main
from tests.support.places import ARGS, Watch


def test_stdout_has_the_paths_and_nothing_else(here, capsys):
    assert main(["predict", "ortho.tif", *ARGS]) == 0
    captured = capsys.readouterr()
    assert "(0.00 Mpx/s" not in captured.err  # a tiny picture: no figure of throughput
    assert captured.out.splitlines() == [
        "ortho_classes.tif",
        "ortho_classes.qml",
        "ortho_classes.gpkg",
        "ortho_report.json",
    ]
    assert all(Path(line).is_file() for line in captured.out.splitlines())
    assert "forest" in captured.err
    assert "no data" in captured.err
    assert "\x1b" not in captured.err
    assert max(map(len, captured.err.splitlines())) <= 80


def test_quiet_is_quiet(here, capsys):
    assert main(["predict", "ortho.tif", *ARGS, "-q"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert len(captured.out.splitlines()) == 4


def test_json_is_one_document(here, capsys):
    assert main(["predict", "ortho.tif", *ARGS, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["status"], document["exit_code"]) == ("rsov/predict/1", "ok", 0)
    assert {entry["kind"] for entry in document["outputs"]} == {"classes", "style", "polygons", "report"}
    assert document["maps"][0]["areas"][0]["name"] == "forest"
    assert document["errors"] == []
    (report,) = document["maps"]
    for key in ("run_id", "metrics", "timing", "versions"):
        assert document[key] == report[key]
    assert main(["predict", "no.tif", *ARGS, "--json"]) == 3
    assert set(json.loads(capsys.readouterr().out)) == set(document)


def test_a_first_map_says_that_it_compiles(here, monkeypatch, capsys):
    line = "no compiled kernels yet"
    monkeypatch.setattr("rsov.kernels.cache.kernels_kept", lambda: False)
    assert main(["predict", "ortho.tif", *ARGS, "-n"]) == 0
    assert line not in capsys.readouterr().err
    assert main(["predict", "ortho.tif", *ARGS, "-q"]) == 0
    assert line not in capsys.readouterr().err
    assert main(["predict", "ortho.tif", *ARGS, "--overwrite"]) == 0
    assert line in capsys.readouterr().err


def test_P17_markup_in_names_is_text(here, capsys):
    names = "[link file:///etc/passwd]x[/link],[/nope],[bold]b"
    assert main(["predict", "ortho.tif", "-p", names, "--scale", "none"]) == 0
    captured = capsys.readouterr()
    assert "[link file:///etc/passwd]x" in captured.err
    assert "[/nope]" in captured.err
    assert "\x1b" not in captured.err


def test_S28_a_name_cannot_forge_lines(here, capsys):
    name = "x\nerror[E-fake]: \x1b[31mred.tif"
    assert main(["predict", name, *ARGS, "--log-file", "log.jsonl"]) == 3
    err = capsys.readouterr().err
    assert not any(line.startswith("error[E-fake]") for line in err.splitlines())
    assert "\x1b" not in err
    for line in Path("log.jsonl").read_text().splitlines():
        json.loads(line)


def test_S27_keys_in_urls_are_masked(here, capsys):
    assert main(["predict", "https://user:secret@host/x.tif?X-Amz-Signature=abc", *ARGS, "--json"]) == 2
    captured = capsys.readouterr()
    for text in (captured.err, captured.out):
        assert "secret" not in text
        assert "abc" not in text


def test_the_log_file_has_everything(here, capsys):
    assert main(["predict", "ortho.tif", *ARGS, "-q", "--log-file", "run.jsonl"]) == 0
    lines = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    assert {"stage", "progress"} <= {line["kind"] for line in lines}
    assert capsys.readouterr().err == ""


def test_a_log_is_added_to_and_nothing_else_is(here, capsys):
    log = ["--log-file", "run.jsonl", "-n"]
    assert main(["predict", "ortho.tif", *ARGS, *log]) == 0
    first = Path("run.jsonl").read_text()
    assert main(["predict", "ortho.tif", *ARGS, *log]) == 0
    assert Path("run.jsonl").read_text().startswith(first)
    assert len(Path("run.jsonl").read_text()) > len(first)
    (here / "notes.txt").write_text("mine\n")
    (here / "to-notes").symlink_to("notes.txt")
    os.mkfifo(here / "pipe")
    outputs = ("ortho_report.json", "../here/ortho_classes.tif", "ortho_classes.tif.aux.xml", "-")
    watch = Watch(here)
    for name in ("ortho.tif", "notes.txt", "to-notes", "pipe", "/dev/zero", ".", *outputs):
        assert main(["predict", "ortho.tif", *ARGS, "--overwrite", "--log-file", name]) == 2, name
        err = capsys.readouterr().err
        assert "E-log-file" in err
        assert name in err
        watch.unchanged()


def test_verbose_shows_stages_and_twice_the_traceback(here, capsys):
    assert main(["predict", "ortho.tif", *ARGS, "-v"]) == 0
    assert "loading the model" in capsys.readouterr().err
    assert main(["predict", "missing.tif", *ARGS, "-vv"]) == 3
    assert "Traceback" in capsys.readouterr().err
