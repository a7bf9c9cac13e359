"""The rows of an episode as DROID's `trajectory.h5`, both ways.

There is one row an observation, so that there are `steps + 1`; the action of the last row is to
stay. Names, shapes and units are those of DROID's own writer (droid-dataset/droid,
`trajectory_utils/trajectory_writer.py` and `robot_ik/robot_ik_solver.py`); positions are absolute,
velocities are fractions of what DROID's controller moves at most in one of its steps. One of our
steps may be longer than DROID's, hence beyond +-1; nothing is clipped. `action/joint_position` is
the configuration that the command led to. What a simulated arm does not measure is NaN and listed
in the attribute `not_recorded`.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from vjepa_gym import kinematics
from vjepa_gym.datasets.droid.columns import Column, Columns, open_columns, read_rows
from vjepa_gym.datasets.droid.kinds import Defect, DefectError, errors, require
from vjepa_gym.types import Episode

__all__ = [
    "GRIPPER_VELOCITY_UNIT",
    "JOINT_VELOCITY_UNIT",
    "VELOCITY_UNITS",
    "Rows",
    "read_poses",
    "read_rows",
    "read_trajectory",
    "write_trajectory",
]

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
STATE, CLOCK = "observation/robot_state", "observation/timestamp"
CALIBRATION = {"extrinsics": (6,), "intrinsics": (3, 3)}
"""What is known of a camera, and the shape of it in one row."""
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
    # In memory first: where the disk is full, HDF5 would end the process.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in rows.items():
            file[name] = values
        # The state that the command was computed from is the one observed.
        file["action/robot_state"] = file["observation/robot_state"]
        file.attrs.update({**attributes, "not_recorded": " ".join(NOT_RECORDED)})
    path.write_bytes(buffer.getvalue())


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What the rows of an episode say.

    Attributes:
        commands: The action asked for at each step.
        poses: Measured pose at each row.
        joints: Joint positions [rad].
        step_seconds: From each row to the next by `clock` [s].
        clock: Which of the timestamps that is.
        cameras: The calibration of each camera, one value a row.
    """

    commands: Float32[np.ndarray, "steps 7"]
    poses: Float32[np.ndarray, "steps+1 7"]
    joints: Float32[np.ndarray, "steps+1 7"]
    step_seconds: Float64[np.ndarray, "steps"]
    clock: str
    cameras: Mapping[str, Calibration]


def read_trajectory(path: Path, serials: Mapping[str, str]) -> tuple[Rows | None, list[Defect]]:
    """Return the rows of anybody's `trajectory.h5`, if they can be read, and what is wrong.

    Args:
        path: The file.
        serials: The serial number of each camera whose calibration is wanted.
    """
    try:
        with open_columns(path) as columns:
            poses = _read_poses(columns)
            joints = columns.read(Column(name=f"{STATE}/joint_positions", shape=(7,)))
            commands = _read_commands(columns)
            cameras = {name: _read_calibration(columns, key) for name, key in serials.items()}
            clock, moments = _read_clock(columns, serials)
            defects = columns.defects
    except DefectError as error:
        return None, [error.defect]
    if errors(defects) or poses is None or joints is None or commands is None or moments is None:
        return None, defects
    rows = Rows(
        commands=commands[:-1],
        poses=poses,
        joints=joints.astype(np.float32),
        step_seconds=np.diff(moments.astype(np.float64)) / 1000,
        clock=clock,
        cameras=cameras,
    )
    return rows, defects


def read_poses(path: Path) -> Float32[np.ndarray, "rows 7"]:
    """Return only the measured poses.

    Raises:
        DatasetError: The file is missing, truncated, or lacks a key.
    """
    with open_columns(path) as columns:
        return require(_read_poses(columns), columns.defects)


def _under(group: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{group}/{name}": array for name, array in values.items()}


def _robot_state(episode: Episode) -> dict[str, np.ndarray]:
    rows = len(episode.poses)
    joints = episode.joints.astype(np.float64)
    velocities = np.zeros((rows, 7))
    if episode.record_hz is not None and rows > 1:
        velocities = np.gradient(joints, episode.times, axis=0)
    return {
        "cartesian_position": episode.poses[:, :6].astype(np.float64),
        "gripper_position": episode.poses[:, 6].astype(np.float64),
        "joint_positions": joints,
        "joint_velocities": velocities,
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
    start = round(started.timestamp() * 1000) + np.rint(episode.times * 1000).astype(np.int64)
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
        values[f"camera_type/{serial}"] = np.full(rows, kind)
        for key, shape in CALIBRATION.items():
            if key in episode.cameras[name]:
                calibration = np.asarray(episode.cameras[name][key], np.float64)
                rowwise = np.broadcast_to(calibration, (rows, *shape))
                values[f"camera_{key}/{serial}_left"] = rowwise
    return values


def _read_poses(columns: Columns) -> Float32[np.ndarray, "rows 7"] | None:
    position = columns.read(Column(name=f"{STATE}/cartesian_position", shape=(6,)))
    gripper = columns.read(Column(name=f"{STATE}/gripper_position"))
    return None if position is None or gripper is None else _seven(position, gripper)


def _read_commands(columns: Columns) -> Float32[np.ndarray, "rows 7"] | None:
    """The velocities, which are in the same units whatever DROID's controller was given."""
    velocity = columns.read(Column(name="action/cartesian_velocity", shape=(6,)))
    # What DROID's robot calls a delta, if positions of the gripper were commanded, is a velocity.
    names = ("action/gripper_velocity", "action/gripper_delta")
    name = next(filter(columns.has, names), names[0])
    gripper = columns.read(Column(name=name))
    if velocity is None or gripper is None:
        return None
    return _seven(velocity * VELOCITY_UNITS, gripper * GRIPPER_VELOCITY_UNIT)


def _read_calibration(columns: Columns, serial: str) -> Calibration:
    """What there is; released episodes mostly have no intrinsics."""
    found: Calibration = {}
    for kind, shape in CALIBRATION.items():
        name = f"observation/camera_{kind}/{serial}_left"
        if kind == "intrinsics" and not columns.has(name):
            continue
        values = columns.read(Column(name=name, shape=shape))
        if values is not None:
            found[kind] = values.astype(np.float64)
    return found


def _read_clock(columns: Columns, serials: Mapping[str, str]) -> tuple[str, np.ndarray | None]:
    """Return the first of DROID's clocks that ticks once a row [ms].

    That of the controller does by definition; a camera may be asked faster than it takes pictures.
    """
    clocks = (
        f"{CLOCK}/control/step_start",
        *(f"{CLOCK}/cameras/{serial}_estimated_capture" for serial in serials.values()),
        f"{CLOCK}/robot_state/read_start",
    )
    clock = next(filter(columns.has, clocks), clocks[0])
    return clock, columns.read(Column(name=clock))


def _seven(six: np.ndarray, one: np.ndarray) -> Float32[np.ndarray, "rows 7"]:
    return np.column_stack([six, one]).astype(np.float32)
