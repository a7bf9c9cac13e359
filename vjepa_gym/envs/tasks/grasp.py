"""Grasp: take hold of an object, as the goal image shows (arXiv 2506.09985, section 4.1)."""

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.experts import carry, grip_pose, holds, pick
from vjepa_gym.envs.placement import ANYWHERE, Placement
from vjepa_gym.envs.tasks import holding
from vjepa_gym.envs.tasks.holding import FOLLOWS, TEST_LIFT
from vjepa_gym.envs.tasks.starts import begin_picking
from vjepa_gym.sim.world import World
from vjepa_gym.types import Action

LIFTED = 0.01
"""What is held this far above where it stood [m] is off the table: no test lift is needed."""


class Grasp:
    """Success: both fingers touch the object, and it comes along when the hand is lifted."""

    steps: tuple[int, ...] = (12,)
    threshold = TEST_LIFT - LIFTED
    """As near as this to where the test lift would bring it, an object is off the table [m]."""

    def __init__(self, target: str) -> None:
        """Take hold of `target`, the cup or the box."""
        self.target: str | None = target
        self._name = target
        self.description = f"Grasp the {target}."
        self._goal = np.zeros(3)

    def begin(
        self, world: World, rng: np.random.Generator, placement: Placement = ANYWHERE
    ) -> None:
        """Scatter the objects and put the open hand 8 to 20 cm from where it would grip.

        Raises:
            PlacementError: What `placement` asks for cannot be had.
        """
        begin_picking(world, rng, self._name, placement)
        self._goal = world.object_pose(self._name)[:3] + [0.0, 0.0, TEST_LIFT]

    def goal_poses(self, world: World) -> Float32[np.ndarray, "1 7"]:
        """Return the pose of the flange with the object in the hand, lifted."""
        pose = grip_pose(world, self._name)
        pose[2] += TEST_LIFT
        pose[6] = holding.held_closedness(world, self._name)
        return pose[None]

    def stage(self, world: World) -> int:
        """Return 1 once the object is in the hand and lifted."""
        return int(world.grasped(self._name) and self._lift(world) >= FOLLOWS)

    def expert(self, world: World) -> Action:
        """Return the next move of picking the object up, or of holding it there."""
        if holds(world, self._name):
            return carry(world, self._name, self._goal)
        return pick(world, self._name)

    def distance(self, world: World) -> float:
        """Return how far the tool centre is from where it would grip [m]."""
        return holding.to_grip(world, self._name)

    def success(self, world: World) -> bool:
        """Return whether the object is held above the table, or would be after a test lift."""
        if self._lift(world) >= LIFTED:
            return holding.stays_in_hand(world, self._name)
        return holding.follows_a_lift(world, self._name)

    def progress(self, world: World) -> float:
        """Return up to 0.5 for reaching, 0.25 for touching and 0.2 for lifting; 1 on success."""
        if self.success(world):
            return 1.0
        touching = float(np.mean(world.touches(self._name)))
        lifted = float(np.clip(self._lift(world) / TEST_LIFT, 0.0, 1.0))
        reached = holding.nearness(self.distance(world))
        return 0.5 * reached + 0.25 * touching + 0.2 * lifted * touching

    def achieved_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where the object's centre is [m]."""
        return holding.centre(world, self._name)

    def desired_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where it would be after the test lift [m]."""
        del world
        return self._goal.astype(np.float32)

    def _lift(self, world: World) -> float:
        return float(world.object_pose(self._name)[2] - self._goal[2] + TEST_LIFT)
