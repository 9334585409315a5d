"""What killed runs leave is removed by the next run on the same output, and nothing else is (C37)."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rsov.jobs.predict_progress import Silent
from rsov.raster.leftovers import Fate, clear_leftovers, fate, leftovers
from rsov.raster.publish import Publication
from tests.support.maps import run
from tests.support.places import Watch, picture

if TYPE_CHECKING:
    import pytest

    from rsov.types import Notice

KILLED = """
import os, signal, sys
from pathlib import Path
from rsov.raster.publish import Publication
with Publication([Path(sys.argv[1])]) as publication:
    publication.scratch("labels.tif").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(output: Path) -> Path:
    """The folder that a run on ``output`` left when it was killed."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(output)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    (folder,) = leftovers(output.parent)
    return folder


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def note(self, message: str) -> None:
        self.all.append(message)

    def notice(self, notice: Notice) -> None:
        self.all.append(notice.message)


def test_C37_the_next_run_removes_what_a_killed_one_left_and_says_so(tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()
    out.mkdir()
    left = killed(out / "ortho_classes.tif")
    run(picture(tmp_path / "ortho.tif"), out, watcher=told)
    assert not leftovers(out)
    assert f"removed {left}, left by a run that was killed" in told.all


def test_C37_what_cannot_be_judged_is_named_with_the_command_to_remove_it(tmp_path: Path) -> None:
    left, told = tmp_path / ".ortho_classes.tif.rsov-0123456789ab.part", Told()
    left.mkdir()
    run(picture(tmp_path / "ortho.tif"), tmp_path, watcher=told)
    assert left.is_dir()
    assert any(f"rm -r -- {left}" in message for message in told.all)


def test_C37_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    left = killed(tmp_path / "ortho_classes.tif")
    run(picture(tmp_path / "ortho.tif"), tmp_path, dry_run=True)
    assert left.exists()


def test_C37_the_folder_of_a_live_run_and_that_of_another_output_stay(tmp_path: Path) -> None:
    killed(tmp_path / "other_classes.tif")
    output = tmp_path / "ortho_classes.tif"
    with Publication([output]):
        watch = Watch(tmp_path)
        assert clear_leftovers([output]) == ([], [])
        watch.unchanged()


def test_C37_where_nobody_can_be_sure_the_folder_stays_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "ortho_classes.tif"
    left = killed(output)
    assert fate(left) is Fate.DEAD
    watch = Watch(tmp_path)
    with monkeypatch.context() as there:
        there.setattr(platform, "node", lambda: "another-machine")
        assert clear_leftovers([output]) == ([], [left])
    watch.unchanged()
    (left / "old").mkdir()  # earlier outputs: it was killed while it replaced them
    assert clear_leftovers([output]) == ([], [left])
    (left / "old").rmdir()
    (left / "lock").unlink()
    assert clear_leftovers([output]) == ([], [left])
    os.mkfifo(left / "lock")  # by somebody else, in a folder that all may write: to read it would never end
    assert clear_leftovers([output]) == ([], [left])


def test_C37_a_file_system_without_locks_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)
    with Publication([tmp_path / "a.tif"]):
        (folder,) = leftovers(tmp_path)
        assert fate(folder) is Fate.UNSURE
    assert not leftovers(tmp_path)
