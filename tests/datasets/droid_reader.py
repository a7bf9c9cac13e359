"""Reads DROID the way that the public V-JEPA 2 loader does, without its silent retries.

What is random there is drawn from a generator here; `test_public_loader` runs that loader itself on
the same cases where it is at hand.
"""

import csv
import json
import math
from pathlib import Path

import av
import h5py
import numpy as np

from vjepa_gym.kinematics import euler_angles, rotation_matrix


def list_folders(path: Path) -> list[str]:
    """The first of the columns that are separated by spaces, quoted or not."""
    with path.open(newline="") as file:
        return [row[0] for row in csv.reader(file, delimiter=" ")]


def read_clip(
    folder: str,
    rng: np.random.Generator,
    *,
    frames: int,
    fps: int,
    view: str = "left_mp4_path",
    frameskip: int = 1,
    camera_frame: bool = False,
) -> dict[str, np.ndarray]:
    """A clip of `frames` at `fps`, which starts anywhere; actions are differences of states."""
    (description,) = Path(folder).glob("*.json")
    metadata = json.loads(description.read_text())
    video = metadata[view].split("recordings/MP4/")[-1]
    camera = video.split(".")[0]
    with h5py.File(Path(folder) / "trajectory.h5") as file:
        extrinsics = np.array(file[f"observation/camera_extrinsics/{camera}_left"])
        state = file["observation/robot_state"]
        position, gripper = (
            np.array(state["cartesian_position"]),
            np.array(state["gripper_position"]),
        )
    assert gripper.ndim == 1
    states = np.concatenate([position, gripper[:, None]], axis=1)

    with av.open(Path(folder) / "recordings/MP4" / video) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None
        stride, length = math.ceil(stream.average_rate / fps), stream.frames
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    window = frames * stride
    assert length >= window + 1, "the public loader would try another episode for ever"
    end = rng.integers(window, length)
    rows = np.arange(end - window, end, stride)
    clip, extrinsics = states[rows][::frameskip], extrinsics[rows][::frameskip]
    if camera_frame:
        clip = _in_camera(clip, extrinsics)
    turns = rotation_matrix(clip[1:, 3:6]) @ np.swapaxes(rotation_matrix(clip[:-1, 3:6]), 1, 2)
    actions = np.concatenate(
        [np.diff(clip[:, :3], axis=0), euler_angles(turns), np.diff(clip[:, 6:], axis=0)], axis=1
    )
    return {
        "images": np.stack(images)[rows],
        "actions": actions,
        "states": clip,
        "extrinsics": extrinsics,
        "rows": rows,
    }


def _in_camera(states: np.ndarray, extrinsics: np.ndarray) -> np.ndarray:
    to_camera = np.swapaxes(rotation_matrix(extrinsics[:, 3:]), 1, 2)
    position = np.einsum("nij,nj->ni", to_camera, states[:, :3] - extrinsics[:, :3])
    angles = euler_angles(to_camera @ rotation_matrix(states[:, 3:6]))
    return np.concatenate([position, angles, states[:, 6:]], axis=1)
