"""Pick and place: take an object to where the goal image shows it (section 4.1)."""

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.experts import CLEARANCE, RETREAT, carry, grip_pose, holds, let_go, pick
from vjepa_gym.envs.placement import ANYWHERE, Placement
from vjepa_gym.envs.tasks import holding
from vjepa_gym.envs.tasks.starts import begin_picking
from vjepa_gym.sim.world import World
from vjepa_gym.types import Action

NEAREST, FARTHEST = 0.15, 0.30
"""How far the goal is from the start [m]: an arm's step is 7.5 cm, and there are 18 of them."""
THRESHOLD = 0.05
"""How far the object may stand from the goal [m]: about its own size."""
PLACED = 0.03
"""Nearer to the goal than this the expert lets go [m]."""
NEAR = 0.02
"""How near the object is to being above the goal for the second view [m]."""
AWAY = 0.05
"""How far the hand has gone up for the last view [m]: the picture shows that it let go."""


class PickPlace:
    """Success: the object stands at the goal upright and still, and no finger touches it."""

    threshold = THRESHOLD

    def __init__(self, target: str, *, subgoals: bool = True) -> None:
        """Move `target`, the cup or the box; without sub-goals only the last view is shown."""
        self.target: str | None = target
        self._name = target
        self.description = f"Pick up the {target} and place it where the goal image shows it."
        # The paper switches from one view to the next after 4, 10 and 4 steps.
        self.steps: tuple[int, ...] = (4, 10, 4) if subgoals else (18,)
        self._goal = np.zeros(3)

    def begin(
        self, world: World, rng: np.random.Generator, placement: Placement = ANYWHERE
    ) -> None:
        """Scatter the objects, put the hand 8 to 20 cm from one, and choose a place for it.

        Raises:
            PlacementError: What `placement` asks for cannot be had.
        """
        goal = begin_picking(world, rng, self._name, placement, (NEAREST, FARTHEST))
        self._goal = np.append(goal, world.objects[self._name].height / 2)

    def goal_poses(self, world: World) -> Float32[np.ndarray, "k 7"]:
        """Return the poses of the flange: gripping, above the place, gone up from it."""
        grip = grip_pose(world, self._name)
        grip[6] = holding.held_closedness(world, self._name)
        above, gone = grip.copy(), grip.copy()
        offset = self._goal - world.object_pose(self._name)[:3]
        above[:3] += (offset + [0, 0, CLEARANCE]).astype(np.float32)
        gone[:3] += (offset + [0, 0, RETREAT]).astype(np.float32)
        gone[6] = 0.0
        return np.stack([grip, above, gone])[-len(self.steps) :]

    def stage(self, world: World) -> int:
        """Return how far it has come: gripped, held near the place, placed and let go."""
        away = holding.to_grip(world, self._name) > AWAY and not any(world.touches(self._name))
        if self._aside(world) < PLACED and holding.stands(world, self._name):
            views = 3 if away else 2
        elif world.grasped(self._name):
            views = 2 if self._aside(world) < NEAR else 1
        else:
            views = 0
        return views if len(self.steps) == 3 else int(views == 3)

    def expert(self, world: World) -> Action:
        """Return the next move; what fell over is not set upright again."""
        if self._placed(world):
            return let_go(world, self._name)
        if holds(world, self._name):
            return carry(world, self._name, self._goal)
        return pick(world, self._name)

    def distance(self, world: World) -> float:
        """Return how far the object's centre is from the goal [m]."""
        return float(np.linalg.norm(world.object_pose(self._name)[:3] - self._goal))

    def success(self, world: World) -> bool:
        """Return whether the object, once everything has settled, is where it should be."""
        if self._aside(world) > THRESHOLD or any(world.touches(self._name)):
            return False
        with world.undone():
            world.settle(holding.HOLDING)
            still = world.object_speed(self._name) < holding.STILL
            near = self._aside(world) <= THRESHOLD and not any(world.touches(self._name))
            return still and near and holding.stands(world, self._name)

    def progress(self, world: World) -> float:
        """Return up to 0.3 for reaching, 0.7 for carrying, 0.8 for placing; 1 on success."""
        if self.success(world):
            return 1.0
        if self._placed(world):
            return 0.8
        if world.grasped(self._name):
            return 0.3 + 0.4 * holding.nearness(self._aside(world))
        return 0.3 * holding.nearness(holding.to_grip(world, self._name))

    def achieved_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where the object's centre is [m]."""
        return holding.centre(world, self._name)

    def desired_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where it is to be [m]."""
        del world
        return self._goal.astype(np.float32)

    def _aside(self, world: World) -> float:
        return float(np.linalg.norm((world.object_pose(self._name)[:3] - self._goal)[:2]))

    def _placed(self, world: World) -> bool:
        low = holding.lowest(world, self._name) < holding.ON_TABLE
        return low and self._aside(world) < PLACED
