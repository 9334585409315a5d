"""Outputs appear whole or not at all: the one place that renames, syncs and removes final files.

A run writes everything into one private folder beside its outputs, ``.<name>.rsov-<run>.part/``
(mode 0700, made by ``mkdir``, so no link can wait there and nobody else can reach in), under the
final file names. When every file is written it is verified, synced, and moved to its final place
by ``os.replace`` in the order of the plan, the report last. Whatever fails before the end, the
folder goes and what stood there before stands there again.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Self

from rsov.errors import OutputError
from rsov.raster.faults import writing
from rsov.raster.leftovers import OLD, hold, part_folder
from rsov.raster.outputs import check_outputs, companions, stale_sidecars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

RENAME_TRIES = 10
RENAME_PAUSE_S = 0.5
"""A viewer or a virus scanner holds a file for moments; ten half seconds outlast them."""

COMMIT_S = 1.0
"""A stop waits this long for renames under way; they take milliseconds."""

NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}
"""What file systems answer that cannot sync a folder (SMB, FUSE); the rename stands all the same."""

NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}
"""What file systems answer that have no hard links (FAT, some network shares)."""


class Files:
    """The system calls used here; tests put a layer that fails in its place."""

    def mkdir(self, path: Path, mode: int) -> None:
        """Make a folder; it must not exist."""
        path.mkdir(mode)

    def sync(self, path: Path) -> None:
        """Force a file or a folder to the disk."""
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file onto a name, in one step."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def write(self, path: Path, data: bytes) -> None:
        """Write a new file; it must not exist."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(path, flags, 0o666), "wb") as out:
            out.write(data)

    def remove_tree(self, path: Path) -> None:
        """Remove a folder with what is in it, as far as that goes."""
        shutil.rmtree(path, ignore_errors=True)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass
class _Item:
    final: Path
    part: Path
    verify: Callable[[Path], None] | None = None


@dataclass
class _Undo:
    """What turns the folder back to how it was; run in reverse order."""

    steps: list[Callable[[], None]] = field(default_factory=list)

    def run(self) -> None:
        for step in reversed(self.steps):
            with contextlib.suppress(OSError):
                step()


