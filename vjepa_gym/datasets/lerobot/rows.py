"""The rows of an episode as LeRobot's columns: DROID's `trajectory.h5` under the port's names."""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from vjepa_gym.datasets.droid.columns import open_columns, read_rows
from vjepa_gym.datasets.droid.layout import DroidFolder
from vjepa_gym.datasets.lerobot import format as names
from vjepa_gym.types import Episode


def views_of(folder: DroidFolder) -> dict[str, str]:
    """Return the port's name of each camera's view.

    DROID tells its exterior cameras apart twice: `ext1` and `ext2` by serial number, `left` and
    `right` by where they stand. The port goes by the former.
    """
    second = folder.metadata.get("ext2_cam_serial")
    views = {"left": names.VIEWS[0], "right": names.VIEWS[1], "wrist": names.VIEWS[2]}
    if second is not None and str(second) == folder.serials.get("left"):
        views |= {"left": names.VIEWS[1], "right": names.VIEWS[0]}
    return {camera: views[camera] for camera in folder.serials}


def columns_of(
    folder: DroidFolder, episode: Episode, views: Mapping[str, str], rate: Fraction
) -> dict[str, np.ndarray]:
    """Return every column of one episode but those that count across episodes.

    Args:
        folder: Where it lies.
        episode: What was read from there.
        views: The views to describe, by camera.
        rate: Rows a second.

    Raises:
        DatasetError: `trajectory.h5` is damaged or lacks a column.
    """
    rows = len(episode.poses)
    single = _columns(folder, rows)
    joined = {
        name: np.column_stack(
            [single[f"{name}.joint_position"], single[f"{name}.gripper_position"]]
        )
        for name in (names.ARM, names.COMMAND)
    }
    extrinsics = {
        f"{names.EXTRINSICS}{view}": np.broadcast_to(
            np.asarray(episode.cameras[camera]["extrinsics"], np.float32), (rows, 6)
        )
        for camera, view in views.items()
    }
    return {
        **single,
        **joined,
        **extrinsics,
        **_moments(episode, rate),
        **{name: np.full(rows, text) for name, text in _texts(folder, episode).items()},
    }


def _columns(folder: DroidFolder, rows: int) -> dict[str, np.ndarray]:
    paths = dict(names.COLUMNS)
    with open_columns(folder.trajectory) as columns:
        if not columns.has(paths[names.GRIPPER_VELOCITY]):
            # What DROID's robot calls a velocity if positions of the gripper were commanded.
            paths[names.GRIPPER_VELOCITY] = "action/gripper_delta"
    stored = read_rows(folder.trajectory, list(paths.values()))
    return {name: stored[path][:rows].astype(np.float32) for name, path in paths.items()}


def _moments(episode: Episode, rate: Fraction) -> dict[str, np.ndarray]:
    rows = len(episode.poses)
    number = np.arange(rows)
    ended = (number == rows - 1) & episode.success
    return {
        "frame_index": number,
        "timestamp": (number / float(rate)).astype(np.float32),
        names.TIME: episode.times.astype(np.float32),
        "is_first": number == 0,
        "is_last": number == rows - 1,
        # An episode that did not succeed was cut off, it did not end.
        "is_terminal": ended,
        "reward": ended.astype(np.float32),
        "discount": np.ones(rows, np.float32),
        names.SUCCESS: np.full(rows, episode.success),
    }


def _texts(folder: DroidFolder, episode: Episode) -> dict[str, str]:
    """The port, too, takes the building for the category."""
    said = {name: str(folder.metadata.get(name, "")) for name in ("building", "user_id", "date")}
    values = (
        episode.task,
        "",
        "",
        said["building"],
        said["building"],
        said["user_id"],
        said["date"],
    )
    return dict(zip(names.TEXTS, values, strict=True))
