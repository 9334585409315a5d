"""Ctrl-C, SIGTERM, SIGHUP and a closed pipe: the code, in time, and nothing left (C03-C05)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rsov.commands.signals import stopping
from rsov.errors import ExitCode, Interrupted
from rsov.jobs.predict import predict
from rsov.jobs.stop import Stop
from tests.support.models import ColourSegmenter
from tests.support.places import Watch, picture

ROOT = Path(__file__).resolve().parent.parent
DRIVER = """
import hashlib, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a job in the background inherits them ignored
    signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
import rsov.models.registry as registry
from rsov.cli import main
from tests.support.models import ColourSegmenter

class Slow(ColourSegmenter):
    def features(self, pixels):
        if len(self.calls) == 1:
            print("running", file=sys.stderr, flush=True)
            {pause}
        return super().features(pixels)

registry.model_card = lambda *_: Slow().card
registry.load_segmenter = lambda *_: Slow()
sys.exit(main())
"""
BLOCKED = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)"
"""Half a minute outside of Python, as a long call of torch: no bytecode, so no Python handler, runs."""


def started(folder: Path, pause: str, *arguments: str) -> subprocess.Popen[str]:
    """`rsov predict` in a process that has run one tile."""
    picture(folder / "ortho.tif", 320, 320)
    command = [
        sys.executable,
        "-c",
        DRIVER.format(pause=pause),
        "predict",
        "ortho.tif",
        "-p",
        "forest,road",
        *arguments,
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "running" in line:
            return process
    raise AssertionError(f"ended with {process.wait()}")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_C03_C04_C05_a_signal_stops_between_tiles(number, code, tmp_path):
    process = started(tmp_path, "time.sleep(1)")
    since = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - since < 8
    assert out == ""
    assert "stopped" in err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"ortho.tif"}


@pytest.mark.slow
def test_C03_a_signal_acts_within_eight_seconds_inside_one_long_call(tmp_path):
    process = started(tmp_path, BLOCKED)
    since = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - since < 8
    assert {path.name for path in tmp_path.iterdir()} == {"ortho.tif"}


@pytest.mark.slow
def test_C04_a_second_ctrl_c_ends_at_once(tmp_path):
    process = started(tmp_path, BLOCKED)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    since = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - since < 3
    assert {path.name for path in tmp_path.iterdir()} == {"ortho.tif"}


def test_C03_nothing_is_waited_for_once_the_command_has_stopped():
    code = """
import atexit, sys, time
import rsov.cli as cli
atexit.register(time.sleep, 60)
cli._run = lambda arguments: print("stopped") or 143
cli.main()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (143, "stopped\n")


EARLY = """
import os, signal, sys
signal.signal(signal.SIGINT, {handler})
def imported(event, arguments):
    if event == "import" and arguments[0] == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(imported)
from rsov.cli import main
sys.exit(main())
"""


def interrupted_at(module: str, folder: Path, handler: str = "signal.default_int_handler"):
    """`rsov predict --dry-run`, with Ctrl-C at the moment when it starts to import a module."""
    picture(folder / "ortho.tif", 64, 64)
    code = EARLY.format(module=module, handler=handler)
    return subprocess.run(
        [sys.executable, "-c", code, "predict", "ortho.tif", "-p", "forest", "-n"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["rsov.term", "typer", "rsov.commands.settings", "rasterio"])
def test_C04_ctrl_c_while_modules_are_loaded_is_130_and_no_traceback(module, tmp_path):
    done = interrupted_at(module, tmp_path)
    assert done.returncode == 130
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "stopped" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_C04_where_the_parent_ignores_ctrl_c_it_stays_ignored(tmp_path):
    assert interrupted_at("typer", tmp_path, "signal.SIG_IGN").returncode == 0


def test_C05_a_closed_pipe_is_141_and_silent(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "rsov", "completion", "bash"]
    done = subprocess.run(
        command, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_signals_set_the_stop_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    stop, said = Stop(), []
    with stopping(stop, said.append):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.event.wait(5)
    assert stop.exit_code is ExitCode.TERMINATED
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "step",
    [
        "rsov.raster.preflight.check_source",
        "rsov.raster.scene_open.take_sample",
        "rsov.jobs.predict_map.import_torch",
    ],
)
def test_C03_a_stop_is_heard_while_the_picture_is_looked_at(step, tmp_path, monkeypatch):
    stop, end, out = Stop(), threading.Event(), tmp_path / "out"
    out.mkdir()

    def long_call(*_args, **_options):
        stop.request(ExitCode.TERMINATED)
        end.wait(20)

    monkeypatch.setattr(step, long_call)
    pictures = [picture(tmp_path / name, 64, 64) for name in ("a.tif", "b.tif")]
    since = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        predict(pictures, "forest", out=out, model=ColourSegmenter(), stop=stop)
    took = time.monotonic() - since
    end.set()
    assert took < 15
    assert caught.value.exit_code == ExitCode.TERMINATED
    assert not list(out.iterdir())


def test_what_is_done_aside_comes_back_with_its_errors():
    stop = Stop()
    assert stop.aside(lambda: threading.current_thread().name) == "aside"
    with pytest.raises(TimeoutError, match="its own"):
        stop.aside(lambda: (_ for _ in ()).throw(TimeoutError("its own")))


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stopping(stop, print):
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.event.wait(0.2)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_of_the_main_thread_nothing_is_installed():
    seen = []

    def inside():
        with stopping(Stop(), print):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_what_a_job_has_on_disk_goes_when_it_is_abandoned(tmp_path):
    from rsov.raster.publish import Publication

    stop, watch = Stop(), Watch(tmp_path)
    publication = Publication([tmp_path / "x.tif"])
    with publication, stop.removing(publication.discard):
        publication.part(tmp_path / "x.tif").write_bytes(b"half")
        stop.abandon()
        watch.unchanged()


@pytest.mark.parametrize(
    ("streams", "code"), [(">&-", 0), ("2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 5)]
)
def test_C05_closed_and_full_streams_are_no_bug(tmp_path, streams, code):
    picture(tmp_path / "ortho.tif", 64, 64)
    script = [sys.executable, "-c", DRIVER.format(pause="pass"), "predict", "ortho.tif", "-p", "forest,road"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {streams}', "sh", *script],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert (tmp_path / "ortho_report.json").is_file()
