"""Outputs appear whole or not at all, whatever call of the system fails."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path

import pytest

from rsov.errors import ExitCode, OutputError
from rsov.raster.leftovers import PART_PATTERN, leftovers
from rsov.raster.publish import Files, Publication

ERRNOS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "ESTALE", "EINTR", "EFBIG")


class FaultyFiles(Files):
    """Counts the calls and fails at one of them; ``twice`` keeps failing at that kind of call."""

    def __init__(self, fail_at: int = 0, number: int = errno.EIO, *, done: bool = False) -> None:
        self.calls: list[str] = []
        self.slept = 0.0
        self._fail_at, self._number, self._done = fail_at, number, done

    def _call(self, name: str, action) -> None:
        self.calls.append(name)
        if len(self.calls) == self._fail_at:
            if self._done:
                action()
            raise OSError(self._number, os.strerror(self._number), name)
        action()

    def mkdir(self, path: Path, mode: int) -> None:
        self._call("mkdir", lambda: super(FaultyFiles, self).mkdir(path, mode))

    def sync(self, path: Path) -> None:
        self._call("sync", lambda: super(FaultyFiles, self).sync(path))

    def replace(self, source: Path, target: Path) -> None:
        self._call("replace", lambda: super(FaultyFiles, self).replace(source, target))

    def link(self, source: Path, target: Path) -> None:
        self._call("link", lambda: super(FaultyFiles, self).link(source, target))

    def unlink(self, path: Path) -> None:
        self._call("unlink", lambda: super(FaultyFiles, self).unlink(path))

    def write(self, path: Path, data: bytes) -> None:
        self._call("write", lambda: super(FaultyFiles, self).write(path, data))

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


NAMES = ("a_classes.tif", "a_classes.gpkg", "a_report.json")


def _publish(folder: Path, files: Files, text: bytes = b"new", *, overwrite: bool = True) -> None:
    outputs = [folder / name for name in NAMES]
    with Publication(outputs, overwrite=overwrite, files=files) as publication:
        for output in outputs:
            publication.write(output, text + output.name.encode())
        publication.commit()


def _contents(folder: Path) -> dict[str, bytes]:
    return (
        {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        if folder.exists()
        else {}
    )


def _old(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    for name in (*NAMES, "a_classes.tif.aux.xml", "a_classes.gpkg-wal"):
        (folder / name).write_bytes(b"old" + name.encode())
    return _contents(folder)


def _error_of(folder: Path, files: Files) -> OutputError | None:
    try:
        _publish(folder, files)
    except OutputError as error:
        return error
    return None


NEW = {name: b"new" + name.encode() for name in NAMES}


def test_outputs_appear_under_their_names_and_nothing_else_is_left(tmp_path: Path) -> None:
    _publish(tmp_path / "out", Files())
    assert _contents(tmp_path / "out") == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").glob(".*"))


def _good_calls(tmp_path: Path, *, with_old: bool) -> list[str]:
    files = FaultyFiles()
    if with_old:
        _old(tmp_path / "count")
    _publish(tmp_path / "count", files)
    return files.calls


@pytest.mark.parametrize("name", ERRNOS)
@pytest.mark.parametrize("with_old", [False, True], ids=["first", "overwrite"])
def test_C12_any_call_may_fail_with_any_error_and_old_outputs_stay(
    tmp_path: Path, name: str, with_old: bool
) -> None:
    """Also C08: whatever the n-th call answers, all outputs are new or all are as before."""
    calls = _good_calls(tmp_path, with_old=with_old)
    assert {"mkdir", "write", "sync", "replace"} <= set(calls)
    for n in range(1, len(calls) + 1):
        folder = tmp_path / f"{n}"
        before = _old(folder) if with_old else {}
        files = FaultyFiles(n, getattr(errno, name))
        error = _error_of(folder, files)
        if error is None:  # a call that may be repeated
            assert _contents(folder) == NEW, f"call {n}: {calls[n - 1]}"
            assert name == "EACCES"
        else:
            assert error.code is ExitCode.OUTPUT
            assert error.where
            assert error.fix
            assert _contents(folder) == before, f"call {n}: {calls[n - 1]}"
            assert folder.exists() == with_old
        assert not folder.exists() or not list(folder.glob(".*"))


@pytest.mark.parametrize("fault", ["write", "sync", "link", "replace"])
def test_C16_a_failure_while_replacing_leaves_the_old_outputs_bit_for_bit(tmp_path: Path, fault: str) -> None:
    calls = _good_calls(tmp_path, with_old=True)
    before = _old(tmp_path / "out")
    last = len(calls) - calls[::-1].index(fault)
    with pytest.raises(OutputError):
        _publish(tmp_path / "out", FaultyFiles(last, errno.ENOSPC))
    assert _contents(tmp_path / "out") == before


def test_C08_a_full_disk_is_told_with_place_and_room(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        _publish(tmp_path, FaultyFiles(2, errno.ENOSPC))
    assert caught.value.id == "E-output-full"
    assert re.search(r"[KMG]iB free", caught.value.why)
    assert caught.value.where == str(tmp_path / NAMES[0])


def test_C12_each_error_number_has_its_own_message(tmp_path: Path) -> None:
    ids = set()
    for name in (*ERRNOS, "EXDEV"):
        with pytest.raises(OutputError) as caught:
            _publish(tmp_path, FaultyFiles(2, getattr(errno, name)))
        ids.add(caught.value.id)
        assert os.strerror(getattr(errno, name)) in caught.value.why
    assert len(ids) == len(ERRNOS) + 1


def test_C13_a_failed_sync_loses_the_file_and_is_not_tried_again(tmp_path: Path) -> None:
    first_sync = _good_calls(tmp_path, with_old=False).index("sync") + 1
    files = FaultyFiles(first_sync, errno.EIO)
    with pytest.raises(OutputError):
        _publish(tmp_path / "out", files)
    assert files.calls.count("sync") == 1
    assert not (tmp_path / "out").exists()


def test_every_file_is_synced_before_the_first_rename_and_the_folder_after_the_last(tmp_path: Path) -> None:
    calls = _good_calls(tmp_path, with_old=False)
    renames = [index for index, call in enumerate(calls) if call == "replace"]
    syncs = [index for index, call in enumerate(calls) if call == "sync"]
    assert len(syncs) == len(NAMES) + 1
    assert max(syncs[:-1]) < min(renames)
    assert syncs[-1] > max(renames)


def test_the_report_is_renamed_last(tmp_path: Path) -> None:
    class Order(Files):
        names: list[str] = []  # noqa: RUF012 - one class a test

        def replace(self, source: Path, target: Path) -> None:
            self.names.append(target.name)
            super().replace(source, target)

    _publish(tmp_path, Order())
    assert Order.names == list(NAMES)


def test_C29_a_rename_whose_answer_got_lost_counts_as_done(tmp_path: Path) -> None:
    first_rename = _good_calls(tmp_path, with_old=False).index("replace") + 1
    _publish(tmp_path / "out", FaultyFiles(first_rename, errno.ENOENT, done=True))
    assert _contents(tmp_path / "out") == NEW


def test_C30_a_file_held_open_by_another_program_is_tried_again_for_a_while(tmp_path: Path) -> None:
    first_rename = _good_calls(tmp_path, with_old=False).index("replace") + 1
    files = FaultyFiles(first_rename, errno.EACCES)
    _publish(tmp_path / "out", files)
    assert files.slept > 0
    assert _contents(tmp_path / "out") == NEW


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_C31_a_folder_that_cannot_be_synced_is_no_fault(tmp_path: Path, number: int) -> None:
    calls = _good_calls(tmp_path, with_old=False)
    last_sync = len(calls) - calls[::-1].index("sync")
    _publish(tmp_path / "out", FaultyFiles(last_sync, number))
    assert _contents(tmp_path / "out") == NEW


def test_a_file_system_without_hard_links_can_be_overwritten(tmp_path: Path) -> None:
    calls = _good_calls(tmp_path, with_old=True)
    _old(tmp_path / "out")
    _publish(tmp_path / "out", FaultyFiles(calls.index("link") + 1, errno.EPERM))
    assert _contents(tmp_path / "out") == NEW


def test_without_hard_links_a_failure_brings_the_old_outputs_back(tmp_path: Path) -> None:
    class Unlinked(FaultyFiles):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "no hard links here")

    good = Unlinked()
    _old(tmp_path / "good")
    _publish(tmp_path / "good", good)
    before = _old(tmp_path / "out")
    for n in (n for n, call in enumerate(good.calls, 1) if call == "replace"):
        with pytest.raises(OutputError):
            _publish(tmp_path / "out", Unlinked(n, errno.ENOSPC))
        assert _contents(tmp_path / "out") == before, f"call {n}"


def test_C34_stale_sidecars_of_the_old_output_go(tmp_path: Path) -> None:
    stale = [
        *(f"a_classes.tif{end}" for end in (".aux.xml", ".ovr", ".msk")),
        *("a_classes.tfw", "a_classes.wld"),
        *(f"a_classes.gpkg{end}" for end in ("-wal", "-shm", "-journal")),
    ]
    for name in (*NAMES, *stale, "mine.tif.aux.xml"):
        (tmp_path / name).write_bytes(b"old")
    _publish(tmp_path, Files())
    assert _contents(tmp_path) == {**NEW, "mine.tif.aux.xml": b"old"}


def test_C34_a_reader_sees_the_old_file_or_the_new_one_whole(tmp_path: Path) -> None:
    target, texts = tmp_path / "a.bin", [bytes([value]) * 300_000 for value in range(6)]
    target.write_bytes(texts[0])
    seen: list[bytes] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(target.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for text in texts[1:]:
        with Publication([target], overwrite=True) as publication:
            publication.write(target, text)
            publication.commit()
    stop.set()
    reader.join()
    assert seen
    assert all(text in texts for text in seen)


def test_C35_a_shapefile_is_published_with_all_its_files_the_shp_last(tmp_path: Path) -> None:
    target = tmp_path / "a_classes.shp"
    for suffix in (".shp", ".dbf", ".qix"):
        target.with_suffix(suffix).write_bytes(b"old")
    with Publication([target], overwrite=True) as publication:
        part = publication.part(target)
        for suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg"):
            part.with_suffix(suffix).write_bytes(b"new")
        done = publication.commit()
    assert done[-1] == target
    assert {path.suffix: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        [".shp", ".shx", ".dbf", ".prj", ".cpg"], b"new"
    )


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027], ids=oct)
def test_C40_outputs_follow_the_umask_and_the_work_folder_is_private(tmp_path: Path, umask: int) -> None:
    target = tmp_path / "a.tif"
    before = os.umask(umask)
    try:
        with Publication([target]) as publication:
            publication.write(target, b"x")
            (hidden,) = tmp_path.iterdir()
            assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
            publication.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_C40_outputs_take_the_group_of_a_setgid_folder(tmp_path: Path) -> None:
    groups = [group for group in os.getgroups() if group != os.getgid()] or (
        [54321] if os.getuid() == 0 else []
    )
    if not groups:
        pytest.skip("this user has one group")
    os.chown(tmp_path, -1, groups[0])
    tmp_path.chmod(0o2775)
    with Publication([tmp_path / "a.tif"]) as publication:
        publication.write(tmp_path / "a.tif", b"x")
        publication.commit()
    assert (tmp_path / "a.tif").stat().st_gid == groups[0]


def test_S18_a_link_that_waits_under_the_work_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / ".a.tif.rsov-0123456789ab.part").symlink_to(victim)
    with pytest.raises(OutputError), Publication([tmp_path / "a.tif"], run="0123456789ab"):
        raise AssertionError("the folder must be refused")
    assert not list(victim.iterdir())


def test_S18_a_link_under_the_final_name_is_replaced_and_its_target_unchanged(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    target = tmp_path / "a.tif"
    target.symlink_to(victim)
    with Publication([target], overwrite=True) as publication:
        publication.write(target, b"new")
        publication.commit()
    assert victim.read_bytes() == b"precious"
    assert not target.is_symlink()
    assert target.read_bytes() == b"new"


def test_S19_work_lies_beside_the_output_whatever_TMPDIR_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir(mode=0o777)
    monkeypatch.setenv("TMPDIR", str(hostile))
    with Publication([tmp_path / "out" / "a.tif"]) as publication:
        assert (tmp_path / "out") in publication.scratch("work.tif").parents
        assert (tmp_path / "out") in publication.part(tmp_path / "out" / "a.tif").parents
    assert not list(hostile.iterdir())


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_ends_a_run_leaves_no_file(tmp_path: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop), Publication([tmp_path / "new" / "a.tif"]) as publication:  # noqa: PT012 - the block is what must fail
        publication.scratch("work.tif").write_bytes(b"x")
        publication.part(tmp_path / "new" / "a.tif").write_bytes(b"x")
        raise stop
    assert not list(tmp_path.iterdir())


def test_C36_a_failed_item_leaves_nothing_and_the_others_stay(tmp_path: Path) -> None:
    for index in range(3):
        target = tmp_path / f"{index}.tif"
        try:
            with Publication([target]) as publication:
                publication.write(target, b"x")
                if index == 1:
                    raise ValueError
                publication.commit()
        except ValueError:
            continue
    assert sorted(_contents(tmp_path)) == ["0.tif", "2.tif"]


def test_a_part_that_fails_its_check_is_not_published(tmp_path: Path) -> None:
    def refuse(part: Path) -> None:
        raise OutputError("E-output-damaged", "no")

    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    with pytest.raises(OutputError), Publication([good, bad]) as publication:  # noqa: PT012 - the block is what must fail
        publication.write(good, b"x")
        publication.part(bad, refuse).write_bytes(b"y")
        publication.commit()
    assert not list(tmp_path.iterdir())


def test_a_part_that_nobody_wrote_is_a_fault(tmp_path: Path) -> None:
    with (  # noqa: PT012 - the block is what must fail
        pytest.raises(OutputError, match="was not written"),
        Publication([tmp_path / "a.tif"]) as publication,
    ):
        publication.part(tmp_path / "a.tif")
        publication.commit()


def test_a_file_that_appeared_during_the_run_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.tif"
    with pytest.raises(OutputError) as caught, Publication([target]) as publication:  # noqa: PT012 - the block is what must fail
        publication.write(target, b"mine")
        target.write_bytes(b"theirs")
        publication.commit()
    assert caught.value.id == "E-output-exists"
    assert _contents(tmp_path) == {"a.tif": b"theirs"}


def test_leftovers_of_killed_runs_are_recognised_by_their_name(tmp_path: Path) -> None:
    publication = Publication([tmp_path / ("ü" * 120 + ".tif")])
    publication.__enter__()  # as a killed run: never left
    (tmp_path / "a.part").mkdir()
    (found,) = leftovers(tmp_path)
    assert PART_PATTERN.match(found.name)
    publication.discard()
    assert not leftovers(tmp_path)


def test_T1_of_all_that_makes_outputs_one_module_renames_and_syncs() -> None:
    package = Path(__file__).resolve().parent.parent / "rsov"
    makers = [
        path
        for folder in ("raster", "vector", "report", "engine")
        for path in (package / folder).rglob("*.py")
    ]
    makers += [*(package / "jobs").glob("*.py"), *(package / "commands").glob("*.py")]
    users = [
        path.name for path in makers if re.search(r"os\.(replace|rename|fsync)\(", path.read_text("utf-8"))
    ]
    assert users == ["publish.py"]
