"""Driving an agent through the seeds that are missing, in batches that depend on nothing before."""

from collections.abc import Callable, Collection, Sequence

import gymnasium as gym

from vjepa_gym.experiments.compare.contenders import Contender
from vjepa_gym.experiments.compare.outcome import Outcome, Watched
from vjepa_gym.experiments.familiar import FirstLook
from vjepa_gym.experiments.rollout import EpisodeRecord, rollout
from vjepa_gym.types import Agent
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


def drive(
    contender: Contender,
    envs: gym.vector.VectorEnv,
    seeds: range,
    missing: Collection[int],
    keep: Callable[[Outcome], None],
    *,
    seen_by: VJEPA2AC | None = None,
) -> None:
    """Drive the batches that have a missing seed.

    A batch is as many seeds as there are environments, by their place in the list, and the agent
    is made anew for each. So it is a function of its seeds, wherever others were stopped. The last
    one is filled up with seeds that follow, which nobody keeps.

    Args:
        contender: Makes the agent.
        envs: Where.
        seeds: All that are wanted of it.
        missing: Those that are not there yet.
        keep: Called with each missing episode, as soon as its batch is over.
        seen_by: A model that warns if the first views are unlike those of its training.
    """
    for first in range(seeds.start, seeds.stop, envs.num_envs):
        batch = range(first, first + envs.num_envs)
        wanted = [seed for seed in batch if seed in missing]
        if not wanted:
            continue
        watched = Watched(contender.make(envs, first), counted=contender.counted)
        agent: Agent = watched if seen_by is None else FirstLook(watched, seen_by)
        seen_by = None
        rollout(envs, agent, batch, record_frames=False, on_episode=_keeping(wanted, watched, keep))


def _keeping(
    wanted: Sequence[int], watched: Watched, keep: Callable[[Outcome], None]
) -> Callable[[EpisodeRecord], None]:
    def on_episode(record: EpisodeRecord) -> None:
        if record.seed in wanted:
            keep(Outcome.of(record, watched.evaluations))

    return on_episode
