"""Other ways to say what the arm is to do."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from vjepa_gym.spaces import ACTION_LIMIT
from vjepa_gym.types import Action

PLANNED = np.array([0, 1, 2, 6])
"""What V-JEPA 2-AC's released planner chooses: x y z and the gripper; the hand is never turned."""


class NormalizedAction(gym.ActionWrapper[Any, np.ndarray, np.ndarray]):
    """Actions within -1 and 1, each the share of what one step allows; what learners expect."""

    def __init__(self, env: gym.Env[Any, np.ndarray]) -> None:
        """Wrap an environment whose actions are bounded alike to both sides.

        Raises:
            ValueError: Its action space is not such a box.
        """
        super().__init__(env)
        self._scale = _half_width(env.action_space)
        self.action_space = Box(-1.0, 1.0, self._scale.shape, np.float32)

    def action(self, action: Any) -> np.ndarray:
        """Return the metric displacement."""
        return (np.asarray(action) * self._scale).astype(np.float32)


class XYZGripper(gym.ActionWrapper[Any, Action, Action]):
    """The subset of actions that V-JEPA 2-AC plans: x y z [m] and the change of closedness."""

    def __init__(self, env: gym.Env[Any, Action]) -> None:
        """Wrap an environment with seven-dimensional metric actions.

        Raises:
            ValueError: It has others.
        """
        super().__init__(env)
        limit = _half_width(env.action_space)
        if not np.array_equal(limit, ACTION_LIMIT):
            raise ValueError(
                "XYZGripper goes around an environment of metric displacements [7]; put "
                f"NormalizedAction outside of it, not inside (limits found: {limit.tolist()})."
            )
        self.action_space = Box(-limit[PLANNED], limit[PLANNED], dtype=np.float32)

    def action(self, action: Any) -> Action:
        """Return the whole action, with no rotation."""
        whole = np.zeros(7, np.float32)
        whole[PLANNED] = action
        return whole


def _half_width(space: gym.Space[Any]) -> np.ndarray:
    if not isinstance(space, Box) or not np.array_equal(space.high, -space.low):
        raise ValueError(f"Actions must be a box that is alike to both sides, got {space}.")
    return space.high
