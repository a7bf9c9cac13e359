"""Agents that bound a table of results: doing nothing, anything, and the right thing.

`privileged` says whether an agent is given the goal's poses; all others see images only.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32

from vjepa_gym import kinematics
from vjepa_gym.agents.base import current_view
from vjepa_gym.spaces import ACTION_LIMIT, MAX_TRANSLATION
from vjepa_gym.types import Goal, Observation


class HoldStill:
    """Does nothing: what it achieves was never in need of an agent."""

    privileged: ClassVar[bool] = False

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Take note of nothing."""

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return no displacement."""
        return np.zeros_like(observation["pose"])


class RandomAgent:
    """Moves the hand by displacements drawn evenly from what one step allows; never turns it."""

    privileged: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        """Seed the moves."""
        self._rng = np.random.default_rng(seed)

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Take note of nothing."""

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return a random displacement for each robot."""
        actions = np.zeros_like(observation["pose"])
        actions[:, :3] = self._rng.uniform(-MAX_TRANSLATION, MAX_TRANSLATION, (len(actions), 3))
        return actions


class ScriptedReach:
    """Goes straight to the goal's pose, which no agent that plans from images is told."""

    privileged: ClassVar[bool] = True

    def __init__(self) -> None:
        self._poses: np.ndarray | None = None
        self._steps: tuple[int, ...] = ()
        self._elapsed = np.zeros(0, np.int64)

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin towards `goal`.

        Raises:
            ValueError: The goal has no poses.
        """
        if goal.poses is None:
            raise ValueError(
                "ScriptedReach goes to the goal's poses, but goal.poses is None; give it the goal "
                "as the environment made it, not goal.images_only()."
            )
        anew = np.ones(len(goal.poses), bool) if which is None else which
        if which is None:
            self._poses, self._elapsed = goal.poses.copy(), np.zeros(len(anew), np.int64)
        assert self._poses is not None
        self._poses[anew] = goal.poses[anew]
        self._elapsed[anew] = 0
        self._steps = goal.steps

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return the displacement towards the goal, shortened until every axis is within limits."""
        assert self._poses is not None
        view = current_view(self._steps, self._elapsed)
        self._elapsed += 1
        target = self._poses[np.arange(len(view)), view]
        action = kinematics.difference(observation["pose"], target)
        return np.concatenate([_shortened(action, part) for part in PARTS], -1)


PARTS = (slice(0, 3), slice(3, 6), slice(6, 7))
"""Displacement, rotation and gripper are shortened apart, each keeping its direction."""


def _shortened(action: Float32[np.ndarray, "n 7"], part: slice) -> np.ndarray:
    excess = np.abs(action[:, part] / ACTION_LIMIT[part]).max(axis=1, keepdims=True)
    return (action[:, part] / np.maximum(excess, 1.0)).astype(np.float32)
