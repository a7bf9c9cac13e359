"""Poses and displacements in NumPy; any leading axes. See `types` for the conventions."""

import numpy as np
from jaxtyping import Float

ROTATION = slice(3, 6)


def rotation_matrix(euler: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3 3"]:
    """Return the rotation of extrinsic xyz angles `roll pitch yaw` [rad]: `Rz Ry Rx`."""
    cr, cp, cy = np.moveaxis(np.cos(euler), -1, 0)
    sr, sp, sy = np.moveaxis(np.sin(euler), -1, 0)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def euler_angles(rotation: Float[np.ndarray, "*n 3 3"]) -> Float[np.ndarray, "*n 3"]:
    """Return extrinsic xyz angles [rad] in (-pi, pi], pitch in [-pi/2, pi/2].

    At pitch = +-pi/2 roll and yaw turn about the same axis; yaw is then given as zero.
    """
    r = rotation
    level = np.hypot(r[..., 0, 0], r[..., 1, 0])
    pitch = np.arctan2(-r[..., 2, 0], level)
    locked = level < 1e-6
    roll = np.where(
        locked,
        np.arctan2(-r[..., 1, 2], r[..., 1, 1]),
        np.arctan2(r[..., 2, 1], r[..., 2, 2]),
    )
    yaw = np.where(locked, 0.0, np.arctan2(r[..., 1, 0], r[..., 0, 0]))
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
