"""One episode as a folder in DROID's raw layout, plus a folder `vjg` for what DROID lacks.

    SIM/success/2026-01-01/Thu_Jan__1_00:00:00_2026/
        metadata_SIM+vjepagym+2026-01-01-00h-00m-00s.json    alone: readers take the first *.json
        trajectory.h5
        recordings/MP4/<serial>.mp4
        vjg/episode.json  vjg/sim_state.npz  vjg/SHA256SUMS

Names and times derive from the episode's index, never from the clock, so that a resumed collection
equals an unbroken one. The video header says `NOMINAL_RATE` of settled moves, because readers of
DROID choose frames by it; the true durations are in the timestamps and, exactly, in
`vjg/episode.json`. Reading is in `reading`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_gym.datasets.droid.reading import read_episode, read_frames
from vjepa_gym.datasets.droid.sidecar import read_sidecar, verify, write_json, write_sidecar
from vjepa_gym.datasets.droid.trajectory import CALIBRATION, write_trajectory
from vjepa_gym.datasets.video.copying import remux
from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.types import Episode

__all__ = [
    "HEADERS",
    "SERIALS",
    "header_rate",
    "read_episode",
    "read_frames",
    "read_sidecar",
    "relative_path",
    "start_time",
    "verify",
    "write_episode",
]

LAB, USER, ROBOT = "SIM", "vjepagym", "panda-simulated"
SERIALS = {"left": "90000001", "right": "90000002", "wrist": "90000003"}
"""Invented serial numbers of the cameras; the order is DROID's of `ext1` and `ext2`."""
NOMINAL_RATE = Fraction(4)
"""Control steps a second (V-JEPA 2, arXiv 2506.09985, section 3)."""
FIRST_EPISODE = datetime(2026, 1, 1, tzinfo=UTC)
DROID_NAMES = {"left": "ext1", "right": "ext2", "wrist": "wrist"}
HEADERS = ("physical", "droid60")
"""What videos say: as many frames a second as there are rows (`NOMINAL_RATE` for settled moves), or
the 60 that the released files of DROID say of 15 rows a second."""


def header_rate(episode: Episode, header: str) -> Fraction:
    """Return the frames a second that the videos of `episode` say they have.

    Raises:
        UnknownNameError: There is no such header.
        DatasetError: `droid60` belongs to 15 rows a second.
    """
    if header not in HEADERS:
        raise UnknownNameError("header", header, HEADERS)
    if header == "physical":
        rate = episode.record_hz
        return NOMINAL_RATE if rate is None else Fraction(rate).limit_denominator(1001)
    if episode.record_hz != 15:
        raise DatasetError(
            f"The header droid60 belongs to 15 rows a second, not to record_hz={episode.record_hz}."
        )
    return Fraction(60)


def start_time(index: int) -> datetime:
    """Return the time at which episode `index` is said to have begun; one minute each."""
    return FIRST_EPISODE + timedelta(minutes=index)


def relative_path(index: int, success: bool) -> Path:
    """Return where episode `index` lies below the root of its dataset."""
    time = start_time(index)
    folder = time.ctime().replace(" ", "_")
    return Path(LAB, "success" if success else "failure", f"{time:%Y-%m-%d}", folder)


def write_episode(
    folder: Path,
    episode: Episode,
    index: int,
    *,
    header: str = "physical",
    videos: Mapping[str, Path] | None = None,
) -> None:
    """Write `episode` into an existing empty folder.

    Args:
        folder: Where.
        episode: What happened.
        index: Its number in the dataset.
        header: The rate that the videos say they have, one of `HEADERS`.
        videos: Files to take as they are, by camera, rather than encode the images.

    Raises:
        DatasetError: Something in the episode has no place in the format.
    """
    _check(episode)
    rate = header_rate(episode, header)
    serials = {name: SERIALS[name] for name in SERIALS if name in episode.images}
    metadata = _metadata(episode, index, serials)
    write_json(folder / f"metadata_{metadata['uuid']}.json", metadata)
    (folder / "recordings/MP4").mkdir(parents=True)
    for name, serial in serials.items():
        video = folder / f"recordings/MP4/{serial}.mp4"
        if videos is not None and name in videos:
            remux(videos[name], video, rate)
        else:
            write_video(video, episode.images[name], rate)
    attributes = {
        "user": USER,
        "current_task": episode.task,
        "building": LAB,
        "scene_id": "0",
        "success": episode.success,
        "failure": not episode.success,
        "robot_serial_number": ROBOT,
        "version_number": metadata["droid_version"],
        "time": start_time(index).ctime().replace(" ", "_"),
    }
    write_trajectory(folder / "trajectory.h5", episode, serials, start_time(index), attributes)
    write_sidecar(folder, episode, index, serials, rate)


