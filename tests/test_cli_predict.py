"""`rsov predict` as a user calls it: streams, codes, messages, several inputs, odd names."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rasterio

from rsov.cli import main
from tests.support.models import ColourSegmenter
from tests.support.places import Watch, picture

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """The test segmenter in place of the shipped weights."""
    import rsov.models.registry as registry

    segmenter = ColourSegmenter()
    monkeypatch.setattr(registry, "model_card", lambda *_: segmenter.card)
    monkeypatch.setattr(registry, "load_segmenter", lambda *_: segmenter)
    for name in [name for name in os.environ if name.startswith("RSOV_") and name != "RSOV_SHARED"]:
        if name != "RSOV_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    return segmenter


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, with one picture in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    picture(folder / "ortho.tif")
    return folder


ARGS = ["-p", "forest,road,water", "--scale", "none"]


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


def test_dry_run_prints_the_plan_and_writes_nothing(here, tmp_path, capsys, model):
    watch = Watch(tmp_path)
    assert main(["predict", "ortho.tif", *ARGS, "-n"]) == 0
    out = capsys.readouterr().out
    assert "6 of 64 x 64 px" in out
    assert main(["predict", "ortho.tif", *ARGS, "-n", "--scale", "1.90922,10432.6"]) == 0
    assert "uint8, 1.91 to 10433 scaled" in capsys.readouterr().out
    assert "ortho_classes.tif" in out
    assert main(["predict", "ortho.tif", *ARGS, "-n", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["maps"][0]["plan"]["tiles"] == 6
    watch.unchanged()
    assert model.calls == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ortho.tif"], 2, "no class names given"),
        (["-p", "forest"], 2, "no input given"),
        (["orhto.tif", *ARGS], 3, "ortho.tif"),
        (["ORTHO.TIF", *ARGS], 3, "did you mean ortho.tif"),
        (["ortho.tif", "-p", "forest,Forest"], 2, "given twice"),
        (["ortho.tif", "-p", ""], 2, ""),
        (["ortho.tif", "-p", "@classes.txt"], 2, "classes.txt"),
        (["ortho.tif", *ARGS, "-o", "town"], 2, "-o town.tif"),
        (["ortho.tif", *ARGS, "-o", "a/b/c/"], 5, "a/b"),
        (["ortho.tif", *ARGS, "-o", "ortho.tif", "--overwrite"], 2, "input"),
        (["ortho.tif", *ARGS, "--tile", "33"], 2, "--tile"),
        (["ortho.tif", *ARGS, "--tile", "100"], 2, "multiples of 32"),
        (["ortho.tif", *ARGS, "--overlap", "90%"], 2, "--overlap 90%: must be from"),
        (["ortho.tif", *ARGS, "--overlap", "12px"], 2, "--overlap"),
        (["ortho.tif", *ARGS, "--overlap", ""], 2, "--overlap"),
        (["ortho.tif", *ARGS, "--device", "gpu"], 2, "auto, cpu, cuda or cuda:N"),
        (["ortho.tif", *ARGS, "--device", "cuda:99"], 2, "cuda:99 is not here"),
        (["ortho.tif", *ARGS, "--device", "cuda:99", "--dry-run"], 2, "cuda:99 is not here"),
        (["ortho.tif", *ARGS, "--gsd", "0,5"], 2, "use a point: 0.5"),
        (["ortho.tif", *ARGS, "--gsd", "5cm"], 2, "leave out the unit"),
        (["ortho.tif", *ARGS, "--precision", "FP32"], 2, "did you mean fp32?"),
        (["ortho.tif", *ARGS, "--bounds", "1 2 3 4"], 2, "write 1,2,3,4"),
        (["ortho.tif", *ARGS, "--bounds", "4,3,2,1"], 2, "west < east"),
        (["ortho.tif", *ARGS, "--log-file", "no/run.log"], 5, "--log-file"),
        (["ortho.tif", *ARGS, "--bands", "1,2,9"], 2, "9"),
        (["ortho.tif", *ARGS, "--crs", "EPSG:99999999"], 2, "--crs"),
        (["ortho.tif", *ARGS, "--bounds", "0,0,1,1"], 3, ""),
        (["ortho.tif", *ARGS, "--aoi", "ortho.tif"], 3, "give polygons as GeoPackage"),
        (["ortho.tif", *ARGS, "--window", "0,0,9999,9999", "--bounds", "0,0,1,1"], 2, "--bounds"),
        (["ortho.tif", *ARGS, "--max-memory", "8 gigs"], 2, "--max-memory: '8 gigs'"),
        (["ortho.tif", *ARGS, "--max-memory", "-1"], 2, ""),
        (["ortho.tif", *ARGS, "--max-memory", "20M"], 7, "--max-memory"),
        (["ortho.tif", *ARGS, "--vector-format", "gpgk"], 2, "did you mean gpkg?"),
        (["ortho.tif", *ARGS, "--vector-format", "gpkg,none"], 2, "none stands alone"),
        (["ortho.tif", *ARGS, "-q", "-v"], 2, "--verbose"),
        (["ortho.tif", *ARGS, "--config", "no.toml"], 2, "no.toml"),
        (["ortho.tif", *ARGS, "--inputs-file", "no.txt"], 2, "no.txt"),
        (["ortho.tif", *ARGS, "--background", "no.txt"], 2, "no.txt"),
        (["ortho.tif", *ARGS, "--log-file", "ortho.tif"], 2, "--log-file"),
        (["/vsicurl/http://127.0.0.1/x.tif", *ARGS], 2, "connection string"),
        (["http://127.0.0.1/x.tif", *ARGS], 2, "remote"),
        ([".", *ARGS], 3, "folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_named_with_their_code_and_leave_nothing(
    arguments, code, said, here, tmp_path, capsys, model
):
    watch = Watch(tmp_path)
    assert main(["predict", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error[E-")
    assert len(captured.err.splitlines()) <= 6
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert model.calls == []
    watch.unchanged()


def test_P26_a_wrong_variable_is_named(here, capsys, monkeypatch):
    monkeypatch.setenv("RSOV_PREDICT_MIN_AREA", "-5")
    assert main(["predict", "ortho.tif", *ARGS]) == 2
    assert "RSOV_PREDICT_MIN_AREA in the environment" in capsys.readouterr().err


def test_P26_a_variable_that_only_the_model_can_judge_is_named(here, capsys, monkeypatch):
    monkeypatch.setenv("RSOV_OVERLAP", "12px")
    assert main(["predict", "ortho.tif", *ARGS]) == 2
    assert "RSOV_OVERLAP in the environment" in capsys.readouterr().err


def test_P27_the_config_file_is_read_and_named(here, capsys):
    Path("rsov.toml").write_text(
        '[predict]\nprompts = "forest,road"\nvector-format = "none"\nscale = "none"\n'
    )
    assert main(["predict", "ortho.tif"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ortho_classes.tif",
        "ortho_classes.qml",
        "ortho_report.json",
    ]
    Path("rsov.toml").write_text("[predict]\ntiles = 5\n")
    assert main(["predict", "ortho.tif", "-p", "forest", "--overwrite"]) == 2
    err = capsys.readouterr().err
    assert "rsov.toml:2 [predict]" in err
    assert 'did you mean "tile"?' in err
    assert main(["predict", "ortho.tif", "-p", "forest", "--overwrite", "--no-config"]) == 0


def test_C15_existing_outputs(here, capsys, model):
    assert main(["predict", "ortho.tif", *ARGS, "-q"]) == 0
    model.calls.clear()
    watch = Watch(here)
    assert main(["predict", "ortho.tif", *ARGS]) == 5
    err = capsys.readouterr().err
    for name in (
        "ortho_classes.tif",
        "ortho_classes.qml",
        "ortho_classes.gpkg",
        "ortho_report.json",
        "--overwrite",
    ):
        assert name in err
    assert model.calls == []
    assert main(["predict", "ortho.tif", *ARGS, "--dry-run"]) == 5
    watch.unchanged()
    assert main(["predict", "ortho.tif", *ARGS, "--overwrite"]) == 0


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


def test_inputs_from_standard_input(here, capsys, monkeypatch):
    picture(here / "with space.tif")

    class Stdin:
        buffer = io.BytesIO(b"ortho.tif\0with space.tif\0")

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert main(["predict", "--inputs-file", "-", *ARGS, "-o", "out/"]) == 0
    assert "out/with space_classes.tif" in capsys.readouterr().out.splitlines()


def test_a_file_that_is_no_list_of_inputs_is_refused_at_once(here, capsys):
    picture(here / "noise.tif", 1500, 1500)
    (here / "zeros").write_bytes(bytes(100))
    (here / "long.txt").write_bytes(b"ortho.tif\n" * 2_000_000)
    for name, why in (
        ("noise.tif", "not a text"),
        ("zeros", "not a text"),
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


def test_a_first_map_says_that_it_compiles(here, monkeypatch, capsys):
    line = "no compiled kernels yet"
    monkeypatch.setattr("rsov.kernels.cache.kernels_kept", lambda: False)
    assert main(["predict", "ortho.tif", *ARGS, "-n"]) == 0
    assert line not in capsys.readouterr().err
    assert main(["predict", "ortho.tif", *ARGS, "-q"]) == 0
    assert line not in capsys.readouterr().err
    assert main(["predict", "ortho.tif", *ARGS, "--overwrite"]) == 0
    assert line in capsys.readouterr().err


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


def test_lists_may_be_repeated_options(here, capsys):
    arguments = ["--vector-format", "gpkg", "--vector-format", "fgb,shp", "-b", "1", "-b", "2,3"]
    assert main(["predict", "ortho.tif", *ARGS, "-n", "--json", *arguments]) == 0
    settings = json.loads(capsys.readouterr().out)["maps"][0]["settings"]
    assert settings["vector_format"] == ["gpkg", "fgb", "shp"]
    assert settings["bands"] == [1, 2, 3]


def test_units_and_auto_may_be_written(here, capsys):
    assert main(["predict", "ortho.tif", *ARGS, "-n", "--json", "--min-area", "25m2", "--jobs", "auto"]) == 0
    settings = json.loads(capsys.readouterr().out)["maps"][0]["settings"]
    assert (settings["min_area"], settings["jobs"]) == (25, None)


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


def test_P05_words_from_all_sources_are_checked_alike(here, capsys, monkeypatch):
    Path("words.txt").write_text("forest\nroad, forest\n")
    for arguments in (
        ["-p", "forest,road|forest"],
        ["-p", "words.txt"],
        ["-p", "@words.txt"],
        ["-p", "forest", "-p", "forest"],
    ):
        assert main(["predict", "ortho.tif", *arguments]) == 2
        assert "'forest' is given twice" in capsys.readouterr().err
    monkeypatch.setenv("RSOV_PROMPTS", "forest,forest")
    assert main(["predict", "ortho.tif"]) == 2


def test_P17_markup_in_names_is_text(here, capsys):
    names = "[link file:///etc/passwd]x[/link],[/nope],[bold]b"
    assert main(["predict", "ortho.tif", "-p", names, "--scale", "none"]) == 0
    captured = capsys.readouterr()
    assert "[link file:///etc/passwd]x" in captured.err
    assert "[/nope]" in captured.err
    assert "\x1b" not in captured.err


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
    assert main(["predict", os.fsdecode(b"bad\xff.tif"), *ARGS, "-o", "out/"]) == 0
    assert capfdbinary.readouterr().out.splitlines()[0] == rb"out/bad\xff_classes.tif"
    with rasterio.open(r"out/bad\xff_classes.tif") as result:
        assert result.tags()["RSOV_INPUT"] == r"bad\udcff.tif"
    assert main(["predict", "ortho.tif", *ARGS, "-o", os.fsdecode(b"o\xff/")]) == 2
    capfdbinary.readouterr()
    assert main(["predict", os.fsdecode(b"bad\xff.tif"), *ARGS, "-o", "out2/", "--json"]) == 0
    document = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    assert os.fsdecode(b"bad\xff.tif") in json.dumps(document, ensure_ascii=False)


def test_S28_a_name_cannot_forge_lines(here, capsys):
    name = "x\nerror[E-fake]: \x1b[31mred.tif"
    assert main(["predict", name, *ARGS, "--log-file", "log.jsonl"]) == 3
    err = capsys.readouterr().err
    assert not any(line.startswith("error[E-fake]") for line in err.splitlines())
    assert "\x1b" not in err
    for line in Path("log.jsonl").read_text().splitlines():
        json.loads(line)


def test_S29_a_name_that_looks_like_an_option_needs_two_dashes(here, capsys):
    picture(here / "-of.tif")
    assert main(["predict", "-of.tif", *ARGS]) == 2
    capsys.readouterr()
    assert main(["predict", *ARGS, "-o", "out/", "--", "-of.tif"]) == 0
    assert (here / "out" / "-of_classes.tif").is_file()


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
    outputs = ("ortho_report.json", "../here/ortho_classes.tif")
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


def test_every_switch_has_an_effect(here, capsys):
    arguments = [
        "--confidence",
        "--probs",
        "--quicklook",
        "--vector-format",
        "geojson,fgb",
        "--min-area",
        "2",
        "--simplify",
        "1",
    ]
    assert main(["predict", "ortho.tif", *ARGS, "-o", "town.tif", *arguments]) == 0
    assert {Path(line).name for line in capsys.readouterr().out.splitlines()} == {
        "town.tif",
        "town.qml",
        "town_classes.geojson",
        "town_classes.fgb",
        "town_confidence.tif",
        "town_probs.tif",
        "town_quicklook.png",
        "town_report.json",
    }


def test_P23_sizes_are_read_by_one_parser(here, capsys):
    for size in ("8G", "8GiB", "8 gb", "90%", "2048M"):
        assert main(["predict", "ortho.tif", *ARGS, "-n", "--max-memory", size]) == 0, size
    for size in ("-1", "0", "150%", "8X", "nan", ""):
        assert main(["predict", "ortho.tif", *ARGS, "-n", "--max-memory", size]) == 2, size


@pytest.mark.parametrize("size", ["0", "31", "100000", "1e3", "-64"])
def test_P30_tile_sizes_depend_on_the_model(size, here, capsys):
    assert main(["predict", "ortho.tif", *ARGS, "--tile", size]) == 2
    assert "--tile" in capsys.readouterr().err


def test_Z44_a_dry_run_of_a_huge_sparse_raster_loads_no_torch_and_is_quick(here):
    import resource

    import rasterio
    from affine import Affine

    profile = {"driver": "GTiff", "width": 100_000, "height": 100_000, "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:25832", "transform": Affine(0.4, 0, 3e5, 0, -0.4, 5.6e6)}
    layout = {"tiled": True, "compress": "DEFLATE", "sparse_ok": True, "nodata": 0}
    with rasterio.open(here / "huge.tif", "w", **profile, **place, **layout):
        pass
    code = "import sys; from rsov.cli import main; code = main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(code)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", "huge.tif", "-p", "forest", "-n"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "100000 x 100000 px" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.5
