"""Reach: bring the hand where the goal image shows it (arXiv 2506.09985, section 4.1)."""

from typing import Any

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW, flange_at, scatter_objects
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.sim.arm import tool_centre
from vjepa_gym.sim.world import World

NEAREST, FARTHEST = 0.10, 0.25
"""How far the goal is from the start [m]."""
THRESHOLD = 0.04
"""The paper's reaches all end nearer than this [m] (its figure 8); it publishes no criterion."""


class Reach:
    """Success: the point between the finger tips lies within `THRESHOLD` of the goal."""

    description = "Bring the hand to where the goal image shows it."
    steps = (10,)

    def __init__(self) -> None:
        """Nothing to choose; `begin` draws start and goal."""
        self._goal = flange_at((REGION_LOW + REGION_HIGH) / 2)

    def begin(self, world: World, rng: np.random.Generator) -> Float32[np.ndarray, "1 7"]:
        """Scatter the objects, put the hand somewhere, and choose a goal 10 to 25 cm away."""
        scatter_objects(world, rng)
        start = rng.uniform(REGION_LOW, REGION_HIGH)
        self._goal = flange_at(_goal_near(start, rng))
        world.arm.place(flange_at(start))
        world.settle()
        return self._goal[None]

    def goal_images(self, world: World) -> np.ndarray:
        """Draw the hand at the goal and everything else where it is [1 height width 3]."""
        with world.undone():
            world.arm.place(self._goal)
            return world.image()[None]

    def distance(self, world: World) -> float:
        """Return how far the tool centre is from the goal [m]."""
        return float(np.linalg.norm(tool_centre(world.arm.pose) - tool_centre(self._goal)))

    def success(self, world: World) -> bool:
        """Return whether the tool centre lies within `THRESHOLD` of the goal."""
        return self.distance(world) <= THRESHOLD


def make_reach(**kwargs: Any) -> TabletopEnv:
    """Return the environment behind `vjepa_gym/FrankaReach-v0`; arguments as in `TabletopEnv`."""
    return TabletopEnv(Reach(), **kwargs)


def _goal_near(start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    while True:
        goal = rng.uniform(REGION_LOW, REGION_HIGH)
        if NEAREST <= np.linalg.norm(goal - start) <= FARTHEST:
            return goal
