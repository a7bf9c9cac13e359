"""Gymnasium environments that mirror V-JEPA 2's tabletop tasks (arXiv 2506.09985, section 4)."""

import re

import gymnasium as gym

from vjepa_gym.errors import UnknownNameError

TASKS = (
    "Reach",
    "GraspCup",
    "GraspBox",
    "ReachWithCup",
    "ReachWithBox",
    "PickPlaceCup",
    "PickPlaceBox",
)
"""The columns of the paper's table; `making.MAKERS` says what makes each."""


def env_id(task: str, *, state: bool = False) -> str:
    """Return the id of a task, or of its variant without pictures."""
    return f"vjepa_gym/Franka{task}{'State' if state else ''}-v0"


def snake_case(task: str) -> str:
    """Return what a task is called on the command line: `PickPlaceCup` is `pick_place_cup`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", task).lower()


REACH = env_id("Reach")
IDS = tuple(env_id(task) for task in TASKS)
"""The ids of the seven tasks."""
SHORT = {snake_case(task): env_id(task) for task in TASKS}
"""Their ids by the names that the command line has for them."""


def full_id(name: str) -> str:
    """Return the id of a task that is called by its short name, or the name itself."""
    return SHORT.get(name, name)


def check_id(env_id: str) -> None:
    """Do nothing if Gymnasium knows the id, or will once it has imported the module that it names.

    Raises:
        UnknownNameError: It does not; lists ours.
    """
    if ":" not in env_id and env_id not in gym.registry:
        ours = [name for name in gym.registry if name.startswith("vjepa_gym/")]
        raise UnknownNameError("environment", env_id, ours)


def register() -> None:
    """Tell Gymnasium our ids; nothing heavy is imported until an environment is made."""
    for task in TASKS:
        for state, maker in ((False, "make_tabletop"), (True, "make_state")):
            gym.register(
                env_id(task, state=state),
                entry_point=f"vjepa_gym.envs.making:{maker}",
                kwargs={"task": task},
            )
