"""Energies: how far imagined futures are from a target; they compose into one by `Sum`.

The tokens that a world model encodes and imagines are layer-normed, so that distances mean the
same everywhere in the picture. Gradients flow from every energy to the actions; where nobody asks
for them, differences are worked on in place, a step at a time, since they are large.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.base import Energy, Target
from vjepa_gym.world_models.base import Imagined

ANGLES = slice(3, 6)
"""Where roll, pitch and yaw are in a pose and in an action."""


@dataclass(frozen=True, kw_only=True)
class TokenEnergy:
    """What energies of latents have in common.

    Attributes:
        summed: Add up the energies of the whole horizon instead of taking its last step, which
            says nothing about the way there: beyond a horizon of one a robot then dithers.
        token_floor: Least weight of a token. At 1 all count alike. Below, the rest of its weight
            is in proportion to how much target and present view differ there, so that a large
            background that never changes does not drown a small object. Weights are 1 on average.
    """

    summed: bool = True
    token_floor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.token_floor <= 1:
            raise ValueError(f"token_floor must be from 0 to 1, got {self.token_floor}")

    @property
    def needs_poses(self) -> bool:
        """Never: an image tells all."""
        return False

    def _compared(
        self,
        imagined: Imagined,
        target: Target,
        distance: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, "n samples"]:
        goal = target.latents[:, None]
        steps = imagined.latents.unbind(2)
        energies = []
        for latents in steps if self.summed else steps[-1:]:
            each = distance(latents, goal)
            if self.token_floor < 1:
                now = imagined.context.latents[:, -1]
                each = each * token_weights(target.latents, now, self.token_floor)[:, None]
            energies.append(each.mean(-1))
        return torch.stack(energies).sum(0)


class L1(TokenEnergy):
    """Mean absolute difference: the energy of V-JEPA 2-AC (arXiv 2506.09985, eq. 5)."""

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return the energy of each sample."""
        return self._compared(imagined, target, _absolute)


class L2(TokenEnergy):
    """Mean squared difference; steeper far from the goal, smoother near it than `L1`."""

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return the energy of each sample."""
        return self._compared(imagined, target, _squared)


class Cosine(TokenEnergy):
    """One minus the cosine between tokens, on average: 0 if all point the same way, at most 2."""

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return the energy of each sample."""
        return self._compared(imagined, target, _one_minus_cosine)


class MakesTokenEnergy(Protocol):
    """Makes an energy of latents, with the settings that all of them have."""

    def __call__(self, *, summed: bool = True, token_floor: float = 1.0) -> Energy:
        """Return the energy."""
        ...


ENERGIES: Mapping[str, MakesTokenEnergy] = {"l1": L1, "l2": L2, "cosine": Cosine}
"""The energies of latents by name."""


