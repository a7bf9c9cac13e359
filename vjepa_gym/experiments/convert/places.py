"""Where a conversion reads from and writes to, checked before anything is written."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path

from vjepa_gym.datasets.droid.layout import find_folders
from vjepa_gym.datasets.storage.disk import free_bytes
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.progress import size

ENDINGS = {"lerobot": ".lerobot", "droid": ".droid", "robomimic": ".robomimic.hdf5"}
"""What a target beside the source is called."""
KEPT = (".mp4", ".h5", ".npz", ".json")
"""The files of an episode that its LeRobot form has too."""


def layout_of(source: Path) -> str:
    """Return `droid`, `lerobot` or `robomimic`.

    Raises:
        DatasetError: It is neither, or not there.
    """
    if not source.exists():
        near = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        close = difflib.get_close_matches(source.name, near, n=1)
        hint = f" Did you mean {source.with_name(close[0])}?" if close else ""
        raise DatasetError(f"{source}: there is no such dataset.{hint}")
    if source.is_file():
        if source.suffix in (".hdf5", ".h5"):
            return "robomimic"
        raise DatasetError(f"{source}: expected a dataset's folder, found a file.")
    if (source / "meta/info.json").is_file():
        return "lerobot"
    if not find_folders(source):
        raise DatasetError(
            f"{source}: no trajectory.h5 anywhere below it, as DROID's layout has, and no "
            "meta/info.json, as LeRobot's."
        )
    return "droid"


def check_source(source: Path, to: str) -> None:
    """Check that `source` can be converted to the format `to`.

    Raises:
        DatasetError: It cannot; the message says what can be done instead.
    """
    layout = layout_of(source)
    if layout == "robomimic":
        raise DatasetError(
            f"{source}: nothing leads back from a file for robomimic; convert the dataset that it "
            "was made of."
        )
    if layout == to:
        name = {"droid": "DROID's layout", "lerobot": "LeRobot's format"}[to]
        others = "lerobot, robomimic or cache" if to == "droid" else "droid"
        raise DatasetError(f"{source}: is in {name} already; job.to={others} would change it.")
    if layout == "lerobot" and to != "droid":
        made = beside(source, "droid")
        raise DatasetError(
            f"{source}: is in LeRobot's format, from which job.to=droid leads; then convert that: "
            f"vjepa-gym convert {source} {made} job.to=droid"
        )


def beside(source: Path, to: str) -> Path:
    """Return where a dataset in the format `to` lies unless told otherwise."""
    name = source.absolute().name.removesuffix(ENDINGS["lerobot"]).removesuffix(ENDINGS["droid"])
    return source.absolute().with_name(name + ENDINGS[to])


def check_target(source: Path, target: Path, to: str) -> None:
    """Check that a dataset may come to be at `target`.

    Raises:
        DatasetError: There is something, or it lies where it would be taken for part of `source`.
    """
    here, there = source.resolve(), target.resolve()
    if here == there:
        raise DatasetError(f"{target}: is the source itself; name another target.")
    if here in there.parents:
        raise DatasetError(
            f"{target}: lies within the source, whose readers look through every folder below "
            f"it; {beside(source, to)} would do."
        )
    for parent in there.parents:
        if (parent / "index.jsonl").is_file() or (parent / "meta/info.json").is_file():
            raise DatasetError(f"{target}: lies within the dataset {parent}; name another target.")
    if to == "robomimic":
        if target.is_dir():
            raise DatasetError(
                f"{target}: is a folder, and robomimic's is one file; {target / 'data.hdf5'} "
                "would do."
            )
        if target.exists():
            raise DatasetError(f"{target}: is there already; remove it, or name another file.")
        return
    if target.is_file():
        raise DatasetError(f"{target}: is a file, and a folder is to be made; name another target.")
    # A conversion to DROID's layout goes on where it was broken off.
    resumed = to == "droid" and (target / "index.jsonl").is_file()
    if target.is_dir() and any(target.iterdir()) and not resumed:
        raise DatasetError(f"{target}: is not empty; empty it, or name another target.")


def check_room(target: Path, needed: int) -> None:
    """Check that `needed` bytes fit where `target` is to be.

    Raises:
        DatasetError: They do not.
    """
    free = free_bytes(target.absolute())
    if needed > free:
        raise DatasetError(
            f"{target}: about {size(needed)} are needed and {size(free)} are free there; make room "
            "or name a target on another disk."
        )


def kept_bytes(folders: Iterable[Path]) -> int:
    """Return how large those files of episodes are that are copied rather than left behind."""
    files = (path for folder in folders for path in folder.rglob("*"))
    return sum(
        path.stat().st_size
        for path in files
        if path.suffix in KEPT and not path.stem.endswith("-stereo")
    )


def bytes_at(place: Path) -> int:
    """Return how large a file, or all below a folder, is [bytes]."""
    files = (path for path in (place, *place.rglob("*")) if path.is_file())
    return sum(path.stat().st_size for path in files)


def lerobot_count(source: Path) -> int:
    """Return how many episodes a LeRobot dataset says that it has.

    Raises:
        DatasetError: Its description is damaged.
    """
    path = source / "meta/info.json"
    try:
        return int(json.loads(path.read_bytes())["total_episodes"])
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{path}: expected whole JSON with total_episodes, but {error}."
        ) from error
