"""What lies below a dataset's root: its episodes, and whatever is no part of one."""

import fcntl
import os
import shlex
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.audit.findings import NO_TRAJECTORY, Finding

OF_OURS = ("index.jsonl", "collection.json")
"""Either tells a dataset of ours."""
LISTS = frozenset({*OF_OURS, "droid_paths.csv"})
"""Files of ours in the root of a dataset."""
READ_BY_PEOPLE = (".md", ".txt", "license")
"""How the names of files end, in lower case, that nobody wonders about."""
VIDEOS = (".mp4", ".svo")
SPACE = "space_in_path"
MOST_STRAY_FILES = 100
"""So many files that belong to nothing are named, of the others only how many there are."""


@dataclass(kw_only=True)
class Tree:
    """What lies below a root.

    Attributes:
        root: The dataset.
        episodes: Each folder with a `trajectory.h5`, once, whichever links lead there; sorted.
        findings: What is wrong with the tree itself.
    """

    root: Path
    episodes: list[Path] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """Return how findings call a path."""
        path, root = path.absolute(), self.root.absolute()
        return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

    def note(self, kind: str, path: Path, detail: str) -> None:
        """Add a finding, whose detail becomes a sentence."""
        detail = f"{detail.removesuffix('.')}."
        self.findings.append(Finding(kind=kind, path=self.name(path), detail=detail))


def walk_dataset(root: Path) -> Tree:
    """Look at the names of all files below `root`; none is read.

    Raises:
        DatasetError: `root` is no folder, or is not one dataset in DROID's layout.
    """
    if not root.is_dir():
        raise DatasetError(
            f"{root}: {'not a folder' if root.exists() else 'not found'}; expected the folder of a "
            "dataset in DROID's raw layout, or that of one of its episodes."
        )
    _refuse_others(root)
    tree = Tree(root=root)
    stray = _walk(tree)
    tree.episodes.sort()
    for path in sorted(stray)[:MOST_STRAY_FILES]:
        tree.note("belongs_to_nothing", path, "no trajectory.h5 beside or above it")
    if len(stray) > MOST_STRAY_FILES:
        tree.note("belongs_to_nothing", root, f"and {len(stray) - MOST_STRAY_FILES} more files")
    if not tree.episodes:
        tree.note(
            "empty",
            root,
            "no trajectory.h5 anywhere below it; expected "
            "<lab>/<success|failure>/<date>/<time>/trajectory.h5",
        )
    if " " in str(root.absolute()):
        tree.note(SPACE, root, f"{str(root.absolute())!r} has a blank")
    _look_beside(tree)
    return tree


def _refuse_others(root: Path) -> None:
    """Raise `DatasetError` for a dataset of LeRobot's, and for a folder of several datasets."""
    if (root / "meta/info.json").is_file():
        raise DatasetError(
            f"{root}: is in LeRobot's format, and only DROID's raw layout can be audited; "
            f"`vjepa-gym convert {shlex.quote(str(root))} job.to=droid` makes that of it."
        )
    if any((root / name).is_file() for name in LISTS):
        return
    datasets = sorted({path.parent.name for name in OF_OURS for path in root.glob(f"*/{name}")})
    if len(datasets) > 1:
        raise DatasetError(
            f"{root}: holds several datasets, and one at a time can be audited: "
            f"{', '.join(datasets)}."
        )


def _walk(tree: Tree) -> list[Path]:
    """Add the episodes, and return the files that belong to none."""
    folders, links = deque([(tree.root, False)]), deque[tuple[Path, bool]]()
    visited: set[tuple[int, int]] = set()
    stray: list[Path] = []
    while folders or links:
        # An episode is called by its own path rather than by a link to it.
        folder, owned = (folders or links).popleft()
        try:
            status = folder.stat()
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            tree.note("unreadable_folder", folder, error.strerror or str(error))
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        owned = _is_episode(tree, folder, found) or owned or _should_be_one(tree, folder, found)
        for entry in found:
            path = folder / entry.name
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append((path, owned))
            elif not (owned or _expected(tree, path)):
                stray.append(path)
    return stray


def _is_episode(tree: Tree, folder: Path, found: list[os.DirEntry[str]]) -> bool:
    if all(entry.name != "trajectory.h5" for entry in found):
        return False
    tree.episodes.append(folder)
    return True


def _should_be_one(tree: Tree, folder: Path, found: list[os.DirEntry[str]]) -> bool:
    """Return whether a folder holds parts of an episode; what lies in and below it is its own."""
    parts = [
        entry.name
        for entry in found
        if entry.name == "recordings"
        or entry.name.endswith(VIDEOS)
        or (entry.name.startswith("metadata_") and entry.name.endswith(".json"))
    ]
    if parts:
        tree.note(NO_TRAJECTORY, folder, f"there is {', '.join(parts[:3])}, but no trajectory.h5")
    return bool(parts)


def _expected(tree: Tree, path: Path) -> bool:
    if path.parent == tree.root and path.name in LISTS:
        return True
    return path.name.lower().endswith(READ_BY_PEOPLE)


def _look_beside(tree: Tree) -> None:
    """What writers left in the folders beside the root."""
    root = tree.root.absolute()
    for folder in _folders(root.with_name(f"{root.name}.staging")):
        if _locked(folder):
            tree.note("being_written", folder, "its writer is alive")
        else:
            tree.note("unfinished", folder, "its writer is dead; the next `collect` removes it")
    for description in root.with_name(f"{root.name}.damaged").rglob("trajectory.h5"):
        tree.note("set_aside", description.parent, "`collect` records such episodes again")


def _folders(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(folder for folder in path.iterdir() if folder.is_dir())


def _locked(folder: Path) -> bool:
    """Return whether `datasets.staging.Staging` is at work in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
