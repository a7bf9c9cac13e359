"""Folders that appear whole or not at all: written aside, forced to disk, then renamed.

A folder being written is locked by its writer. The lock dies with the process, so that `sweep`
tells what a killed writer left from what a living one still writes, whatever the process numbers.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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

    def sweep(self) -> int:
        """Remove the folders whose writers are dead, and return how many there were."""
        if not self.path.is_dir():
            return 0
        with self.lock():
            left = [path for path in self.path.iterdir() if path.is_dir() and _abandoned(path)]
            for path in left:
                shutil.rmtree(path)
        return len(left)


def publish(folder: Path, target: Path, root: Path) -> None:
    """Force `folder` to disk and rename it to `target`, which lies within `root`.

    Raises:
        OSError: `target` is there already.
    """
    for path in [*folder.rglob("*"), folder]:
        synchronise(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    # The new directory entries too, up to the root's own.
    for parent in target.parents:
        synchronise(parent)
        if parent == root.parent:
            break


def replace_file(path: Path, text: str) -> None:
    """Write a file so that readers, and a crash, see the old or the new one but never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    synchronise(beside)
    beside.replace(path)
    synchronise(path.parent)


def synchronise(path: Path) -> None:
    """Force a file's bytes, or a directory's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _abandoned(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False
    finally:
        os.close(descriptor)
