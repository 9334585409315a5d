"""The command line itself: help, version, completion, streams, unknown words."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rsov import __version__
from rsov.cli import main
from rsov.commands.app import COMMANDS, app, flags_of
from rsov.errors import ExitCode
from tests.support.places import picture

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = {
    *("schema", "status", "exit_code", "run_id", "inputs", "outputs", "warnings", "errors"),
    *("metrics", "timing", "versions"),
}
"""Keys of every JSON document."""
ERROR = {"id", "message", "where", "why", "hint", "input", "exit_code"}
HEAVY = ("torch", "numba", "rasterio", "fiona", "numpy", "rich", "pydantic")


def process(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`rsov` as a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environ}
    return subprocess.run(
        [sys.executable, "-m", "rsov", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_command_collects_rarely_and_a_callers_process_as_before() -> None:
    code = """
import gc, rsov.cli
before = gc.get_threshold()
rsov.cli.main(["--version"])
assert gc.get_threshold() == before
rsov.cli._leave = lambda _: exit(gc.get_threshold() != rsov.cli.COLLECT)
rsov.cli.main()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code, "--version"], env=env, check=False).returncode == 0


def spent() -> float:
    """CPU seconds of all child processes: a wall clock would tell of this machine's load too."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_entry_point_loads_nothing_heavy():
    assert loaded_by("import rsov.cli") == set()
    assert loaded_by("import rsov.cli; rsov.cli.main(['--help'])") == set()


def test_help_of_predict_loads_nothing_heavy():
    assert loaded_by("import rsov.cli; rsov.cli.main(['predict', '--help'])") <= {"pydantic"}  # Typer's own


def test_help_answers_within_three_tenths_of_a_second():
    took = []
    for _ in range(3):
        before = spent()
        assert process("--help").returncode == 0
        took.append(spent() - before)
    assert min(took) < 0.3


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_plain_and_narrow(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*([command] if command else []), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: rsov")
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()
    assert "\x1b" not in out


def test_help_never_exceeds_a_hundred_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    assert main(["predict", "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_examples_in_the_help_are_calls_that_exist(command, capsys):
    assert main([command, "--help"] if command else ["--help"]) == 0
    lines = capsys.readouterr().out.partition("\nExamples:\n")[2].splitlines()
    calls = [
        call
        for line in lines
        if line.startswith("  ")
        for call in re.findall(r"\brsov ([a-z][^&$>()]*)", line)
    ]
    assert len(calls) >= 3
    for call in calls:
        name, *words = call.split()
        known = flags_of(name)
        assert [word for word in words if word.startswith("-") and word not in known] == []


def test_every_option_is_in_the_help(capsys):
    from rsov.commands.table import PREDICT

    main(["predict", "--help"])
    out = capsys.readouterr().out
    for option in PREDICT:
        assert (option.flags[-1].split("/")[0] in out) is not option.hidden


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rsov {__version__}\n"
    assert main(["-V"]) == 0


def test_no_arguments_show_the_help_and_fail(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: rsov")


def test_P25_prefixes_are_not_guessed_but_suggested(capsys):
    assert main(["predict", "a.tif", "-p", "forest", "--over"]) == 2
    err = capsys.readouterr().err
    assert "No such option: --over" in err
    assert "--overwrite" in err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["predcit"], "predict"),
        (["predict", "a.tif", "--promts", "x"], "--prompts"),
        (["predict", "a.tif", "--quick-look"], "--quicklook"),
        (["predict", "--vector-formt", "shp"], "--vector-format"),
        (["predict", "a.tif", "--format", "shp"], "--vector-format"),
        (["doctor", "--jsn"], "--json"),
    ],
)
def test_near_names_are_suggested(arguments, hint, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"did you mean {hint}?" in captured.err


@pytest.mark.parametrize("option", ["--gpu", "--batch", "--threshold", "--resume", "--of", "-f"])
def test_what_rsov_does_not_have_is_not_guessed(option, capsys):
    assert main(["predict", "a.tif", option]) == 2
    err = capsys.readouterr().err
    assert f"No such option: {option}\n" in err
    assert "did you mean" not in err


@pytest.mark.parametrize(
    ("arguments", "message", "where"),
    [
        (["predict", "a.tif", "-p"], "'-p' requires an argument", "-p WORDS: Classes"),
        (["predict", "a.tif", "--tile"], "'--tile' requires an argument", "--tile PX: Tile side"),
        (["predict", "a.tif", "--quicklook=1"], "'--quicklook' does not take a value", ""),
        (["train", "bundled"], "Missing option '--data'", "--data DIR: Folder of the data sets."),
    ],
)
def test_a_missing_value_is_told_with_what_the_option_takes(arguments, message, where, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert ("where:" in err) is bool(where)
    assert where in err


def test_two_recipes_are_one_too_many(capsys, tmp_path):
    arguments = ["--data", str(tmp_path), "-o", str(tmp_path / "own")]
    assert main(["train", "bundled", "a.toml", "--recipe", "b.toml", *arguments]) == 2
    assert "two recipes" in capsys.readouterr().err
    assert main(["train", "bundled", "a.toml", *arguments]) == 2
    assert "a.toml" in capsys.readouterr().err


def test_a_model_that_is_not_trained_here_is_told_before_its_options(capsys):
    assert main(["train", "nosuch"]) == 2
    assert "error[E-train-model]: no training for 'nosuch'" in capsys.readouterr().err


def test_long_names_with_one_dash_are_not_short_options(capsys):
    assert main(["predict", "a.tif", "-p", "forest", "-overwrite"]) == 2  # not -o verwrite
    assert "fix:   --overwrite" in capsys.readouterr().err
    assert main(["predict", "a.tif", "-prompts=forest"]) == 2
    assert "fix:   --prompts=forest" in capsys.readouterr().err


def test_a_picture_in_place_of_the_command(capsys):
    assert main(["ortho.tif", "-p", "forest"]) == 2
    assert "rsov predict ortho.tif --prompts" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "--json"],
        ["predict", "a.tif", "-p", "forest", "--json", "--nosuch"],
        ["predict", "no.tif", "-p", "forest", "--json", "--tile", "x"],
        ["predict", "no.tif", "-p", "forest,forest", "--json"],
        ["predict", "no.tif", "-p", "forest", "--json"],
    ],
)
def test_json_is_one_document_on_every_error(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main(arguments)
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["schema"] == "rsov/predict/1"
    assert document["status"] == "error"
    assert document["exit_code"] == code != 0
    assert document["errors"][0]["id"].startswith("E-")
    assert set(document) == DOCUMENT | {"maps"}
    assert set(document["errors"][0]) == ERROR
    assert "error[" in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (["doctor", "--json", "--nosuch"], "rsov/doctor/1"),
        (["train", "--json"], "rsov/train/1"),
        (["predcit", "--json"], "rsov/rsov/1"),
        (["completion", "--json", "tcsh"], "rsov/completion/1"),
    ],
)
def test_json_of_an_error_has_the_keys_of_all_commands(arguments, schema, capsys):
    code = main(arguments)
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["status"], document["exit_code"]) == (schema, "error", code)
    assert set(document) >= DOCUMENT
    assert [set(error) for error in document["errors"]] == [ERROR]


def test_json_may_be_asked_for_in_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("RSOV_JSON", "1")
    assert main(["predict", "a.tif"]) == 2
    assert json.loads(capsys.readouterr().out)["errors"][0]["id"] == "E-prompt-empty"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "_RSOV_COMPLETE" in capsys.readouterr().out


def test_completion_of_an_unknown_shell(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


def test_completion_answers():
    before = spent()
    done = process(_RSOV_COMPLETE="complete_bash", COMP_WORDS="rsov pre", COMP_CWORD="1")
    assert spent() - before < 0.5
    assert done.stdout.split() == ["predict"]
    done = process(_RSOV_COMPLETE="complete_bash", COMP_WORDS="rsov predict --conf", COMP_CWORD="2")
    assert set(done.stdout.split()) >= {"--confidence", "--config"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("predict --precision ", {"auto", "fp32", "bf16", "fp16"}),
        ("predict a.tif --precision f", {"fp32", "fp16"}),
        ("predict -d c", {"cpu", "cuda"}),
        ("predict --vector-format ", {"gpkg", "geojson", "fgb", "shp", "none"}),
        ("predict --vector-format gpkg,g", {"gpkg,geojson"}),
        ("predict --sensor landsat", {"landsat5", "landsat8"}),
        ("predict --model ", {"bundled"}),
        ("predict --progress ", {"auto", "bar", "plain", "none"}),
        ("predict --color ", {"auto", "always", "never"}),
        ("predict --gcp ", {"refuse", "warp", "keep", "ignore"}),
        ("predict --on-bad-block ", {"fail", "nodata"}),
        ("predict --prompts ", set()),  # the shell then offers files
        ("train ", {"bundled"}),
        ("completion ", {"bash", "zsh", "fish", "powershell"}),
    ],
)
def test_values_are_completed(words, answer, monkeypatch, capsys):
    monkeypatch.setenv("_RSOV_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"rsov {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"{words}|".split())))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert set(capsys.readouterr().out.split()) == answer


def test_every_value_that_is_completed_is_accepted():
    from rsov.commands.table import PREDICT

    offered = [(option, value) for option in PREDICT for value in option.offers()]
    assert len(offered) > 30
    for option, value in offered:
        option.convert(option.name, value)


def test_completion_loads_nothing_heavy():
    words = "COMP_WORDS='rsov predict --sensor l', COMP_CWORD='3', _RSOV_COMPLETE='complete_bash'"
    code = f"import os; os.environ.update({words})\nimport rsov.cli\ntry: rsov.cli.main([])\nexcept SystemExit: pass"
    assert loaded_by(code) <= {"pydantic"}


def test_no_escape_is_sent_without_colour():
    done = process("predict", "no.tif", "-p", "forest", NO_COLOR="1", FORCE_COLOR="1")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stdout == ""


def test_a_bug_is_two_lines_code_1_and_a_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RSOV_CACHE_DIR", str(tmp_path))
    import rsov.commands.predict as command

    def broken(*_, **__):
        raise ZeroDivisionError("https://user:secret@host/x?token=abc")

    monkeypatch.setattr(command, "settle", broken)
    assert main(["predict", "a.tif", "-p", "x"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert "ZeroDivisionError" in err
    assert "secret" not in err
    assert "abc" not in err
    text = (tmp_path / "last-error.txt").read_text()
    assert "Traceback" in text
    assert "secret" not in text
    assert (tmp_path / "last-error.txt").stat().st_mode & 0o777 == 0o600


def test_S27_tracebacks_show_no_locals():

    assert app.pretty_exceptions_show_locals is False
    assert app.pretty_exceptions_enable is False


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_help_that_cannot_be_written_is_no_success() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([sys.executable, "-m", "rsov", "--help"], env=env, stdout=full, check=False)
    assert done.returncode == ExitCode.OUTPUT


def test_a_current_folder_that_was_removed_is_a_wrong_call(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(["predict", str(tmp_path / "x.tif"), "-p", "forest"]) == 2
    assert "current folder" in capsys.readouterr().err


def test_a_current_folder_that_is_removed_during_a_run_is_no_fault_of_rsov(tmp_path, monkeypatch, capsys):
    from rsov.jobs.predict_map import MapJob

    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(MapJob, "preflight", lambda _: folder.rmdir())
    assert main(["predict", str(picture(tmp_path / "x.tif")), "-p", "forest"]) == 2
    assert "the current folder cannot be used" in capsys.readouterr().err
