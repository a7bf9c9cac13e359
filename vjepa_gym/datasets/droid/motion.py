"""Whether the poses of an episode are those of an arm that moves."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from vjepa_gym import kinematics
from vjepa_gym.datasets.droid.kinds import Defect, defect

MAX_SPEED, SLACK = 1.7, 0.03
"""The fastest a Panda's flange moves [m/s] (Franka Control Interface, limits for Panda), and what
measuring adds to a step [m]."""
MAX_TURN, TURN_SLACK = 2.5, 0.15
"""The fastest it turns [rad/s], from the same, and what measuring adds to a step [rad]."""
GRIPPER_SLACK = 0.05
"""What the calibration of a real gripper's width adds."""
HALF_A_TURN = np.pi
LONGEST_STEP = 3600.0
"""Nobody waits longer from row to row [s]."""


def check_motion(
    path: Path, poses: Float[np.ndarray, "rows 7"], step_seconds: Float[np.ndarray, " steps"]
) -> list[Defect]:
    """Return what is wrong with the poses and the times of an episode.

    A step is too large if no Panda could have made it in its time. That DROID's controller asks for
    at most 0.075 m and 0.15 rad in a 15th of a second lies well within, and so do our moves.

    Args:
        path: The file that they are from.
        poses: Finite poses.
        step_seconds: From row to row.
    """
    return _check_times(path, step_seconds) or [
        *_check_steps(path, poses.astype(np.float64), step_seconds.astype(np.float64)),
        *_check_gripper(path, poses[:, 6]),
    ]


def _check_times(path: Path, seconds: Float[np.ndarray, " steps"]) -> list[Defect]:
    wrong = np.flatnonzero(~((seconds > 0) & (seconds < LONGEST_STEP)))
    if not len(wrong):
        return []
    row = int(wrong[0])
    said = (
        f"expected times that increase, but row {row + 1} is {seconds[row]:.3g} s after row {row}"
    )
    return [defect("time", path, said)]


def _check_steps(
    path: Path, poses: Float[np.ndarray, "rows 7"], seconds: Float[np.ndarray, " steps"]
) -> list[Defect]:
    moved = kinematics.difference(poses[:-1], poses[1:])
    distance = np.linalg.norm(moved[:, :3], axis=1)
    angle = turns(poses)
    defects = []
    far = (distance > MAX_SPEED * seconds + SLACK) | (angle > MAX_TURN * seconds + TURN_SLACK)
    if far.any():
        row = int(far.argmax())
        said = (
            f"from row {row} to {row + 1} the pose moves {distance[row]:.3f} m and turns "
            f"{angle[row]:.2f} rad in {seconds[row]:.3f} s, which no arm does"
        )
        defects.append(defect("pose_jump", path, f"{said} ({far.sum()} such steps)"))
    leaps = np.abs(np.diff(poses[:, kinematics.ROTATION], axis=0)).max(axis=1, initial=0)
    wraps = (leaps > HALF_A_TURN) & ~far
    if wraps.any():
        row = int(wraps.argmax())
        said = (
            f"from row {row} to {row + 1} an Euler angle leaps by {leaps[row]:.2f} rad while the "
            f"hand turns {angle[row]:.2f} rad ({wraps.sum()} such steps): angles must be composed, "
            "not subtracted"
        )
        defects.append(defect("wrap_around", path, said))
    return defects


def turns(poses: Float[np.ndarray, "rows 7"]) -> Float[np.ndarray, " steps"]:
    """Return by which angle the hand turns from each row to the next [rad]."""
    rotations = kinematics.rotation_matrix(poses[:, kinematics.ROTATION].astype(np.float64))
    trace = np.einsum("nij,nij->n", rotations[1:], rotations[:-1])
    return np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))


def _check_gripper(path: Path, closedness: Float[np.ndarray, " rows"]) -> list[Defect]:
    outside = (closedness < -GRIPPER_SLACK) | (closedness > 1 + GRIPPER_SLACK)
    if not outside.any():
        return []
    row = int(outside.argmax())
    said = f"expected a closedness in 0 to 1, but in row {row} it is {closedness[row]:.3g}"
    return [defect("gripper_range", path, f"{said} ({outside.sum()} such rows)")]
