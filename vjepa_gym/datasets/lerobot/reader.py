"""Reads episodes of LeRobot v3.0 datasets with the features of LeRobot's DROID port, anybody's."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vjepa_gym.datasets.droid.reading import FOREIGN_POLICY, FOREIGN_SEED
from vjepa_gym.datasets.droid.trajectory import GRIPPER_VELOCITY_UNIT, VELOCITY_UNITS
from vjepa_gym.datasets.lerobot import format as names
from vjepa_gym.datasets.lerobot.folder import Record, open_lerobot
from vjepa_gym.datasets.lerobot.kept import Kept, folder_of, read_kept
from vjepa_gym.datasets.lerobot.parquet import read_column, read_table
from vjepa_gym.datasets.lerobot.video import copy_part, read_part
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

if TYPE_CHECKING:
    import pyarrow as pa

COMMAND_TOLERANCE, SECONDS_TOLERANCE, EXTRINSICS_TOLERANCE = 1e-6, 1e-3, 1e-5
"""What is kept exactly counts as long as the rows say the same to within so much."""


class LeRobotEpisodes:
    """The episodes of a dataset, in order.

    Attributes:
        indices: The number that each had where it came from; its position if that is not known.
    """

    def __init__(self, root: Path) -> None:
        """Open a dataset; no episode is read yet.

        Raises:
            DatasetError: What describes it is missing, damaged, or of another format.
        """
        self._folder = open_lerobot(root)
        self._table = lru_cache(maxsize=1)(read_table)
        kept = [read_kept(folder_of(root, number)) for number in range(len(self))]
        known = [one.index for one in kept if one is not None and one.index is not None]
        whole = len(set(known)) == len(self)
        self.indices: list[int] = known if whole else list(range(len(self)))

    def __len__(self) -> int:
        return len(self._folder.records)

    def read(self, number: int, copies: Path) -> tuple[Episode, str, dict[str, Path]]:
        """Return an episode, what its videos said of their rate, and those that need no coding.

        Args:
            number: Its position.
            copies: The folder to copy such videos to.

        Raises:
            DatasetError: A file is missing or damaged.
        """
        record, place = self._folder.records[number], folder_of(self._folder.root, number)
        kept, table = read_kept(place), self._rows(record)
        rows, rate = table.num_rows, self._folder.rate
        if kept is not None and len(kept.commands) != rows - 1:
            raise DatasetError(
                f"{place}: belongs to {len(kept.commands) + 1} rows, but the episode has {rows}; "
                "remove the folder vjg to read without it."
            )
        poses = {view: self._extrinsics(record, table, view) for view in self._folder.views}
        images, cameras, videos = {}, {}, {}
        for camera, view in _cameras(poses, kept).items():
            path, start = record.videos[view]
            images[camera] = read_part(path, start, rows, rate)
            cameras[camera] = _calibration(poses[view], camera, kept)
            if copy_part(path, copies / f"{camera}.mp4", start, rows, rate):
                videos[camera] = copies / f"{camera}.mp4"
        episode = Episode(
            images=images,
            cameras=cameras,
            task=self._task(record, table),
            success=bool(read_column(record.data, table, names.SUCCESS, bool).any()),
            extras={} if kept is None else kept.extras,
            **self._motion(record, table, kept),
            **(self._said(record, table) if kept is None else kept.values),
        )
        return episode, "physical" if kept is None else kept.header, videos

    def _rows(self, record: Record) -> "pa.Table":
        table = self._table(record.data)
        index = read_column(record.data, table, "index", int)
        start, rows = int(np.searchsorted(index, record.first)), record.end - record.first
        part = index[start : start + rows] if rows > 1 else index[:0]
        if len(part) < 2 or not np.array_equal(part - record.first, np.arange(rows)):
            raise DatasetError(
                f"{record.data}: expected the rows {record.first} to {record.end}, two or more, "
                "one after another."
            )
        return table.slice(start, rows)

    def _extrinsics(self, record: Record, table: "pa.Table", view: str) -> np.ndarray:
        return read_column(record.data, table, names.EXTRINSICS + view, np.float32, 6)

    def _task(self, record: Record, table: "pa.Table") -> str:
        number = int(read_column(record.data, table, names.TASK, int)[0])
        if number not in self._folder.tasks:
            raise DatasetError(
                f"{record.data}: task {number} is not in {self._folder.root / names.TASKS}."
            )
        return self._folder.tasks[number]

    def _motion(self, record: Record, table: "pa.Table", kept: Kept | None) -> dict[str, Any]:
        """Return `poses`, `joints`, `commands` and `step_seconds`."""

        def column(name: str, width: int | None = None) -> np.ndarray:
            return read_column(record.data, table, name, np.float32, width)

        velocity = column(names.CARTESIAN_VELOCITY, 6) * VELOCITY_UNITS
        gripper = column(names.GRIPPER_VELOCITY) * GRIPPER_VELOCITY_UNIT
        commands = np.column_stack([velocity, gripper])[:-1].astype(np.float32)
        seconds = np.full(len(commands), float(1 / self._folder.rate), np.float32)
        if names.TIME in self._folder.features:
            seconds = np.diff(column(names.TIME))
        if not (seconds >= 0).all():
            raise DatasetError(f"{record.data}: expected {names.TIME} never to go back.")
        if kept is not None:
            commands = _exact(kept.commands, commands, COMMAND_TOLERANCE)
            seconds = _exact(kept.step_seconds, seconds, SECONDS_TOLERANCE)
        pose = [column("observation.state.cartesian_position", 6)]
        pose.append(column("observation.state.gripper_position")[:, None])
        return {
            "poses": np.hstack(pose),
            "joints": column("observation.state.joint_position", 7),
            "commands": commands,
            "step_seconds": seconds,
        }

    def _said(self, record: Record, table: "pa.Table") -> dict[str, Any]:
        """What is known of an episode of which nothing was kept."""
        texts = {
            name: str(read_column(record.data, table, name, str)[0])
            for name in names.TEXTS
            if name in self._folder.features
        }
        return {
            "seed": FOREIGN_SEED,
            "policy": FOREIGN_POLICY,
            "record_hz": float(self._folder.rate),
            "info": {name: text for name, text in texts.items() if text},
        }


def _cameras(extrinsics: Mapping[str, np.ndarray], kept: Kept | None) -> dict[str, str]:
    """Return the view of each camera; DROID's `left` is the one with the larger y."""
    if kept is not None:
        return {camera: view for camera, view in kept.views.items() if view in extrinsics}
    exterior = [view for view in names.VIEWS[:2] if view in extrinsics]
    exterior.sort(key=lambda view: -float(extrinsics[view][0, 1]))
    cameras = dict(zip(("left", "right"), exterior, strict=False))
    return cameras | {
        name: view for name, view in (("wrist", names.VIEWS[2]),) if view in extrinsics
    }


def _calibration(extrinsics: np.ndarray, camera: str, kept: Kept | None) -> dict[str, np.ndarray]:
    """Return what is known of a camera; a fixed one has one pose, a moving one a pose a row."""
    moves = (extrinsics != extrinsics[0]).any()
    found = (extrinsics if moves else extrinsics[0]).astype(np.float64)
    if kept is None:
        return {"extrinsics": found}
    exact = kept.cameras[camera].get("extrinsics", found)
    # A moving camera may happen not to move.
    still = found if exact.shape == found.shape else extrinsics
    changed = _exact(exact, still, EXTRINSICS_TOLERANCE) is not exact
    return {**kept.cameras[camera], "extrinsics": found if changed else exact}


def _exact(kept: np.ndarray, found: np.ndarray, tolerance: float) -> np.ndarray:
    """Return `kept` if it is what `found` is to within rounding, else somebody changed the rows."""
    if kept.shape != found.shape or not np.allclose(kept, found, rtol=1e-5, atol=tolerance):
        return found
    return kept
