"""A proposer for a camera that stands elsewhere than the one it was trained with; see `turned`."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.base import Context, Cost, Prior, Proposer, Target
from vjepa_gym.agents.turned import PIVOT, turn_actions, turn_poses


class TurnedProposer:
    """Turns poses and moves before it asks, and turns the answers back."""

    def __init__(
        self, proposer: Proposer, angle: float, pivot: tuple[float, float] = PIVOT
    ) -> None:
        """Wrap a proposer.

        Args:
            proposer: Knows the camera of the training.
            angle: How far the camera was carried, as of `turned.TurnedWorldModel` [rad].
            pivot: Round which point, x and y in the base frame [m].
        """
        self._proposer, self._angle, self._pivot = proposer, angle, pivot

    def propose(
        self,
        context: Context,
        target: Target,
        *,
        samples: int,
        horizon: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "n samples horizon 7"]:
        """Return guesses in the robot's base frame; see `base.Proposer`."""
        guesses = self._proposer.propose(
            *self._turned(context, target),
            samples=samples,
            horizon=horizon,
            generator=generator,
        )
        return turn_actions(guesses, -self._angle)

    def surprise(self, context: Context, target: Target, *, horizon: int) -> Cost:
        """Return what judges actions in the robot's base frame; see `base.Prior`.

        Raises:
            ValueError: What is wrapped cannot say how surprising actions are.
        """
        if not isinstance(self._proposer, Prior):
            raise ValueError(f"a {type(self._proposer).__name__} is no prior")
        surprise = self._proposer.surprise(*self._turned(context, target), horizon=horizon)
        return lambda actions: surprise(turn_actions(actions, self._angle))

    def _turned(self, context: Context, target: Target) -> tuple[Context, Target]:
        """Return what is seen, and wanted, as if the camera had stayed."""
        poses = target.poses
        if poses is not None:
            poses = turn_poses(poses, self._angle, self._pivot)
        turned = replace(
            context,
            poses=turn_poses(context.poses, self._angle, self._pivot),
            actions=turn_actions(context.actions, self._angle),
        )
        return turned, replace(target, poses=poses)
