"""Goals that no agent can be given, found before any model runs."""

import numpy as np

from vjepa_gym.errors import GoalError
from vjepa_gym.types import Goal, Observation


def check_goal(goal: Goal, *, needs_poses: bool = False) -> None:
    """Check that there is something to bring about.

    Args:
        goal: What agents are to be given.
        needs_poses: Whether its poses will be asked for.

    Raises:
        GoalError: There is no view or no robot, the images are no bytes, or the steps or the poses
            are not one a view.
    """
    images = np.asarray(goal.images)
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[-1] != 3:
        raise GoalError(
            "A goal's images must be uint8 [n k height width 3], k views of each of n robots, got "
            f"{images.dtype} {list(images.shape)}."
        )
    n, k = images.shape[:2]
    if not images.size:
        raise GoalError(
            f"A goal needs at least one robot and one view, got {n} robots and {k} views of "
            f"{images.shape[2]} x {images.shape[3]} px."
        )
    if len(goal.steps) != k or min(goal.steps) < 1:
        raise GoalError(
            f"A goal's steps must be {k} positive numbers, one a view, got {tuple(goal.steps)}."
        )
    if not needs_poses:
        return
    if goal.poses is None:
        raise GoalError(
            "This agent's energy needs the goal's poses, and a goal of images has none: leave the "
            "pose term out (agent.pose_weight=0), or give a goal with poses."
        )
    if np.shape(goal.poses) != (n, k, 7):
        raise GoalError(f"A goal's poses must be [{n} {k} 7], got {list(np.shape(goal.poses))}.")


def check_fits(goal: Goal, present: Goal | None) -> None:
    """Check that robots can begin anew towards `goal` beside others that go on.

    Raises:
        ValueError: It has another form than the `present` goal of the others.
    """
    if present is None or _form(goal) != _form(present):
        others = "none" if present is None else str(_form(present))
        raise ValueError(
            "Robots that begin anew beside others need a goal of the same form (robots, views and "
            f"their sizes; steps): {others}, got {_form(goal)}. Reset all robots (which=None) "
            "instead."
        )


def check_seen(observation: Observation, goal: Goal | None) -> None:
    """Check that what is observed can be compared with the goal.

    Raises:
        GoalError: There is no goal, it is that of another number of robots, or its images are of
            another size.
    """
    if goal is None:
        raise GoalError("There is no goal yet: call reset(goal) before act(observation).")
    seen, wanted = observation["image"].shape, goal.images.shape
    if seen[0] != wanted[0]:
        raise GoalError(f"The goal is that of {wanted[0]} robots, {seen[0]} are observed.")
    if seen[1:3] != wanted[2:4]:
        raise GoalError(
            f"The goal's images are {wanted[2]} x {wanted[3]} px, what is observed is {seen[1]} x "
            f"{seen[2]} px (height x width): they must be alike. images.fit_height makes them so."
        )


def _form(goal: Goal) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return goal.images.shape, goal.steps
