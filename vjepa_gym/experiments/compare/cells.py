"""The cells of a comparison: a task, how its goal is shown, and a lab."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vjepa_gym.envs import SHORT, check_id, full_id
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.settings import EnvConfig, VariationConfig

SINGLE = ":single"
"""What ends the name of a task of whose goal only the last image is shown."""
WITH_SUBGOALS = ("pick_place_cup", "pick_place_box")
"""The tasks of which more than the last image is shown otherwise."""
TITLES = {
    "reach": "Reach",
    "grasp_cup": "Grasp cup",
    "grasp_box": "Grasp box",
    "reach_with_cup": "Reach w/ cup",
    "reach_with_box": "Reach w/ box",
    "pick_place_cup": "Pick-&-place cup",
    "pick_place_box": "Pick-&-place box",
}
"""What the paper's table calls the tasks."""


@dataclass(frozen=True)
class Cell:
    """Where an agent is measured.

    Attributes:
        task: Name of the task, as it was typed.
        lab: Name of the lab.
    """

    task: str
    lab: str

    def env(self, base: EnvConfig, variation: Mapping[str, Any]) -> EnvConfig:
        """Return the environment.

        Args:
            base: What all cells have in common.
            variation: What differs from one episode to the next, as `VariationConfig` takes it.
        """
        name, single = split(self.task)
        options = base.options | ({"subgoals": False} if single else {})
        return replace(
            base,
            id=full_id(name),
            lab=self.lab,
            variation=VariationConfig(**variation),
            options=options,
        )


def split(task: str) -> tuple[str, bool]:
    """Return the name of a task without `:single`, and whether it had that."""
    return task.removesuffix(SINGLE), task.endswith(SINGLE)


def check_task(task: str) -> None:
    """Do nothing if there is such a task.

    Raises:
        UnknownNameError: There is none, or it has no sub-goals to leave out; lists those there are.
    """
    name, single = split(task)
    if (single and name not in WITH_SUBGOALS) or (name not in SHORT and "/" not in name):
        known = [*SHORT, *(one + SINGLE for one in WITH_SUBGOALS)]
        raise UnknownNameError("task", task, known)
    check_id(full_id(name))


def title(task: str) -> str:
    """Return what the column of a task is called."""
    name, single = split(task)
    return TITLES.get(name, name) + (", 1 image" if single else "")


def file_name(text: str) -> str:
    """Return what a file or folder of that name is called."""
    return text.replace(":", "-").replace("/", "-")
