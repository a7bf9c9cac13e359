"""The rows of an episode as DROID's `trajectory.h5`, both ways.

One row is one settled observation, so that there are `steps + 1`; the action of the last row is to
stay. Names, shapes and units are those of DROID's own writer (droid-dataset/droid,
`trajectory_utils/trajectory_writer.py` and `robot_ik/robot_ik_solver.py`); positions are absolute,
velocities are fractions of what DROID's controller moves at most in one of its steps. One of our
steps may be longer than DROID's, hence beyond +-1; nothing is clipped. `action/joint_position` is
the configuration that the command led to. What a simulated arm does not measure is NaN and listed
in the attribute `not_recorded`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from vjepa_gym import kinematics
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

VELOCITY_UNITS = np.array([0.075] * 3 + [0.15] * 3)
"""One unit of `cartesian_velocity` in one step [m, rad]."""
JOINT_VELOCITY_UNIT = 0.2
"""One unit of `joint_velocity` in one step [rad]."""
GRIPPER_VELOCITY_UNIT = 0.25
"""One unit of `gripper_velocity` in one step [closedness]."""
HAND_CAMERA, VARIED_CAMERA = 0, 1
"""DROID's `camera_type` of the wrist camera and of exterior ones."""
TORQUES = (
    "joint_torques_computed",
    "prev_joint_torques_computed",
    "prev_joint_torques_computed_safened",
    "motor_torques_measured",
)
Calibration: TypeAlias = dict[str, Float64[np.ndarray, "..."]]
NOT_RECORDED = (*TORQUES, "prev_controller_latency_ms")


def write_trajectory(
    path: Path,
    episode: Episode,
    serials: Mapping[str, str],
    started: datetime,
    attributes: Mapping[str, str | bool],
) -> None:
    """Write the rows of `episode`.

    Args:
        path: The file to write.
        episode: What happened.
        serials: The serial number of each of its cameras.
        started: The time of the first row.
        attributes: The file's HDF5 attributes.
    """
    rows = {
        **_under("observation/robot_state", _robot_state(episode)),
        **_under("observation/controller_info", _controller_info(episode)),
        **_under("observation/timestamp", _timestamps(episode, serials, started)),
        **_under("observation", _cameras(episode, serials)),
        **_under("action", _action(episode)),
    }
    with h5py.File(path, "w") as file:
        for name, values in rows.items():
            file[name] = values
        # The state that the command was computed from is the one observed.
        file["action/robot_state"] = file["observation/robot_state"]
        file.attrs.update({**attributes, "not_recorded": " ".join(NOT_RECORDED)})


def read_trajectory(
    path: Path, serials: Mapping[str, str]
) -> tuple[dict[str, Float32[np.ndarray, "_ 7"]], dict[str, Calibration]]:
    """Return `commands`, `poses`, `joints` by name, and the calibration of each camera.

    Raises:
        DatasetError: The file is missing, truncated, or lacks a key.
    """
    try:
        with h5py.File(path) as file:
            state = "observation/robot_state"
            velocity = _read(file, "action/cartesian_velocity") * VELOCITY_UNITS
            gripper = _read(file, "action/gripper_velocity") * GRIPPER_VELOCITY_UNIT
            arrays = {
                "commands": np.column_stack([velocity, gripper])[:-1].astype(np.float32),
                "poses": _read_poses(file),
                "joints": _read(file, f"{state}/joint_positions").astype(np.float32),
            }
            return arrays, {name: _calibration(file, key) for name, key in serials.items()}
    except OSError as error:
        raise DatasetError(f"{path}: expected a whole HDF5 file, but {error}.") from error
    except KeyError as error:
        raise DatasetError(f"{path}: expected DROID's keys, but {error.args[0]}.") from error


def read_poses(path: Path) -> Float32[np.ndarray, "rows 7"]:
    """Return only the measured poses.

    Raises:
        DatasetError: The file is missing, truncated, or lacks a key.
    """
    return read_trajectory(path, {})[0]["poses"]


