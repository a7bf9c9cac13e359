"""A world model for a camera that stands elsewhere than the one it was trained with.

What a camera sees depends on where things are relative to it. A camera that was carried round the
workspace sees what the old one would, had the robot and its moves been turned the other way. So a
model that knows one camera serves another, as far as the surroundings look alike: poses and actions
are turned before it imagines, and the poses that it imagines are turned back.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vjepa_gym.world_models.base import Context, Imagined, WorldModel

PIVOT = (0.50, 0.0)
"""The point that the exterior camera `left` looks at, seen from above: x and y [m]."""


class TurnedWorldModel:
    """Treats a camera carried round the vertical through a point as the one of the training.

    Attributes:
        angle: How far the camera was carried [rad].
        pivot: The point, seen from above [m].
    """

    def __init__(
        self, world_model: WorldModel, angle: float, pivot: tuple[float, float] = PIVOT
    ) -> None:
        """Wrap a world model.

        Args:
            world_model: Knows the camera of the training.
            angle: Azimuth of the camera less that of the training's, counted as
                `sim.cameras.CameraPose` does: clockwise, seen from above [rad].
            pivot: Where the camera looks, x and y in the base frame [m]: it stays there as the
                camera is carried round.

        Raises:
            ValueError: A number is not finite.
        """
        if not all(math.isfinite(number) for number in (angle, *pivot)):
            raise ValueError(f"angle and pivot must be finite, got {angle} and {pivot}")
        self.angle, self.pivot = angle, pivot
        self._world_model = world_model

    def encode(self, images: UInt8[Tensor, "n height width 3"]) -> Float[Tensor, "n tokens dim"]:
        """Return what the wrapped world model makes of the images."""
        return self._world_model.encode(images)

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return what would be seen after each of the actions.

        Args:
            context: What was seen and done so far, in the robot's base frame, as ever.
            actions: What is supposed to be done next, in the base frame as well.
        """
        extrinsics = context.extrinsics
        turned = Context(
            latents=context.latents,
            poses=turn_poses(context.poses, self.angle, self.pivot),
            actions=turn_actions(context.actions, self.angle),
            extrinsics=None if extrinsics is None else self._turn_cameras(extrinsics),
        )
        imagined = self._world_model.imagine(turned, turn_actions(actions, self.angle))
        poses = turn_poses(imagined.poses, -self.angle, self.pivot)
        return replace(imagined, context=context, actions=actions, poses=poses)

    def _turn_cameras(self, extrinsics: Float[Tensor, "n past 6"]) -> Float[Tensor, "n past 6"]:
        still = extrinsics.new_zeros(*extrinsics.shape[:2], 1)
        return turn_poses(torch.cat([extrinsics, still], -1), self.angle, self.pivot)[..., :6]


def turn_poses(
    poses: Float[Tensor, "*n 7"], angle: float, pivot: tuple[float, float]
) -> Float[Tensor, "*n 7"]:
    """Return where a robot would be, had it been turned about the vertical through `pivot`.

    Args:
        poses: Positions [m], extrinsic xyz angles [rad] and closedness.
        angle: Counter-clockwise, seen from above [rad].
        pivot: x and y [m].
    """
    centre = poses.new_tensor([*pivot, 0.0])
    position = _about_vertical(poses[..., :3] - centre, angle) + centre
    # Rz(angle) Rz(yaw) = Rz(angle + yaw): roll and pitch stay.
    yaw = _wrapped(poses[..., 5:6] + angle)
    return torch.cat([position, poses[..., 3:5], yaw, poses[..., 6:]], -1)


def turn_actions(actions: Float[Tensor, "*n 7"], angle: float) -> Float[Tensor, "*n 7"]:
    """Return displacements of a robot that was turned about the vertical by `angle` [rad].

    Its rotation `R` becomes `Rz(angle) R Rz(-angle)`, which turns the axis and keeps how far.
    """
    displacement = _about_vertical(actions[..., :3], angle)
    roll, pitch, yaw = actions[..., 3:6].unbind(-1)
    (sr, cr), (sp, cp) = (roll.sin(), roll.cos()), (pitch.sin(), pitch.cos())
    s, c = math.sin(angle), math.cos(angle)
    # Entries of Ry(pitch) Rx(roll) Rz(-angle); what Rz(angle) Rz(yaw) does adds to its yaw.
    level = torch.stack([c * cp - s * sp * sr, -s * cr], -1)
    turned_roll = torch.atan2(c * cp * sr - s * sp, cp * cr)
    turned_pitch = torch.atan2(c * sp + s * cp * sr, torch.hypot(level[..., 0], level[..., 1]))
    turned_yaw = _wrapped(torch.atan2(level[..., 1], level[..., 0]) + yaw + angle)
    rotation = torch.stack([turned_roll, turned_pitch, turned_yaw], -1)
    return torch.cat([displacement, rotation, actions[..., 6:]], -1)


def _about_vertical(vectors: Float[Tensor, "*n 3"], angle: float) -> Float[Tensor, "*n 3"]:
    s, c = math.sin(angle), math.cos(angle)
    x, y, z = vectors.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y, z], -1)


def _wrapped(angle: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return the same angle [rad] in (-pi, pi]; one that is already there is left untouched."""
    turn = 2 * math.pi
    return angle - turn * torch.ceil((angle - math.pi) / turn)