class Publication:
    """Collects the outputs of one run and makes all of them final, or none.

    Args:
        outputs: all final paths, in the order in which they appear; the report is the last.
        overwrite: replace what exists.
        run: the run's id, twelve hexadecimal digits; drawn when empty.
        files: the system calls.

    Raises:
        OutputError: a folder cannot be made or written.

    Use as a context manager. Leaving it in any way other than after :meth:`commit` removes every
    trace of the run; :meth:`discard` does so from another thread.
    """

    def __init__(
        self, outputs: Sequence[Path], *, overwrite: bool = False, run: str = "", files: Files | None = None
    ) -> None:
        self.run = run or new_run_id()
        self._outputs = tuple(outputs)
        self._overwrite = overwrite
        self._files = files or Files()
        self._folders: dict[Path, Path] = {}
        self._locks: list[IO[bytes]] = []
        self._made: list[Path] = []
        self._items: dict[Path, _Item] = {}
        self._committing = threading.Lock()

    def __enter__(self) -> Self:
        try:
            for path in self._outputs:
                self._open_folder(path)
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def part(self, path: Path, verify: Callable[[Path], None] | None = None) -> Path:
        """Where to write the output ``path`` for now; ``verify`` is called with it before it is published."""
        if path not in self._outputs:
            raise ValueError(f"{path} is not an output of this run")
        part = self._folders[path.parent] / path.name
        self._items[path] = _Item(path, part, verify)
        return part

    def scratch(self, name: str) -> Path:
        """A path for a file of this run that is never published; beside the first output."""
        folder = self._folders[self._outputs[0].parent] / "scratch"
        with writing(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder / name

    def write(self, path: Path, data: bytes) -> None:
        """Write a whole output at once."""

        def verify(part: Path) -> None:
            with writing(path):
                if part.read_bytes() != data:
                    raise OutputError.damaged(path, "it reads back differently")

        part = self.part(path, verify)
        with writing(path):
            self._files.write(part, data)

    def commit(self) -> list[Path]:
        """Verify, sync and rename all parts in the order of the plan.

        Returns:
            The published files, those beside a Shapefile included.

        Raises:
            OutputError: a part is missing or damaged, or the disk or the system refuses; then the
                folder is as it was before the run.
        """
        items = [self._items[path] for path in self._outputs if path in self._items]
        for item in items:
            if not item.part.is_file():
                raise OutputError("E-output-lost", f"{item.final} was not written", where=str(item.final))
            if item.verify is not None:
                item.verify(item.part)
        moves = [pair for item in items for pair in _moves(item)]
        for part, final in moves:
            with writing(final):
                self._files.sync(part)
        with self._committing:
            self._publish_all(items, moves)
        return [final for _, final in moves]

    def discard(self) -> None:
        """Remove all that this run has not published. Safe to call at any time, more than once."""
        if not self._committing.acquire(timeout=COMMIT_S):
            return  # called while another thread renames: what is left there is found as a leftover
        try:
            for lock in self._locks:  # network shares keep the folder of an open file
                lock.close()
            for part in list(self._folders.values()):
                self._files.remove_tree(part)
            for folder in self._made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        finally:
            self._committing.release()

    def _publish_all(self, items: Sequence[_Item], moves: Sequence[tuple[Path, Path]]) -> None:
        undo = _Undo()
        try:
            if not self._overwrite:
                check_outputs([item.final for item in items], probe=False)
            for item in items:
                self._set_aside_stale(item.final, {final for _, final in moves}, undo)
            for part, final in moves:
                with writing(final):
                    self._publish(part, final, undo)
            for folder in self._folders:
                with writing(folder):
                    self._sync_folder(folder)
        except BaseException:
            undo.run()
            raise
        self._made.clear()

    def _open_folder(self, path: Path) -> None:
        folder = path.parent
        if folder in self._folders:
            return
        with writing(folder):
            if not folder.exists():
                self._files.mkdir(folder, 0o777)
                self._made.append(folder)
            part = part_folder(path, self.run)
            self._files.mkdir(part, 0o700)
            self._folders[folder] = part
            self._locks.append(hold(part))

    def _aside(self, final: Path) -> Path:
        folder = self._folders[final.parent] / OLD
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / final.name

    def _set_aside_stale(self, final: Path, published: set[Path], undo: _Undo) -> None:
        """Take away what would be applied to the new file: statistics, overviews, logs of the old one."""
        for stale in stale_sidecars(final):
            if stale in published:
                continue
            with writing(stale):
                kept = self._aside(stale)
                self._files.replace(stale, kept)
                undo.steps.append(functools.partial(self._files.replace, kept, stale))

    def _publish(self, part: Path, final: Path, undo: _Undo) -> None:
        if os.path.lexists(final):
            kept = self._aside(final)
            try:
                self._files.link(final, kept)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                self._files.replace(final, kept)  # for a moment there is no file of that name
            undo.steps.append(lambda: self._files.replace(kept, final))
        else:
            undo.steps.append(lambda: self._files.unlink(final))
        self._replace(part, final)

    def _replace(self, part: Path, final: Path) -> None:
        wanted = part.stat()
        for attempt in range(RENAME_TRIES):
            try:
                self._files.replace(part, final)
            except OSError as error:
                if _is_file(final, wanted):  # done, and only the answer got lost (NFS)
                    return
                if not isinstance(error, PermissionError) or attempt + 1 == RENAME_TRIES:
                    raise
                self._files.sleep(RENAME_PAUSE_S)
            else:
                return

    def _sync_folder(self, folder: Path) -> None:
        try:
            self._files.sync(folder)
        except OSError as error:
            if error.errno not in NO_FOLDER_SYNC:
                raise


def new_run_id() -> str:
    """Twelve random hexadecimal digits."""
    return secrets.token_hex(6)


def _moves(item: _Item) -> Iterator[tuple[Path, Path]]:
    """Files to rename for an output: what belongs to it first, itself last."""
    for part, final in zip(companions(item.part), companions(item.final), strict=True):
        if part.is_file():
            yield part, final
    yield item.part, item.final


def _is_file(path: Path, wanted: os.stat_result) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_ino, found.st_dev, found.st_size) == (wanted.st_ino, wanted.st_dev, wanted.st_size)
