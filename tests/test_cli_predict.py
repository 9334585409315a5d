"""`rsov predict` as a user calls it: options, mistakes, codes, settings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from affine import Affine

from rsov.cli import main
from tests.support.places import ARGS, Watch, picture

ROOT = Path(__file__).resolve().parent.parent


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


def test_pixel_sizes_are_plain_numbers(here, capsys):
    """Of a picture of the whole world, for example."""
    picture(here / "coarse.tif", transform=Affine(20_123, 0, 400_000, 0, -20_123, 5_700_000))
    assert main(["predict", "coarse.tif", *ARGS, "-n"]) == 0
    said = capsys.readouterr()
    assert "e+" not in said.out + said.err
    assert re.search(r" \d\d,\d00 m per pixel", said.out)
    assert re.search(r"pixels of \d\d,\d00 m are coarser", said.err)


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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--tile", size) for size in ("0", "31", "100000", "1e3", "-64")),
        *(("--overlap", size) for size in ("64", "80", "-8", "0%", "100%")),
    ],
)
def test_P30_tiles_and_overlaps_depend_on_the_model(option, value, here, capsys, model):
    assert main(["predict", "ortho.tif", *ARGS, "--tile", "64", option, value]) == 2
    assert option in capsys.readouterr().err
    assert model.calls == []


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
