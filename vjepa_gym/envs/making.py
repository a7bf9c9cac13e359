"""From the name of a task to its environment: what Gymnasium's registry calls."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

from vjepa_gym.envs.arguments import check_name
from vjepa_gym.envs.state_env import StateEnv
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks.grasp import Grasp
from vjepa_gym.envs.tasks.pick_place import PickPlace
from vjepa_gym.envs.tasks.reach import Reach
from vjepa_gym.envs.tasks.reach_with_object import ReachWithObject

MAKERS: dict[str, Callable[..., Task]] = {
    "Reach": Reach,
    "GraspCup": partial(Grasp, "cup"),
    "GraspBox": partial(Grasp, "box"),
    "ReachWithCup": partial(ReachWithObject, "cup"),
    "ReachWithBox": partial(ReachWithObject, "box"),
    "PickPlaceCup": partial(PickPlace, "cup"),
    "PickPlaceBox": partial(PickPlace, "box"),
}
"""The paper's columns: what makes each task."""
OPTIONS = ("subgoals", *list(signature(TabletopEnv).parameters)[1:])
"""What may be said of an environment: `gym.make(..., <option>=...)`."""


def make_tabletop(*, task: str, subgoals: bool = True, **kwargs: Any) -> TabletopEnv:
    """Return the environment behind `vjepa_gym/Franka<task>-v0`; see `TabletopEnv`."""
    for name in kwargs:
        check_name("option of an environment", name, OPTIONS)
    return TabletopEnv(_make_task(task, subgoals), **kwargs)


def make_state(*, task: str, subgoals: bool = True, **kwargs: Any) -> StateEnv:
    """Return the environment behind `vjepa_gym/Franka<task>State-v0`; see `StateEnv`."""
    return StateEnv(_make_task(task, subgoals), **kwargs)


def _make_task(name: str, subgoals: bool) -> Task:
    # Only pick-and-place has sub-goals to leave out.
    return MAKERS[name]() if subgoals or "PickPlace" not in name else MAKERS[name](subgoals=False)
