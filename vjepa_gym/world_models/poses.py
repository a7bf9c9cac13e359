"""Poses and displacements in torch: `vjepa_gym.kinematics` on any device, and differentiable."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

ANGLES = slice(3, 6)
"""Where roll, pitch and yaw are in a pose and in an action."""


def rotation_matrix(euler: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Return the rotation of extrinsic xyz angles `roll pitch yaw` [rad]: `Rz Ry Rx`."""
    (cr, cp, cy), (sr, sp, sy) = euler.cos().unbind(-1), euler.sin().unbind(-1)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def euler_angles(rotation: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Return extrinsic xyz angles [rad] in [-pi, pi], pitch in [-pi/2, pi/2].

    At pitch = +-pi/2 roll and yaw turn about the same axis; yaw is then given as zero.
    """
    r = rotation
    cos_pitch = torch.hypot(r[..., 0, 0], r[..., 1, 0])
    locked = cos_pitch < 1e-6
    pitch = torch.atan2(-r[..., 2, 0], cos_pitch)
    roll = torch.where(
        locked,
        torch.atan2(-r[..., 1, 2], r[..., 1, 1]),
        torch.atan2(r[..., 2, 1], r[..., 2, 2]),
    )
    yaw = torch.where(locked, torch.zeros_like(roll), torch.atan2(r[..., 1, 0], r[..., 0, 0]))
    return torch.stack([roll, pitch, yaw], -1)


def integrate(pose: Float[Tensor, "*n 7"], action: Float[Tensor, "*n 7"]) -> Float[Tensor, "*n 7"]:
    """Return the pose after `action`: `R_new = R(action) R(pose)`, closedness within [0, 1]."""
    # Double precision, as in NumPy: near a gimbal lock single precision loses the angles.
    turned = rotation_matrix(action[..., ANGLES].double()) @ rotation_matrix(
        pose[..., ANGLES].double()
    )
    angles = euler_angles(turned).to(pose.dtype)
    moved = pose + action
    return torch.cat([moved[..., :3], angles, moved[..., 6:].clamp(0.0, 1.0)], -1)


def difference(start: Float[Tensor, "*n 7"], end: Float[Tensor, "*n 7"]) -> Float[Tensor, "*n 7"]:
    """Return the action that leads from `start` to `end`; the inverse of `integrate`."""
    turned = rotation_matrix(end[..., ANGLES].double()) @ rotation_matrix(
        start[..., ANGLES].double()
    ).transpose(-1, -2)
    angles = euler_angles(turned).to(start.dtype)
    moved = end - start
    return torch.cat([moved[..., :3], angles, moved[..., 6:]], -1)


def wrap_angle(angle: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return the same angle [rad] in (-pi, pi]; one that is already there is left untouched."""
    turn = 2 * math.pi
    return angle - turn * torch.ceil((angle - math.pi) / turn)


def follow(
    pose: Float[Tensor, "*n 7"], actions: Float[Tensor, "*n horizon 7"]
) -> Float[Tensor, "*n horizon 7"]:
    """Return the pose after each of the actions, done one after the other from `pose`."""
    visited = []
    for action in actions.unbind(-2):
        pose = integrate(pose, action)
        visited.append(pose)
    return torch.stack(visited, -2)