@dataclass(frozen=True, kw_only=True)
class PoseDistance:
    """How far the hand is from the target's pose, in metres: an upper bound, no goal image has it.

    Attributes:
        rotation: What a radian counts for [m].
        gripper: What closing an open gripper counts for [m].
        summed: As in `L1`.
    """

    rotation: float = 0.1
    gripper: float = 0.1
    summed: bool = True

    def __post_init__(self) -> None:
        _check_not_negative(rotation=self.rotation, gripper=self.gripper)

    @property
    def needs_poses(self) -> bool:
        """Always."""
        return True

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return the distance of each sample.

        Raises:
            ValueError: The target has no poses.
        """
        if target.poses is None:
            raise ValueError("PoseDistance needs the poses of the target: give a goal with poses.")
        poses = imagined.poses if self.summed else imagined.poses[:, :, -1:]
        goal = target.poses.to(poses.dtype)[:, None, None]
        way = torch.linalg.vector_norm(poses[..., :3] - goal[..., :3], dim=-1)
        turn = angle_between(poses[..., ANGLES], goal[..., ANGLES])
        grip = (poses[..., 6] - goal[..., 6]).abs()
        return (way + self.rotation * turn + self.gripper * grip).sum(-1)


@dataclass(frozen=True, kw_only=True)
class ActionCost:
    """How much is moved over the horizon, in metres: what is far from nothing must be worth it.

    Attributes:
        rotation: What a radian counts for [m].
        gripper: What closing an open gripper counts for [m].
    """

    rotation: float = 0.1
    gripper: float = 0.1

    def __post_init__(self) -> None:
        _check_not_negative(rotation=self.rotation, gripper=self.gripper)

    @property
    def needs_poses(self) -> bool:
        """Never: a move costs the same wherever the target is."""
        return False

    def __call__(
        self,
        imagined: Imagined,
        target: Target,  # noqa: ARG002 - an energy's arguments
    ) -> Float[Tensor, "n samples"]:
        """Return the cost of each sample."""
        actions = imagined.actions
        way = torch.linalg.vector_norm(actions[..., :3], dim=-1)
        turn = angle_between(actions[..., ANGLES], torch.zeros_like(actions[..., ANGLES]))
        return (way + self.rotation * turn + self.gripper * actions[..., 6].abs()).sum(-1)


@dataclass(frozen=True)
class Sum:
    """Several energies, each with its weight, added up.

    Attributes:
        terms: Weight and energy of each.
    """

    terms: tuple[tuple[float, Energy], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a sum of energies needs at least one term")
        if not all(math.isfinite(weight) for weight, _ in self.terms):
            raise ValueError(f"weights must be finite, got {[w for w, _ in self.terms]}")

    @property
    def needs_poses(self) -> bool:
        """Whether any of them does."""
        return any(energy.needs_poses for _, energy in self.terms)

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return the sum of each sample."""
        parts = [weight * energy(imagined, target) for weight, energy in self.terms]
        return torch.stack(parts).sum(0)


def token_weights(
    goal: Float[Tensor, "n tokens dim"], now: Float[Tensor, "n tokens dim"], floor: float
) -> Float[Tensor, "n tokens"]:
    """Return how much each token counts, 1 on average; all alike where nothing differs.

    Args:
        goal: What is to be seen.
        now: What is seen.
        floor: Least weight, from 0 to 1; the rest is in proportion to the mean absolute difference.
    """
    differs = (goal - now).abs().mean(-1)
    average = differs.mean(-1, keepdim=True)
    relative = torch.where(average > 0, differs / average, torch.ones_like(differs))
    return floor + (1 - floor) * relative


def angle_between(
    first: Float[Tensor, "*n 3"], second: Float[Tensor, "*m 3"]
) -> Float[Tensor, "*_"]:
    """Return by how much two rotations differ [rad], 0 to pi; its gradient is finite everywhere.

    Args:
        first: Extrinsic xyz angles [rad].
        second: Others, whose axes broadcast with those of `first`.
    """
    one, other = _quaternion(first), _quaternion(second)
    # A quaternion and its negative are the same rotation.
    apart = torch.linalg.vector_norm(one - other, dim=-1)
    across = torch.linalg.vector_norm(one + other, dim=-1)
    return 4 * torch.asin(torch.minimum(apart, across) / 2)


def _quaternion(euler: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 4"]:
    (cr, cp, cy), (sr, sp, sy) = (euler / 2).cos().unbind(-1), (euler / 2).sin().unbind(-1)
    return torch.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        -1,
    )


def _absolute(latents: Tensor, goal: Tensor) -> Tensor:
    difference = latents - goal
    return (difference.abs() if difference.requires_grad else difference.abs_()).mean(-1)


def _squared(latents: Tensor, goal: Tensor) -> Tensor:
    difference = latents - goal
    return (difference.square() if difference.requires_grad else difference.square_()).mean(-1)


def _one_minus_cosine(latents: Tensor, goal: Tensor) -> Tensor:
    """Return it without a copy of the latents: products and norms are numbers of each token."""
    product = torch.einsum("nstd,nktd->nst", latents, goal)
    norms = torch.linalg.vector_norm(latents, dim=-1) * torch.linalg.vector_norm(goal, dim=-1)
    return 1 - product / norms.clamp_min(torch.finfo(norms.dtype).tiny)


def _check_not_negative(**weights: float) -> None:
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {weight}")
