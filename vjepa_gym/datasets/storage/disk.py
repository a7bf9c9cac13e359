"""A disk that is full, said so that one knows what to do."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from av.error import FFmpegError

from vjepa_gym.errors import DatasetError

FULL = (errno.ENOSPC, errno.EDQUOT)
BESIDES = 65_536
"""What the files and folders of an episode take besides their contents, in blocks [bytes]."""


class DiskFullError(DatasetError):
    """What was to be written does not fit on the disk; what is there is whole."""


def free_bytes(path: Path) -> int:
    """Return how much room there is where `path` lies, or will lie [bytes]."""
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def is_full(error: BaseException) -> bool:
    """Return whether a disk or a quota that is full is what an error is about."""
    if isinstance(error, DiskFullError) or getattr(error, "errno", None) in FULL:
        return True
    # HDF5 says so in words only.
    said = (f"errno = {number}," in str(error) for number in FULL)
    return any(said) or (error.__context__ is not None and is_full(error.__context__))


@contextmanager
def told_if_full(root: Path, needed: Callable[[], int]) -> Iterator[None]:
    """Say what is missing if the disk is full.

    Args:
        root: The dataset.
        needed: Returns how much is to be written, as far as is known [bytes].

    Raises:
        DiskFullError: The disk, or a quota, is full.
    """
    try:
        yield
    except (OSError, RuntimeError, FFmpegError, DiskFullError) as error:
        if not is_full(error):
            raise
        raise DiskFullError(shortage(root, needed())) from error


def shortage(root: Path, needed: int) -> str:
    """Return what to say where `needed` bytes do not fit."""
    free, needed = free_bytes(root), needed + BESIDES
    missing = f"{needed - free:,} bytes are missing" if needed > free else "a quota may be used up"
    return (
        f"{root}: the disk is full: about {needed:,} bytes are still needed, {free:,} are free: "
        f"{missing}. The episodes there are whole, and the same command goes on with them."
    )
