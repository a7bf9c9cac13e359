"""Reach with object: bring what the hand holds to where the goal image shows it (section 4.1)."""

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.experts import carry, holds, pick
from vjepa_gym.envs.placement import (
    ANYWHERE,
    REGION_HIGH,
    REGION_LOW,
    Placement,
    draw_ends,
    draw_until_it_fits,
    scatter,
    within,
)
from vjepa_gym.envs.tasks import holding
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW
from vjepa_gym.types import Action

NEAREST, FARTHEST = 0.10, 0.25
"""How far the goal is from the start [m]."""
THRESHOLD = 0.05
"""How far the object's centre may be from the goal [m]: about its own size."""
HELD_LOW = REGION_LOW + [0.0, 0.0, 0.06]
"""The lowest place of a hand that holds something [m]: that is clear of the rest then."""
SHOWN = 0.01
"""The goal image is taken when the object is this near to the goal [m]."""


class ReachWithObject:
    """Success: the object lies within `THRESHOLD` of the goal, still in the hand."""

    steps: tuple[int, ...] = (12,)
    threshold = THRESHOLD

    def __init__(self, target: str) -> None:
        """Carry `target`, the cup or the box."""
        self.target: str | None = target
        self._name = target
        self.description = f"Bring the {target} in the hand to where the goal image shows it."
        self._goal = np.zeros(3)

    def begin(
        self, world: World, rng: np.random.Generator, placement: Placement = ANYWHERE
    ) -> None:
        """Put the object into the hand and the hand somewhere; the goal is 10 to 25 cm away.

        Raises:
            PlacementError: What `placement` asks for cannot be had.
        """
        start, goal, places = draw_until_it_fits(lambda: self._draw(world, rng, placement))
        world.arrange(places)
        holding.put_into_hand(world, self._name, start)
        self._goal = goal + self._below(world)

    def goal_poses(self, world: World) -> Float32[np.ndarray, "1 7"]:
        """Return the pose of the flange with the object at the goal."""
        tool = self._goal - self._below(world)
        closedness = holding.held_closedness(world, self._name)
        return world.arm.flange_at(tool, closedness=closedness)[None]

    def stage(self, world: World) -> int:
        """Return 1 once the object has arrived in the hand."""
        return int(world.grasped(self._name) and self.distance(world) <= SHOWN)

    def expert(self, world: World) -> Action:
        """Return the move towards the goal; what has been dropped is picked up first."""
        if holds(world, self._name):
            return carry(world, self._name, self._goal)
        return pick(world, self._name)

    def distance(self, world: World) -> float:
        """Return how far the object's centre is from the goal [m]."""
        return float(np.linalg.norm(world.object_pose(self._name)[:3] - self._goal))

    def success(self, world: World) -> bool:
        """Return whether the object is near the goal and stays in the hand."""
        near = self.distance(world) <= THRESHOLD
        return near and holding.stays_in_hand(world, self._name)

    def progress(self, world: World) -> float:
        """Return up to 0.3 for having the object in the hand, and 0.65 for nearing the goal."""
        if self.success(world):
            return 1.0
        if not world.grasped(self._name):
            return 0.3 * holding.nearness(holding.to_grip(world, self._name))
        return 0.3 + 0.65 * holding.nearness(self.distance(world))

    def achieved_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where the object's centre is [m]."""
        return holding.centre(world, self._name)

    def desired_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where it is to be [m]."""
        del world
        return self._goal.astype(np.float32)

    def _below(self, world: World) -> np.ndarray:
        return holding.below_tool(world, self._name)

    def _draw(
        self, world: World, rng: np.random.Generator, placement: Placement
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]] | None:
        """Return start and goal of the tool centre, and where everything else stands."""
        below, start, goal = self._below(world), placement.arm_start, placement.goal
        # What is held is above the table.
        low = np.append(WORKSPACE_LOW[:2], world.objects[self._name].grip_height)
        if start is not None:
            start = within("arm_start", start, low, WORKSPACE_HIGH)
        if goal is not None:
            goal = within("goal", goal, low + below, WORKSPACE_HIGH + below) - below
        ends = draw_ends(rng, (start, goal), HELD_LOW, REGION_HIGH, (NEAREST, FARTHEST))
        if ends is None:
            return None
        # What is dropped on the way falls on nothing.
        path = np.stack(ends) * [1.0, 1.0, 0.0]
        places = scatter(world, rng, given={}, without=self._name, path=path)
        return None if places is None else (*ends, places)
