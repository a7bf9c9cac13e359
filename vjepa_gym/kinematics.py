"""Poses and displacements in NumPy; any leading axes. See `types` for the conventions."""

import numpy as np
from jaxtyping import Float

ROTATION = slice(3, 6)


def rotation_matrix(euler: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3 3"]:
    """Return the rotation of extrinsic xyz angles `roll pitch yaw` [rad]: `Rz Ry Rx`."""
    cos, sin = np.cos(euler), np.sin(euler)
    cr, cp, cy = cos[..., 0], cos[..., 1], cos[..., 2]
    sr, sp, sy = sin[..., 0], sin[..., 1], sin[..., 2]
    # Filled in place: stacking costs more than the arithmetic where there are few.
    r = np.empty((*euler.shape, 3), cr.dtype)
    r[..., 0, 0], r[..., 1, 0], r[..., 2, 0] = cy * cp, sy * cp, -sp
    r[..., 0, 1] = cy * sp * sr - sy * cr
    r[..., 1, 1] = sy * sp * sr + cy * cr
    r[..., 2, 1] = cp * sr
    r[..., 0, 2] = cy * sp * cr + sy * sr
    r[..., 1, 2] = sy * sp * cr - cy * sr
    r[..., 2, 2] = cp * cr
    return r


def euler_angles(rotation: Float[np.ndarray, "*n 3 3"]) -> Float[np.ndarray, "*n 3"]:
    """Return extrinsic xyz angles [rad] in (-pi, pi], pitch in [-pi/2, pi/2].

    At pitch = +-pi/2 roll and yaw turn about the same axis; yaw is then given as zero.
    """
    r = rotation
    level = np.hypot(r[..., 0, 0], r[..., 1, 0])
    pitch = np.arctan2(-r[..., 2, 0], level)
    roll = np.arctan2(r[..., 2, 1], r[..., 2, 2])
    yaw = np.arctan2(r[..., 1, 0], r[..., 0, 0])
    locked = level < 1e-6
    if locked.any():
        roll = np.where(locked, np.arctan2(-r[..., 1, 2], r[..., 1, 1]), roll)
        yaw = np.where(locked, 0.0, yaw)
    return np.stack([roll, pitch, yaw], -1).astype(rotation.dtype)


def integrate(
    pose: Float[np.ndarray, "*n 7"], action: Float[np.ndarray, "*n 7"]
) -> Float[np.ndarray, "*n 7"]:
    """Return the pose after `action`: `R_new = R(action) R(pose)`, closedness within [0, 1]."""
    new = np.asarray(pose + action)
    turned = rotation_matrix(action[..., ROTATION].astype(np.float64)) @ rotation_matrix(
        pose[..., ROTATION].astype(np.float64)
    )
    new[..., ROTATION] = euler_angles(turned)
    new[..., 6] = np.clip(new[..., 6], 0.0, 1.0)
    return new.astype(pose.dtype)


def difference(
    start: Float[np.ndarray, "*n 7"], end: Float[np.ndarray, "*n 7"]
) -> Float[np.ndarray, "*n 7"]:
    """Return the action that leads from `start` to `end`; the inverse of `integrate`."""
    action = np.asarray(end - start)
    turned = rotation_matrix(end[..., ROTATION].astype(np.float64)) @ np.swapaxes(
        rotation_matrix(start[..., ROTATION].astype(np.float64)), -1, -2
    )
    action[..., ROTATION] = euler_angles(turned)
    return action.astype(start.dtype)


def displacements(poses: Float[np.ndarray, "rows 7"]) -> Float[np.ndarray, "steps 7"]:
    """Return the action from each pose to the next: `difference(poses[:-1], poses[1:])`."""
    actions = np.asarray(poses[1:] - poses[:-1])
    rotations = rotation_matrix(poses[:, ROTATION].astype(np.float64))
    actions[:, ROTATION] = euler_angles(rotations[1:] @ np.swapaxes(rotations[:-1], 1, 2))
    return actions.astype(poses.dtype)
