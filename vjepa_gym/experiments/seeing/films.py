"""Rows of episodes for a world model to imagine: of a dataset, or done now in an environment."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.settings import EnvConfig
from vjepa_gym.types import Frames

CAMERA = "left"
"""Whose frames models learn from."""
BEHAVIOUR = "scripted"
"""Who acts in an environment: its expert, after a walk if there is time."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """Some rows of an episode, in order.

    Attributes:
        name: What they are called.
        images: What was seen.
        poses: Where the hand was.
    """

    name: str
    images: UInt8[np.ndarray, "rows height width 3"]
    poses: Float32[np.ndarray, "rows 7"]


def films_of(
    frames: Frames, episodes: Sequence[int], *, start: int, steps: int, stride: int
) -> list[Film]:
    """Return rows of some episodes.

    Args:
        frames: Episodes.
        episodes: Their numbers, from 0.
        start: The first row.
        steps: Steps after it.
        stride: Rows from one step to the next.

    Raises:
        DatasetError: There is no such episode, or it is too short; says what there is.
    """
    found = []
    for episode in episodes:
        if not 0 <= episode < frames.num_episodes:
            raise DatasetError(
                f"There is no episode {episode} among those held out, which are 0 to"
                f" {frames.num_episodes - 1}."
            )
        first, end = frames.offsets[episode : episode + 2].tolist()
        needed = start + steps * stride + 1
        if needed > end - first:
            raise DatasetError(
                f"Episode {episode} of those held out has {end - first} rows; {steps} steps of"
                f" {stride} from row {start} on need {needed}. Choose a smaller job.start,"
                " job.horizon or job.stride."
            )
        rows = slice(first + start, first + needed, stride)
        found.append(
            Film(
                name=f"episode {episode}",
                images=np.array(frames.images[rows]),
                poses=np.array(frames.poses[rows]),
            )
        )
    return found


def films_now(
    env: EnvConfig, seeds: Sequence[int], *, start: int, steps: int, stride: int
) -> list[Film]:
    """Return rows of episodes that are done now by the environment's expert.

    Args:
        env: Where.
        seeds: One an episode.
        start: The first row.
        steps: Steps after it.
        stride: Moves from one step to the next.
    """
    from vjepa_gym.envs.recording import record_episode

    found = []
    moves = start + steps * stride
    with closing(gym.make(env.id, **{**env.keywords(), "horizon": moves})) as made:
        for seed in seeds:
            episode = record_episode(made, BEHAVIOUR, seed=seed, steps=moves)
            rows = slice(start, None, stride)
            images, poses = episode.images[CAMERA][rows], episode.poses[rows]
            found.append(Film(name=f"seed {seed}", images=images, poses=poses))
    return found
