"""Options from the command line, the environment and config files: one check for all, and errors that name the source."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from rsov.commands import values as v
from rsov.commands.settings import settle
from rsov.commands.table import PREDICT
from rsov.errors import UsageError
from rsov.jobs.options import OptionError, PredictKeywords, PredictOptions
from rsov.types import Window
from tests.support.places import picture

BAD_NUMBERS = [
    "nan",
    "inf",
    "-inf",
    "1e999",
    "0x10",
    "１２",
    "1,5",
    "",
    " ",
    "1 ",
    "1_000",
    "٣",
    "1e",
    "--",
    "5m",
]


def settled(given: dict, environ: dict | None = None, config: Path | None = None):
    return settle(
        "predict", PREDICT, given, config=config, use_config=config is not None, environ=environ or {}
    )


@pytest.mark.parametrize("text", BAD_NUMBERS)
@pytest.mark.parametrize("option", [o for o in PREDICT if o.convert is v.number], ids=lambda o: o.name)
def test_P22_numbers_are_finite_ascii_decimals(option, text):
    with pytest.raises(OptionError) as caught:
        option.convert(option.name, text)
    assert f"--{option.name.replace('_', '-')}" in caught.value.what


@pytest.mark.parametrize("text", [*BAD_NUMBERS, "1.0", "1e3"])
@pytest.mark.parametrize("option", [o for o in PREDICT if o.convert is v.integer], ids=lambda o: o.name)
def test_P22_whole_numbers(option, text):
    with pytest.raises(OptionError):
        option.convert(option.name, text)


def test_P22_a_decimal_comma_gets_a_hint():
    with pytest.raises(OptionError) as caught:
        v.number("gsd", "0,5")
    assert caught.value.fix == "use a point: 0.5"


@pytest.mark.parametrize("text", ["-0", "0", "-1", "1001"])
def test_P22_ranges_are_shown(text):
    with pytest.raises(OptionError, match=r"--gsd.*from 1e-06 to 1000"):
        PredictOptions(gsd=v.number("gsd", text))


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_P22_python_callers_get_the_same_check(value):
    with pytest.raises(UsageError):
        PredictOptions(min_area=value)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,,4", "300,0,1,9"])
def test_P22_bounds(text):
    with pytest.raises(OptionError):
        PredictOptions(bounds=v.bounds("bounds", text))


@pytest.mark.parametrize("text", ["1,2,3", "-1,0,5,5", "0,0,0,5", "0,0,5.5,5"])
def test_P22_windows(text):
    with pytest.raises(OptionError):
        v.window("window", text)


def test_values_that_are_right():
    assert v.bounds("bounds", "-1.5,2,3e2,4.25") == (-1.5, 2.0, 300.0, 4.25)
    assert v.window("window", "1,2,3,4") == Window(1, 2, 3, 4)
    assert v.bands("bands", "4, 3,nir") == (4, 3, "nir")
    assert v.nodata("nodata", "none") == ()
    assert math.isnan(v.nodata("nodata", "0,nan")[1])
    assert v.vector_formats("vector_format", "gpkg,shp,gpkg") == ("gpkg", "shp")
    assert v.vector_formats("vector_format", "none") == ()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"window": Window(0, 0, 5, 5), "bounds": (0.0, 0.0, 1.0, 1.0)}, ("--window", "--bounds")),
        ({"res": 1.0, "like": Path("a.tif")}, ("--res", "--like")),
        ({"scale": "auto", "stats": Path("a.json")}, ("--scale", "--stats")),
        ({"bands": (1, 2, 3), "sensor": "naip"}, ("--bands", "--sensor")),
        ({"bounds_crs": "EPSG:4326"}, ("--bounds-crs", "--bounds")),
    ],
)
def test_P24_contradictory_options_name_both(given, names):
    with pytest.raises(OptionError) as caught:
        PredictOptions(**given)
    assert caught.value.id == "E-option-conflict"
    for name in names:
        assert name in caught.value.what


def test_P26_a_wrong_variable_is_named():
    for environ in ({"RSOV_TILE": "abc"}, {"RSOV_PREDICT_TILE": "abc"}):
        with pytest.raises(OptionError) as caught:
            settled({}, environ)
        assert caught.value.where == f"{next(iter(environ))} in the environment"


def test_P26_a_range_error_names_the_variable_too():
    settings = settled({}, {"RSOV_GSD": "-3"})
    with pytest.raises(OptionError) as caught, settings.blamed():
        PredictOptions(**settings.values)
    assert caught.value.where == "RSOV_GSD in the environment"


def test_P26_empty_is_unset_and_switches_are_words():
    assert settled({}, {"RSOV_TILE": "", "RSOV_OVERWRITE": "yes", "RSOV_PROBS": "0"}).values == {
        "overwrite": True,
        "probs": False,
    }
    with pytest.raises(OptionError):
        settled({}, {"RSOV_OVERWRITE": "maybe"})


def test_command_line_beats_environment_beats_config(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[predict]\ntile = 128\noverlap = '10%'\ngsd = 0.5\n")
    environ = {"RSOV_TILE": "256", "RSOV_PREDICT_OVERLAP": "32", "RSOV_OVERLAP": "1"}
    settings = settled({"tile": "512"}, environ, config)
    assert settings.values == {"tile": 512, "overlap": "32", "gsd": 0.5}
    assert "tile" not in settings.origins
    assert settings.origins["gsd"] == f"{config}:4 [predict]"


def test_a_switch_given_as_no_beats_the_environment():
    assert settled({"overwrite": False}, {"RSOV_OVERWRITE": "1"}).values == {"overwrite": False}


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("[predict]\n\ntilesize = 5\n", 3, 'did you mean "tile"?'),
        ("# x\n[predict]\nmin-aera = 5\n", 3, 'did you mean "min_area"?'),
        ("[predct]\ntile = 5\n", 1, 'did you mean "predict"?'),
        ("tile = 512\n", 1, ""),
        ("[predict]\noutput = 'x/'\n", 2, ""),
    ],
)
def test_P27_unknown_keys_are_named_with_file_line_and_nearest(tmp_path, text, line, hint):
    file = tmp_path / "rsov.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        settled({}, config=file)
    assert caught.value.id == "E-config-key"
    assert f"{file}:{line}" in caught.value.where
    assert hint in caught.value.fix


def test_one_file_serves_several_commands(tmp_path):
    file = tmp_path / "rsov.toml"
    file.write_text("[train]\nsteps = 5\n[predict]\ntile = 512\n")
    assert settled({}, config=file).values == {"tile": 512}


@pytest.mark.parametrize(
    "text", ["tile = 'abc'", "tile = true", "tile = 1.5", "tile = 2026-01-01", "gsd = nan", "confidence = 3"]
)
def test_P27_wrong_types(tmp_path, text):
    file = tmp_path / "rsov.toml"
    file.write_text(f"[predict]\n{text}\n")
    with pytest.raises(OptionError) as caught:
        settled({}, config=file)
    assert caught.value.where == f"{file}:2 [predict]"


@pytest.mark.parametrize(
    "content",
    [
        b"[predict]\ntile = 5\ntile = 6\n",
        b"[predict\n",
        b"\xff\xfe[\x00",
        b"[predict]\ntile = !!python/object:os.system\n",
        b"[predict]\ntile = " + b"9" * 5000,
        b"[predict]\ntile = " + b"[" * 5000 + b"]" * 5000,
    ],
)
def test_P27_S32_broken_files(tmp_path, content):
    file = tmp_path / "rsov.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        settled({}, config=file)
    assert caught.value.id == "E-config-syntax"


def test_P27_bom_is_fine_and_huge_is_not(tmp_path):
    file = tmp_path / "rsov.toml"
    file.write_bytes("\ufeff[predict]\nbands = [4, 3, 2]\n".encode())
    assert settled({}, config=file).values == {"bands": (4, 3, 2)}
    file.write_bytes(b"#" * (1 << 21))
    with pytest.raises(UsageError, match="MiB"):
        settled({}, config=file)


def test_S32_only_toml_is_read(tmp_path):
    file = tmp_path / "rsov.yaml"
    file.write_text("predict: !!python/object/apply:os.system ['touch marker']\n")
    with pytest.raises(UsageError):
        settled({}, config=file)
    assert not (tmp_path / "marker").exists()


def test_a_project_file_cannot_lower_the_guard(tmp_path, monkeypatch):
    (tmp_path / "rsov.toml").write_text("[predict]\nallow_vrt = true\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        settle("predict", PREDICT, {}, environ={})
    assert caught.value.id == "E-config-security"
    assert settled({}, config=tmp_path / "rsov.toml").values == {"allow_vrt": True}


def test_the_project_file_is_found_upwards_until_git(tmp_path, monkeypatch):
    (tmp_path / "rsov.toml").write_text("[predict]\ntile = 128\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert settle("predict", PREDICT, {}, environ={}).values == {"tile": 128}
    (tmp_path / "a" / ".git").mkdir()
    assert settle("predict", PREDICT, {}, environ={}).values == {}


def test_P28_numbers_and_case_do_not_follow_the_locale(tmp_path):
    code = "from rsov.commands import values as v; print(v.number('gsd', '1.5'), 'FILE'.lower(), v.one_of('fail')('x', 'fail'))"
    for locale in ("C", "tr_TR.UTF-8", "de_DE.UTF-8"):
        environ = {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": locale,
            "LANG": locale,
            "PYTHONUTF8": "0",
            "PYTHONPATH": str(Path.cwd()),
        }
        done = subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "1.5 file fail"


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def test_P28_names_and_words_are_utf8_in_any_locale(tmp_path):
    picture(tmp_path / "zürich é.tif")
    (tmp_path / "zürich é_classes.tif").touch()  # refused after names and words are read, before a model is
    done = subprocess.run(
        [sys.executable, "-m", "rsov", "predict", "zürich é.tif", "-p", "Wälder,Straße", "--json"],
        check=False,
        env=os.environ | ASCII | {"PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        capture_output=True,
    )
    (error,) = json.loads(done.stdout)["errors"]
    assert (done.returncode, error["id"], error["where"]) == (5, "E-output-exists", "zürich é_classes.tif")
    assert b"z\\xfcrich \\xe9_classes.tif" in done.stderr


def test_P28_a_script_in_an_ascii_locale_is_told_how_to_start_python(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rsov.raster.outputs import check_outputs\n"
        "from rsov.errors import OutputError\n"
        "try: check_outputs([Path('\\u00e9_classes.tif')])\n"
        "except OutputError as error: print(error.id, error.fix)"
    )
    environ = os.environ | ASCII | {"PYTHONPATH": str(Path.cwd())}
    told = subprocess.check_output([sys.executable, "-c", code], env=environ, cwd=tmp_path, text=True)
    assert told.startswith("E-output-name")
    assert "PYTHONUTF8=1" in told


@pytest.mark.parametrize("command", [["-"], [], ["-c", "{program}"], ["file.py"]], ids=" ".join)
def test_P28_a_program_from_anywhere_runs_to_its_end_in_an_ascii_locale(command, tmp_path):
    program = "import sys; from rsov.cli import main; sys.argv[1:] = ['--version']; main()"
    (tmp_path / "file.py").write_text(program)
    done = subprocess.run(
        [sys.executable, *(word.format(program=program) for word in command)],
        check=False,
        env=os.environ | ASCII | {"PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        input=program,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rsov ")


def test_the_table_the_dataclass_and_the_keywords_agree():
    fields = {field.name for field in dataclasses.fields(PredictOptions)}
    assert fields == {*typing.get_type_hints(PredictKeywords), "model"}
    cli_only = {
        "prompts",
        "output",
        "inputs_file",
        "json",
        "quiet",
        "verbose",
        "progress",
        "log_file",
        "color",
    }
    assert {option.name for option in PREDICT} == fields | cli_only
    hints, wanted = typing.get_type_hints(PredictKeywords), typing.get_type_hints(PredictOptions)
    assert hints == {name: hint for name, hint in wanted.items() if name != "model"}


def test_scripts_may_pass_text_lists_and_single_values():
    given: dict[str, typing.Any] = {
        "aoi": "area.gpkg",
        "stats": "report.json",
        "bands": "3,2,1",
        "nodata": 0,
        "vector_format": "gpkg",
        "overlap": 64,
        "max_memory": 2**30,
    }
    natural = PredictOptions(**given)
    assert (natural.aoi, natural.stats) == (Path("area.gpkg"), Path("report.json"))
    assert (natural.bands, natural.nodata, natural.vector_format) == ((3, 2, 1), (0,), ("gpkg",))
    assert (natural.overlap, natural.max_memory) == ("64", str(2**30))
    for four in ([1, 2, 3, 4], "1,2,3,4", (1.0, 2, 3, 4)):
        assert PredictOptions(window=four).window == Window(1, 2, 3, 4)
        assert PredictOptions(bounds=four).bounds == (1.0, 2.0, 3.0, 4.0)
    assert PredictOptions(bounds=(179, 0, -179, 1)).bounds == (179.0, 0.0, -179.0, 1.0), "over 180 degrees"
    assert PredictOptions(vector_format=["gpkg", "fgb"]).vector_format == ("gpkg", "fgb")
    for name in ("vector_format", "nodata"):
        assert getattr(PredictOptions(**{name: "none"}), name) == (), "as on the command line"
    for wrong in (
        {"window": (1, 2, 3)},
        {"window": (0, 0, -1, 5)},
        {"window": "a,b,c,d"},
        {"window": (0, 0, 1.5, 5)},
        {"window": "1234"},
        {"bounds": "1,2,3"},
        {"bounds": "a,b,c,d"},
        {"bounds": (1, 2, 3, None)},
        {"bounds": (1, 2, math.nan, 4)},
        {"bounds": 5},
        {"vector_format": "kml"},
        {"vector_format": "gpkg,none"},
    ):
        with pytest.raises(OptionError):
            PredictOptions(**wrong)


def test_one_short_letter_means_one_thing():
    letters = [option.short for option in PREDICT if option.short]
    assert len(letters) == len(set(letters))


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_P27_a_config_that_is_no_file_is_never_read(tmp_path, kind):
    place = Path("/dev/zero")
    if kind == "pipe":
        place = tmp_path / "pipe"
        os.mkfifo(place)
    with pytest.raises(UsageError) as caught:
        settled({}, config=place)
    assert caught.value.id == "E-config-read"


@pytest.mark.parametrize("typed", ["25", "25m2", "25 m2", "25m²", "25 m²"])
def test_square_metres_may_be_written_in_every_way(typed):
    assert v.area("min_area", typed) == 25


@pytest.mark.parametrize("typed", ["25m", "25 ha", "m2", "25 m2 m2", "25m3", "2 5m2"])
def test_other_units_of_area_are_refused(typed):
    with pytest.raises(OptionError):
        v.area("min_area", typed)
