"""Reach: bring the hand where the goal image shows it (arXiv 2506.09985, section 4.1)."""

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.experts import toward
from vjepa_gym.envs.placement import (
    ANYWHERE,
    REGION_HIGH,
    REGION_LOW,
    Placement,
    draw_ends,
    draw_until_it_fits,
    scatter,
)
from vjepa_gym.envs.tasks.holding import nearness
from vjepa_gym.envs.tasks.starts import AT_REST
from vjepa_gym.sim.world import World
from vjepa_gym.types import Action

NEAREST, FARTHEST = 0.10, 0.25
"""How far the goal is from the start [m]."""
THRESHOLD = 0.04
"""The paper's reaches all end nearer than this [m] (its figure 8); it publishes no criterion."""
SHOWN = 0.01
"""The goal image is taken when the hand is this near to the goal [m]."""


class Reach:
    """Success: the point between the finger tips lies within `THRESHOLD` of the goal."""

    description = "Bring the hand to where the goal image shows it."
    target: str | None = None
    steps: tuple[int, ...] = (10,)
    threshold = THRESHOLD

    def __init__(self) -> None:
        """Nothing to choose; `begin` draws start and goal."""
        self._goal = (REGION_LOW + REGION_HIGH) / 2

    def begin(
        self, world: World, rng: np.random.Generator, placement: Placement = ANYWHERE
    ) -> None:
        """Scatter the objects, put the hand somewhere, and choose a goal 10 to 25 cm away.

        Raises:
            PlacementError: What `placement` asks for cannot be had.
        """
        start, self._goal, places = draw_until_it_fits(lambda: _draw(world, rng, placement))
        world.arrange(places)
        world.arm.place(world.arm.flange_at(start))
        world.settle(AT_REST)

    def goal_poses(self, world: World) -> Float32[np.ndarray, "1 7"]:
        """Return the pose of the flange at the goal."""
        return world.arm.flange_at(self._goal)[None]

    def stage(self, world: World) -> int:
        """Return 1 once the hand has arrived."""
        return int(self.distance(world) <= SHOWN)

    def expert(self, world: World) -> Action:
        """Return the straight move towards the goal."""
        return toward(world, self.goal_poses(world)[0])

    def distance(self, world: World) -> float:
        """Return how far the tool centre is from the goal [m]."""
        return float(np.linalg.norm(world.arm.tool - self._goal))

    def success(self, world: World) -> bool:
        """Return whether the tool centre lies within `THRESHOLD` of the goal."""
        return self.distance(world) <= THRESHOLD

    def progress(self, world: World) -> float:
        """Return 1 on success, and less the farther away."""
        return 1.0 if self.success(world) else nearness(self.distance(world))

    def achieved_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where the tool centre is [m]."""
        return world.arm.tool.astype(np.float32)

    def desired_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where it is to be [m]."""
        del world
        return self._goal.astype(np.float32)


def _draw(
    world: World, rng: np.random.Generator, placement: Placement
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]] | None:
    """Return start and goal of the tool centre, and where everything stands."""
    given = (placement.arm_start, placement.goal)
    ends = draw_ends(rng, given, REGION_LOW, REGION_HIGH, (NEAREST, FARTHEST))
    if ends is None:
        return None
    cup = {} if placement.object_start is None else {"cup": np.asarray(placement.object_start)}
    places = scatter(world, rng, given=cup, path=np.stack(ends))
    return None if places is None else (*ends, places)
