"""Episodes in DROID's raw layout, read whoever recorded them.

What an episode must have is defined once, by what is read here and by `defects`, which asks the
same functions. Of ours every file is compared with its digest before it is read, so that a changed
byte is never taken for data; of others, damage is found as far as HDF5 and the decoder can tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.datasets.droid.kinds import Defect, DefectError, defect, require
from vjepa_gym.datasets.droid.layout import CAMERAS, DroidFolder, open_folder
from vjepa_gym.datasets.droid.motion import check_motion
from vjepa_gym.datasets.droid.sidecar import check_files, read_extras, read_sums
from vjepa_gym.datasets.droid.trajectory import Calibration, Rows, read_poses, read_trajectory
from vjepa_gym.datasets.video.mp4 import read_rows_of_video
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.types import Episode

FOREIGN_POLICY, FOREIGN_SEED = "teleoperation", -1
"""Who chose the commands of episodes of others, as far as anybody knows."""


def read_episode(
    folder: Path, *, cameras: Sequence[str] = CAMERAS, missing_frames: int = 0
) -> Episode:
    """Return the episode in `folder`; of ours equal to what was written but for the video codec.

    Of others the step from row to row is told by the controller's clock (`info["clock"]`), the
    policy is `teleoperation` and the seed -1.

    Args:
        folder: An episode in DROID's raw layout, ours or anybody's.
        cameras: Whose videos to read, of those that there are.
        missing_frames: So many rows at the end may have no frame; they are then left out.

    Raises:
        DatasetError: A file is missing, damaged or not what it should be; the message names it.
        UnknownNameError: There are no such cameras.
    """
    there = open_folder(folder)
    chosen = choose(there, cameras)
    require_unchanged(there, chosen)
    trajectory = require(*rows_of(there, chosen))
    rows = trajectory.rows
    videos = {name: read_rows_of_video(there.video(name), len(rows.poses)) for name in chosen}
    frames = {there.video(name): found for name, (_, found) in videos.items()}
    count = require(*match_frames(frames, len(rows.poses), missing_frames))
    extras = {}
    if there.sidecar is not None:
        extras = require(*read_extras(folder, len(rows.poses)))
    return Episode(
        commands=rows.commands[: count - 1],
        poses=rows.poses[:count],
        joints=rows.joints[:count],
        images={name: images[:count] for name, (images, _) in videos.items()},
        step_seconds=trajectory.step_seconds[: count - 1],
        cameras={name: _calibration(there, name, rows.cameras[name], count) for name in chosen},
        extras={name: values[:count] for name, values in extras.items()},
        **_told(there, rows),
    )


def read_frames(
    folder: Path, camera: str
) -> tuple[UInt8[np.ndarray, "rows height width 3"], Float32[np.ndarray, "rows 7"]]:
    """Return only the video of one camera and the poses.

    Raises:
        DatasetError: A file is missing or damaged, or there is no such camera.
    """
    there = open_folder(folder)
    video = there.video(camera)
    require_unchanged(there, [camera])
    poses = read_poses(there.trajectory)
    images, found = read_rows_of_video(video, len(poses))
    require(*match_frames({video: found}, len(poses), 0))
    return images, poses


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Rows, and when they were.

    Attributes:
        rows: What `trajectory.h5` says.
        step_seconds: From row to row, exactly where that is known [s].
    """

    rows: Rows
    step_seconds: Float32[np.ndarray, "steps"]


def choose(there: DroidFolder, cameras: Sequence[str]) -> list[str]:
    """Return those of `cameras` that an episode has.

    Raises:
        DatasetError: It has none of them.
        UnknownNameError: There are no such cameras.
    """
    for name in cameras:
        if name not in CAMERAS:
            raise UnknownNameError("camera", name, CAMERAS)
    chosen = [name for name in CAMERAS if name in there.serials and name in cameras]
    if not chosen:
        raise DatasetError(
            f"{there.path}: no camera {', '.join(cameras)}, only {', '.join(there.serials)}."
        )
    return chosen


