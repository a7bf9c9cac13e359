"""A goal that somebody made: a frame of an episode, a photograph, a hand driven somewhere."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.experts import toward
from vjepa_gym.envs.placement import Placement
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks.reach import THRESHOLD
from vjepa_gym.errors import PlacementError
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW
from vjepa_gym.types import Action

SLACK = 0.005
"""A pose that was measured may be outside of the workspace by as much [m]."""


class GivenGoal:
    """Success: the tool centre is where it was when the last view was taken, if that is known.

    Of a photograph nothing is known but what it shows, so that there is no success, and the
    distance is not a number.
    """

    target = None
    threshold = THRESHOLD

    def __init__(self, task: Task, world: World, goal: Mapping[str, Any]) -> None:
        """Take over a goal.

        Args:
            task: What would be done otherwise; it arranges the lab.
            world: The lab.
            goal: `images` [k height width 3] uint8, `steps` [k], `poses` [k 7] if known.

        Raises:
            PlacementError: Shapes do not fit each other, or the hand cannot be there.
        """
        self._task = task
        self.images = np.asarray(goal["images"])
        self.steps = tuple(int(count) for count in goal["steps"])
        self.poses = None
        if goal.get("poses") is not None:
            self.poses = np.asarray(goal["poses"], np.float32)
        _check_form(self.images, self.steps, self.poses)
        if self.poses is not None:
            _check_within(world, self.poses)
        self.description = f"Bring about what the {len(self.steps)} given view(s) show."

    def as_info(self) -> dict[str, Any]:
        """Return what `info["goal"]` holds."""
        goal = {"images": self.images, "steps": np.array(self.steps)}
        return goal if self.poses is None else goal | {"poses": self.poses}

    def begin(self, world: World, rng: np.random.Generator, placement: Placement) -> None:
        """Arrange the lab as the task would."""
        self._task.begin(world, rng, placement)

    def goal_poses(self, world: World) -> Float32[np.ndarray, "k 7"]:
        """Return the poses that came with the goal, not a number where none did."""
        del world
        if self.poses is None:
            return np.full((len(self.steps), 7), np.nan, np.float32)
        return self.poses

    def stage(self, world: World) -> int:
        """Return all views on success, none before."""
        return len(self.steps) if self.success(world) else 0

    def expert(self, world: World) -> Action:
        """Return the move towards the last pose; hold still where none is known."""
        if self.poses is None:
            return np.zeros(7, np.float32)
        return toward(world, self.poses[-1])

    def distance(self, world: World) -> float:
        """Return how far the tool centre is from where it was in the last view [m], or NaN."""
        return float(np.linalg.norm(self.achieved_goal(world) - self.desired_goal(world)))

    def success(self, world: World) -> bool:
        """Return whether the tool centre is near enough."""
        return self.distance(world) <= self.threshold

    def progress(self, world: World) -> float:
        """Return 1 on success, and less the farther away."""
        if self.success(world):
            return 1.0
        return float(np.nan_to_num(1.0 - np.tanh(5.0 * self.distance(world))))

    def achieved_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where the tool centre is [m]."""
        return np.asarray(world.arm.tool, np.float32)

    def desired_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where it was in the last view [m]."""
        return np.asarray(world.arm.tool_centre(self.goal_poses(world)[-1]), np.float32)


def _check_form(images: np.ndarray, steps: tuple[int, ...], poses: np.ndarray | None) -> None:
    k = len(steps)
    fits = images.ndim == 4 and len(images) == k and (poses is None or poses.shape == (k, 7))
    if not fits or min(steps, default=0) < 1:
        raise PlacementError(
            "A goal has as many images [k height width 3] as steps [k], each at least 1, and poses "
            f"[k 7] if any; got {images.shape}, {list(steps)} and "
            f"{None if poses is None else poses.shape}."
        )


def _check_within(world: World, poses: np.ndarray) -> None:
    for pose in poses:
        tool = world.arm.tool_centre(pose)
        if not np.all((tool >= WORKSPACE_LOW - SLACK) & (tool <= WORKSPACE_HIGH + SLACK)):
            raise PlacementError(
                f"The goal has the tool centre at {np.round(tool, 3).tolist()} m, outside of the "
                f"workspace from {WORKSPACE_LOW.tolist()} to {WORKSPACE_HIGH.tolist()} m."
            )
