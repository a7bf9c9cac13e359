"""Where a collection goes: whether that is ours, what it was begun with, and whether it fits."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vjepa_gym.datasets.storage.disk import existing, free_bytes
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.progress import size
from vjepa_gym.images import image_shape

SETTINGS = "collection.json"
"""What the episodes beside it were collected with."""
SINCE: Mapping[str, Any] = {"cameras": ["left"], "record_hz": None, "header": "physical"}
"""Settings that older files lack, and what they were then."""
BYTES_A_PIXEL, BYTES_A_PIXEL_WITHIN_MOVES = 0.1, 0.045
BYTES_A_ROW, BYTES_AN_EPISODE = 1500, 70_000
SECONDS_A_MOVE = 0.25
"""What a guess of an episode's size is made of: a little more than three views of 320 x 180 px took
when all varied that can."""


def check_root(root: Path) -> None:
    """Do nothing if a collection may begin or go on at `root`; nothing is written.

    Raises:
        DatasetError: Something else is there, or it cannot be written to.
    """
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root} is a file; a collection needs a folder, or a name for one.")
    held = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    if held and SETTINGS not in held:
        shown = ", ".join(held[:5]) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
        raise DatasetError(
            f"{root} holds something that was not collected here ({shown}, but no {SETTINGS}). "
            "Give the name of a new folder, or an empty one."
        )
    # What is being written stands beside the root.
    for place in (existing(root.parent), *([root] if root.is_dir() else [])):
        if not os.access(place, os.W_OK | os.X_OK):
            raise DatasetError(f"{root} cannot be: {place} may not be written to.")
    if root.is_dir():
        _check_mount(root)


def _check_mount(root: Path) -> None:
    if root.stat().st_dev != root.parent.stat().st_dev:
        raise DatasetError(
            f"{root} is a file system of its own, and episodes cannot be moved into it at once. "
            f"Give a folder within, such as {root / 'set'}."
        )


def settle(store: EpisodeStore, settings: Mapping[str, Any]) -> None:
    """Keep the settings beside the episodes, and refuse to mix episodes of different ones.

    Raises:
        DatasetError: There are episodes of other settings, or the file is damaged.
    """
    path = store.root / SETTINGS
    # As JSON, because a tuple comes back as a list.
    asked = json.loads(json.dumps(settings))
    if path.is_file() and len(store):
        before = read_settings(path)
        names = [*asked, *(name for name in before if name not in asked)]
        different = [name for name in names if asked.get(name) != before.get(name)]
        if different:
            raise DatasetError(
                f"{path}: the episodes there were collected with other settings: "
                + ", ".join(f"{name}={before.get(name)!r}" for name in different)
                + ". Use these, or another root."
            )
        return
    store.root.mkdir(parents=True, exist_ok=True)
    with store.staging.lock():
        store.staging.replace(path, json.dumps(asked, indent=1) + "\n")


def read_settings(path: Path) -> dict[str, Any]:
    """Return what a collection was begun with; older files are understood.

    Raises:
        DatasetError: The file is damaged.
    """
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path}: expected whole JSON, but {error}.") from error
    if not isinstance(before, dict):
        raise DatasetError(f"{path}: expected an object, found {type(before).__name__}.")
    if "lab" in before:
        before["labs"] = {before.pop("lab"): 1.0}
    return {**SINCE, **before}


def guess_size(settings: Mapping[str, Any]) -> int:
    """Return about how large an episode of these settings will be [bytes]."""
    height, width = image_shape(settings["image_size"])
    steps, rate = settings["steps"], settings["record_hz"]
    rows = 1 + (steps if rate is None else steps * SECONDS_A_MOVE * rate)
    each = BYTES_A_PIXEL if rate is None else BYTES_A_PIXEL_WITHIN_MOVES
    pixels = height * width * len(settings["cameras"])
    return round(BYTES_AN_EPISODE + rows * (BYTES_A_ROW + pixels * each))


def check_disk(store: EpisodeStore, settings: Mapping[str, Any], missing: int) -> None:
    """Do nothing if the missing episodes will fit on the disk.

    Raises:
        DatasetError: They will not, judged by those there are or else by a guess.
    """
    measured = store.mean_size()
    each = measured or guess_size(settings)
    needed, free = each * missing, free_bytes(store.root)
    if needed > free:
        raise DatasetError(
            f"{store.root}: {missing} episodes of about {size(each)} each "
            f"({'as those there are' if measured else 'a guess'}) need {size(needed)}, but "
            f"{size(free)} are free: {needed - free:,} bytes are missing. "
            "job.check_disk=false collects regardless."
        )