def require_unchanged(there: DroidFolder, cameras: Sequence[str]) -> None:
    """Compare the files of an episode of ours, with the videos of `cameras`, with their digests.

    Raises:
        DatasetError: A file is not what was written; of others nothing is known.
    """
    if there.sidecar is None:
        return
    sums = require(*read_sums(there.path))
    for one in check_files(there.path, sums, names_of(there, cameras)):
        raise DefectError(one)


def names_of(there: DroidFolder, cameras: Sequence[str]) -> list[str]:
    """Return what files an episode of ours has, relative to its folder, with these videos."""
    files = [*there.path.glob("*.json"), there.trajectory, *map(there.video, cameras)]
    files += [there.path / "vjg/episode.json", there.path / "vjg/sim_state.npz"]
    return [file.relative_to(there.path).as_posix() for file in files]


def rows_of(there: DroidFolder, cameras: Sequence[str]) -> tuple[Trajectory | None, list[Defect]]:
    """Return the rows of an episode, if they can be read, and what is wrong with them."""
    serials = {name: there.serials[name] for name in cameras}
    rows, defects = read_trajectory(there.trajectory, serials)
    if rows is None:
        return None, defects
    step_seconds = rows.step_seconds.astype(np.float32)
    if there.sidecar is not None:
        step_seconds = np.array(there.sidecar["step_seconds"], np.float32)
        if len(step_seconds) != len(rows.step_seconds):
            said = f"expected {len(step_seconds) + 1} rows, found {len(rows.poses)}"
            return None, [*defects, defect("wrong_shape", there.trajectory, said)]
    defects += check_motion(there.trajectory, rows.poses, step_seconds)
    return Trajectory(rows=rows, step_seconds=step_seconds), defects


def match_frames(
    frames: Mapping[Path, int], rows: int, missing: int
) -> tuple[int | None, list[Defect]]:
    """Return how many rows have a frame of every camera, and which videos have too few or many.

    Args:
        frames: How many there are in each video.
        rows: How many rows there are.
        missing: So many frames may be missing at the end.
    """
    allowed = f" or up to {missing} fewer" if missing else ""
    defects = [
        defect("frame_mismatch", path, f"expected {rows} frames, one a row{allowed}, found {found}")
        for path, found in frames.items()
        if not max(1, rows - missing) <= found <= rows
    ]
    return min(frames.values(), default=0) or None, defects


def _calibration(there: DroidFolder, name: str, found: Calibration, count: int) -> Calibration:
    """A fixed camera has one pose, a moving one a pose a row, even if it happens not to move."""
    about = (there.sidecar or {}).get("calibration", {}).get(name)
    calibration = {}
    for kind, rows in found.items():
        moves = kind in about["a_row"] if about else bool((rows != rows[0]).any())
        calibration[kind] = rows[:count] if moves else rows[0]
    return calibration


def _told(there: DroidFolder, rows: Rows) -> dict[str, Any]:
    if there.sidecar is not None:
        told = ("success", "task", "policy", "seed", "info")
        rate = there.sidecar.get("record_hz")
        return {
            **{key: there.sidecar[key] for key in told},
            "record_hz": None if rate is None else float(rate),
        }
    return {
        "success": there.metadata["success"],
        "task": there.metadata.get("current_task") or "",
        "policy": FOREIGN_POLICY,
        "seed": FOREIGN_SEED,
        "info": {"metadata": dict(there.metadata), "clock": rows.clock},
        "record_hz": _rate(rows),
    }


def _rate(rows: Rows) -> float | None:
    """The rows a second of a clock that is told in milliseconds and stays behind now and then."""
    if not len(rows.step_seconds):
        return None
    return max(1.0, float(np.rint(1 / np.median(rows.step_seconds))))
