"""What a task is to the environment: what is asked for, who can do it, and whether it is done."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from vjepa_gym.envs.placement import Placement
from vjepa_gym.sim.world import World
from vjepa_gym.types import Action


@runtime_checkable
class Task(Protocol):
    """What has to be done in a lab, and whether it has been; written against the true state.

    Attributes:
        description: In words.
        target: Name of the object that it is about, None if it is about the hand alone.
        steps: Control steps allowed for each of the `k` goal views, e.g. 4, 10 and 4.
        threshold: How far from the goal is near enough [m].
    """

    description: str
    target: str | None
    steps: tuple[int, ...]
    threshold: float

    def begin(self, world: World, rng: np.random.Generator, placement: Placement) -> None:
        """Arrange the lab for a new episode that is not solved yet, and draw its goal.

        Raises:
            PlacementError: What `placement` asks for cannot be had.
        """
        ...

    def goal_poses(self, world: World) -> Float32[np.ndarray, "k 7"]:
        """Return about where the flange will be at each view, right after `begin`."""
        ...

    def stage(self, world: World) -> int:
        """Return how many of the views have been reached, up to all `k` of them."""
        ...

    def expert(self, world: World) -> Action:
        """Return what is to be done next: a function of the present state, which it leaves."""
        ...

    def distance(self, world: World) -> float:
        """Return how far from done the lab is [m]."""
        ...

    def success(self, world: World) -> bool:
        """Return whether the task is done once everything has settled; nothing changes."""
        ...

    def progress(self, world: World) -> float:
        """Return how much is done, from 0 to 1; 1 on success alone."""
        ...

    def achieved_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return the place that counts: of the tool centre or of the object [m]."""
        ...

    def desired_goal(self, world: World) -> Float32[np.ndarray, "3"]:
        """Return where that is to be [m]."""
        ...
