"""What an audit looks at in one episode: its defects, and what its data are like."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from vjepa_gym.datasets.droid.defects import ClipNeeds, Defect, find_defects
from vjepa_gym.datasets.droid.kinds import DefectError
from vjepa_gym.datasets.droid.layout import DroidFolder, open_folder
from vjepa_gym.datasets.droid.motion import turns
from vjepa_gym.datasets.droid.reading import FOREIGN_POLICY, rows_of
from vjepa_gym.datasets.video.mp4 import VideoFacts, scan_video
from vjepa_gym.errors import DatasetError

NOT_SAID = "not said"
"""The task of an episode that does not say it."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the data of an episode are like.

    Attributes:
        lab: Who recorded it.
        task: What was to be done, in words.
        policy: The behaviour that chose the commands.
        success: Whether it succeeded.
        uuid: What DROID calls it; None if it has no name.
        number: Its number in a dataset of ours.
        size: Of all its files [bytes].
        positions: Of the flange in the base frame [m].
        moves: From row to row: translation [m], rotation [rad], change of closedness.
        step_seconds: From row to row [s].
        videos: Those that can be opened, by camera.
    """

    lab: str
    task: str
    policy: str
    success: bool
    uuid: str | None
    number: int | None
    size: int
    positions: Float64[np.ndarray, "rows 3"]
    moves: Float64[np.ndarray, "steps 3"]
    step_seconds: Float64[np.ndarray, " steps"]
    videos: Mapping[str, VideoFacts]

    @property
    def rows(self) -> int:
        """How many observations there are."""
        return len(self.positions)

    @property
    def seconds(self) -> float:
        """How long it took [s]."""
        return float(np.nansum(self.step_seconds))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found in an episode.

    Attributes:
        defects: What is wrong.
        facts: What it contains; None if that cannot be told.
    """

    defects: Sequence[Defect]
    facts: Facts | None


@dataclass(frozen=True, kw_only=True)
class LookAtEpisode:
    """Looks at the episode in a folder; a function that can be sent to another process.

    Attributes:
        loader: A public loader that should find a clip in each episode.
        checksums: Whether every byte is compared with the episode's checksums.
    """

    loader: ClipNeeds | None = None
    checksums: bool = False

    def __call__(self, folder: Path) -> Look:
        """Return what was found."""
        defects = find_defects(folder, loader=self.loader, checksums=self.checksums)
        try:
            return Look(defects=defects, facts=describe(folder))
        except DatasetError as error:
            untold = [] if defects else [Defect(kind="undescribed", detail=str(error))]
            return Look(defects=[*defects, *untold], facts=None)


def describe(folder: Path) -> Facts:
    """Return what the data of an episode are like, of anybody's.

    Raises:
        DatasetError: Its description or its rows are damaged.
    """
    there = open_folder(folder)
    sidecar = there.sidecar or {"policy": FOREIGN_POLICY}
    # Rows with a jump or the like are worth describing all the same.
    trajectory, defects = rows_of(there, ())
    if trajectory is None:
        raise DefectError(defects[0])
    poses = trajectory.rows.poses.astype(np.float64)
    moved = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
    return Facts(
        lab=_text(there.metadata.get("lab")) or NOT_SAID,
        task=_text(there.metadata.get("current_task")) or NOT_SAID,
        policy=sidecar["policy"],
        success=bool(there.metadata.get("success")),
        uuid=_text(there.metadata.get("uuid")),
        number=sidecar.get("index"),
        size=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        positions=poses[:, :3],
        moves=np.column_stack([moved, turns(poses), np.diff(poses[:, 6])]),
        step_seconds=trajectory.step_seconds.astype(np.float64),
        videos=_videos(there),
    )


def _videos(there: DroidFolder) -> dict[str, VideoFacts]:
    found = {}
    for name in there.serials:
        with suppress(DatasetError):  # a defect says so
            found[name] = scan_video(there.video(name), decode=False)
    return found


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
