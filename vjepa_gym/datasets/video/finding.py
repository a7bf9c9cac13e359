"""Files of some kinds anywhere below a folder."""

import os
from collections.abc import Collection
from pathlib import Path

from vjepa_gym.errors import DatasetError


def find_files(root: Path, suffixes: Collection[str]) -> list[str]:
    """Return the paths below `root` of all files with one of the suffixes, sorted.

    Links are followed, a folder is entered once however many lead to it, and what is hidden is
    left aside: a copy from some systems has a `._video.mp4` for each `video.mp4`.

    Args:
        root: The folder.
        suffixes: In lower case, such as `.mp4`; those of files may be in any.

    Raises:
        DatasetError: A folder cannot be read.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        about = Path(folder).stat()
        if (about.st_dev, about.st_ino) in entered:
            folders.clear()
            continue
        entered.add((about.st_dev, about.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root)
        found += [
            (below / name).as_posix()
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122
        ]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: the folder cannot be read: {error.strerror}.")
