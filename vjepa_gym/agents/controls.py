"""Agents that bound a table of results: doing nothing, anything, and the right thing.

`privileged` says whether an agent is given the goal's poses and told what the environment's expert
would do; all others see images only.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32

from vjepa_gym.spaces import MAX_TRANSLATION
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


class Expert:
    """Does what the environment's own expert would, which knows the simulator's state."""

    privileged: ClassVar[bool] = True

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Take note of nothing: the expert knows what is to be done."""

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return what the expert would do.

        Raises:
            ValueError: The environment does not say.
        """
        if "expert_action" not in observation:
            raise ValueError(
                "Expert needs to be told what the expert would do: make the environment with "
                "expert_actions=True and pass info['expert_action'] on in the observation, as "
                "experiments.rollout does."
            )
        return np.asarray(observation["expert_action"], np.float32)
