"""Folders and files that appear whole or not at all: written aside, forced to disk, then renamed.

A folder being written is locked by its writer. The lock dies with the process, so that `sweep`
tells what a killed writer left from what a living one still writes, whatever the process numbers.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vjepa_gym.errors import DatasetError


class Staging:
    """A place beside the final one, on the same file system, where folders are prepared."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep all other processes that stage here out of their own `lock`."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """Yield a new empty folder; on leaving it is removed unless it was renamed away."""
        with self.lock():
            path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))
            descriptor = os.open(path, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            path.chmod(0o755)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)

    @contextmanager
    def alone(self, patience: float = 10.0) -> Iterator[None]:
        """Keep all other processes out of their own `alone`, once the helpers of dead ones ended.

        Args:
            patience: How long to wait for these [s].

        Raises:
            DatasetError: Another process is at it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        with (self.path / "alone").open("w") as mine, (self.path / "helpers").open("w") as theirs:
            if not _seize(mine):
                raise DatasetError(f"{self.path}: another process is writing there; let it finish.")
            while not _seize(theirs):
                if time.monotonic() > deadline:
                    raise DatasetError(
                        f"{self.path}: processes of a run that was killed are still writing there."
                    )
                time.sleep(0.02)
            fcntl.flock(theirs, fcntl.LOCK_UN)
            yield

    def help(self) -> None:
        """Keep processes that begin to be `alone` waiting until this one has ended."""
        descriptor = os.open(self.path / "helpers", os.O_WRONLY | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def sweep(self) -> int:
        """Remove the folders whose writers are dead, and return how many there were."""
        if not self.path.is_dir():
            return 0
        with self.lock():
            left = [path for path in self.path.iterdir() if path.is_dir() and _abandoned(path)]
            for path in left:
                shutil.rmtree(path)
        return len(left)

    def replace(self, path: Path, text: str) -> None:
        """Write a file so that readers, and a crash, see the old or the new one but never a part.

        Only for who holds the `lock`; what a killed one left is overwritten by the next.
        """
        replace_file(path, text, self.path / f"{path.name}.new")


def publish(folder: Path, target: Path, root: Path) -> None:
    """Force `folder` to disk and rename it to `target`, which lies within `root`.

    Raises:
        OSError: `target` is there already, or the disk is full. What is at `target` is whole.
    """
    for path in [*folder.rglob("*"), folder]:
        synchronise(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    synchronise_above(target, root)


def synchronise_above(target: Path, root: Path) -> None:
    """Force to disk that `target` is there: the entries of all folders above, up to the root's."""
    for parent in target.parents:
        synchronise(parent)
        if parent == root.parent:
            break


def replace_file(path: Path, text: str, beside: Path | None = None) -> None:
    """Write a file so that readers, and a crash, see the old or the new one but never a part.

    Args:
        path: The file.
        text: What is to be in it.
        beside: Where to write it first, on the same file system; by default a hidden file beside.

    Raises:
        OSError: It could not be written; then the old one is as it was.
    """
    beside = beside or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        synchronise(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    synchronise(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file and force it to disk.

    Raises:
        OSError: It could not be written; then the file is as it was.
    """
    new = not path.exists()
    # Unbuffered, or what the disk did not take would be written once more on closing.
    with path.open("ab", buffering=0) as file:
        before, left = file.tell(), memoryview(line.encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    if new:
        synchronise(path.parent)


def synchronise(path: Path) -> None:
    """Force a file's bytes, or a directory's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False  # its writer, who lives, removed it in this moment
    try:
        return _seize(descriptor)
    finally:
        os.close(descriptor)


def _seize(file: IO[str] | int) -> bool:
    """Lock a file unless somebody else has; return whether that was possible."""
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