def read_rows(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return whole columns of a `trajectory.h5`, such as `action/joint_position`, as they are.

    Raises:
        DatasetError: The file is missing, truncated, or lacks a key.
    """
    try:
        with h5py.File(path) as file:
            return {name: _read(file, name) for name in names}
    except OSError as error:
        raise DatasetError(f"{path}: expected a whole HDF5 file, but {error}.") from error
    except KeyError as error:
        raise DatasetError(f"{path}: expected DROID's keys, but {error.args[0]}.") from error


def _under(group: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{group}/{name}": array for name, array in values.items()}


def _robot_state(episode: Episode) -> dict[str, np.ndarray]:
    rows = len(episode.poses)
    return {
        "cartesian_position": episode.poses[:, :6].astype(np.float64),
        "gripper_position": episode.poses[:, 6].astype(np.float64),
        "joint_positions": episode.joints.astype(np.float64),
        # Every row is settled.
        "joint_velocities": np.zeros((rows, 7)),
        **{name: np.full((rows, 7), np.nan) for name in TORQUES},
        "prev_controller_latency_ms": np.full(rows, np.nan),
        "prev_command_successful": np.ones(rows, bool),
    }


def _action(episode: Episode) -> dict[str, np.ndarray]:
    poses, joints = episode.poses.astype(np.float64), episode.joints.astype(np.float64)
    commands = np.vstack([episode.commands.astype(np.float64), np.zeros(7)])
    asked = np.vstack([kinematics.integrate(poses[:-1], commands[:-1]), poses[-1:]])
    reached = np.vstack([joints[1:], joints[-1:]])
    return {
        "cartesian_position": asked[:, :6],
        "cartesian_velocity": commands[:, :6] / VELOCITY_UNITS,
        "joint_position": reached,
        "joint_velocity": (reached - joints) / JOINT_VELOCITY_UNIT,
        "gripper_position": asked[:, 6],
        "gripper_velocity": commands[:, 6] / GRIPPER_VELOCITY_UNIT,
        "target_cartesian_position": asked[:, :6],
        "target_gripper_position": asked[:, 6],
    }


def _controller_info(episode: Episode) -> dict[str, np.ndarray]:
    rows = len(episode.poses)
    last = np.arange(rows) == rows - 1
    return {
        "controller_on": np.ones(rows, bool),
        "movement_enabled": np.ones(rows, bool),
        "success": last & episode.success,
        "failure": last & (not episode.success),
    }


def _timestamps(
    episode: Episode, serials: Mapping[str, str], started: datetime
) -> dict[str, np.ndarray]:
    elapsed = np.concatenate([[0.0], np.cumsum(episode.step_seconds, dtype=np.float64)])
    start = round(started.timestamp() * 1000) + np.rint(elapsed * 1000).astype(np.int64)
    end = np.append(start[1:], start[-1])
    moments = ("read_start", "read_end", "frame_received", "estimated_capture")
    return {
        "skip_action": np.zeros(len(start), bool),
        "control/step_start": start,
        "control/policy_start": start,
        "control/control_start": start,
        "control/sleep_start": end,
        "control/step_end": end,
        "robot_state/read_start": start,
        "robot_state/read_end": start,
        "robot_state/robot_timestamp_seconds": start // 1000,
        "robot_state/robot_timestamp_nanos": start % 1000 * 1_000_000,
        # Simulated pictures are taken at the moment of the row.
        **{f"cameras/{key}_{moment}": start for key in serials.values() for moment in moments},
    }


def _cameras(episode: Episode, serials: Mapping[str, str]) -> dict[str, np.ndarray]:
    rows = len(episode.poses)
    values: dict[str, np.ndarray] = {}
    for name, serial in serials.items():
        kind = HAND_CAMERA if name == "wrist" else VARIED_CAMERA
        extrinsics = np.asarray(episode.cameras[name]["extrinsics"], np.float64)
        intrinsics = np.asarray(episode.cameras[name]["intrinsics"], np.float64)
        values[f"camera_type/{serial}"] = np.full(rows, kind)
        values[f"camera_extrinsics/{serial}_left"] = np.broadcast_to(extrinsics, (rows, 6))
        values[f"camera_intrinsics/{serial}_left"] = np.broadcast_to(intrinsics, (rows, 3, 3))
    return values


def _read(file: h5py.File, name: str) -> np.ndarray:
    if name not in file:
        raise KeyError(f"{name} is missing")
    return np.asarray(file[name])


def _read_poses(file: h5py.File) -> Float32[np.ndarray, "rows 7"]:
    position = _read(file, "observation/robot_state/cartesian_position")
    gripper = _read(file, "observation/robot_state/gripper_position")
    return np.column_stack([position, gripper]).astype(np.float32)


def _calibration(file: h5py.File, serial: str) -> Calibration:
    """A fixed camera has one pose, a moving one a pose a row."""
    values = {
        kind: _read(file, f"observation/camera_{kind}/{serial}_left")
        for kind in ("extrinsics", "intrinsics")
    }
    return {kind: rows[0] if (rows == rows[0]).all() else rows for kind, rows in values.items()}