def _check(episode: Episode) -> None:
    rows = len(episode.poses)
    if unknown := set(episode.images) - set(SERIALS):
        raise DatasetError(f"Cameras {sorted(unknown)} have no place; use {', '.join(SERIALS)}.")
    if not episode.images:
        raise DatasetError(f"An episode needs the images of a camera: {', '.join(SERIALS)}.")
    for name, images in episode.images.items():
        if len(images) != rows:
            raise DatasetError(f"Camera {name!r} has {len(images)} images for {rows} poses.")
        _check_calibration(name, episode.cameras.get(name, {}), rows)
    for name, values in episode.extras.items():
        if len(values) != rows or values.dtype.hasobject:
            raise DatasetError(
                f"Extra {name!r} must be numbers with {rows} rows, one an observation; got "
                f"{values.dtype} {values.shape}."
            )
    for name in ("poses", "commands", "joints", "step_seconds"):
        if not np.isfinite(getattr(episode, name)).all():
            raise DatasetError(f"{name} of an episode must be finite.")
    if not (episode.step_seconds > 0).all():
        raise DatasetError("step_seconds of an episode must be positive.")


def _check_calibration(name: str, camera: Mapping[str, np.ndarray], rows: int) -> None:
    if "extrinsics" not in camera:
        raise DatasetError(f"Camera {name!r} needs its extrinsics.")
    for kind in camera:
        if kind not in CALIBRATION:
            raise UnknownNameError("calibration", kind, CALIBRATION)
        shape, once = np.shape(camera[kind]), CALIBRATION[kind]
        if shape not in (once, (rows, *once)) or not np.isfinite(camera[kind]).all():
            raise DatasetError(
                f"The {kind} of camera {name!r} must be finite numbers of shape {once} or, if it "
                f"moves, {(rows, *once)}; got {shape}."
            )


def _metadata(episode: Episode, index: int, serials: Mapping[str, str]) -> dict[str, Any]:
    """DROID's flat description; the entries of cameras that do not exist are left out."""
    time, path = start_time(index), relative_path(index, episode.success).relative_to(LAB)
    stamp = f"{time:%Y-%m-%d-%Hh-%Mm-%Ss}"
    metadata: dict[str, Any] = {
        "uuid": f"{LAB}+{USER}+{stamp}",
        "lab": LAB,
        "user": USER,
        "user_id": USER,
        "date": f"{time:%Y-%m-%d}",
        "timestamp": stamp,
        "hdf5_path": f"{path}/trajectory.h5",
        "building": LAB,
        "scene_id": 0,
        "success": episode.success,
        "robot_serial": ROBOT,
        "droid_version": "1.3",
        "current_task": episode.task,
        "trajectory_length": len(episode.poses),
    }
    for name, serial in serials.items():
        video = f"{path}/recordings/MP4/{serial}.mp4"
        extrinsics = episode.cameras[name]["extrinsics"]
        metadata[f"{DROID_NAMES[name]}_cam_serial"] = serial
        metadata[f"{DROID_NAMES[name]}_cam_extrinsics"] = np.atleast_2d(extrinsics)[0].tolist()
        metadata[f"{DROID_NAMES[name]}_mp4_path"] = video
        if name != "wrist":
            metadata[f"{name}_mp4_path"] = video
    return metadata
