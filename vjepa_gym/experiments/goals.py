"""Goals by name: a file, or a frame of an episode of a dataset."""

import re
from pathlib import Path

from vjepa_gym.errors import GoalError
from vjepa_gym.experiments.jobs.goal import GoalConfig, goal_from_episode
from vjepa_gym.goal_file import GoalFile, read_goal

OF_EPISODE = re.compile(r"(?P<dataset>.+):(?P<episode>\d+):(?P<frame>-?\d+)")
"""A frame of an episode; -1 is the last."""


def find_goal(name: str) -> GoalFile:
    """Return the goal in a file, or the one that a frame of a recorded episode shows.

    Args:
        name: A path as `vjepa-gym goal` left it; or `<dataset>:<episode>:<frame>` for one view, to
            be made true in as many steps as that command allows for it.

    Raises:
        GoalError: There is none, or the name is neither.
        DatasetError: There is no such episode, or it is damaged.
        WorkspaceError: In the episode the hand was outside of the workspace.
    """
    found = OF_EPISODE.fullmatch(name)
    if found and not Path(name).exists():
        return goal_from_episode(
            GoalConfig(
                source="episode",
                path=found["dataset"],
                index=int(found["episode"]),
                frame=int(found["frame"]),
            )
        )
    if not Path(name).exists() and not name.endswith(".npz"):
        raise GoalError(
            f"{name} is no goal: give a file that `vjepa-gym goal` made, or a frame of an episode"
            " as <dataset>:<episode>:<frame>, such as data/mine:3:-1 for the last of episode 3."
        )
    return read_goal(name)
