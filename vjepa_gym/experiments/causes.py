"""Why a planning agent failed: the goal and its energy, the world model, or the search.

A failed episode is run again, from the same seed, with one part at a time made perfect. If an
exhaustive search in the same world model succeeds, the search is to blame. If it fails and succeeds
with the simulator in the model's place, the model is. If that fails too, the energy, the latents
that it compares or the goal are: perfect foresight does not help.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

import gymnasium as gym

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.cem import CEMConfig
from vjepa_gym.experiments.rollout import EpisodeRecord, rollout
from vjepa_gym.types import Agent

OnCause = Callable[[int, "Cause"], None]
"""Called with the seed of a failed episode and why it failed, as soon as that is known."""


class Cause(Enum):
    """What of an agent to improve."""

    energy = "oracle also fails"
    """The energy of the goal does not lead there, even with the simulator's own dynamics."""
    model = "model wrong"
    """With the simulator's own dynamics it would have succeeded."""
    search = "search wrong"
    """With a search of many more samples it would have succeeded."""


def exhaustive(config: SearchConfig) -> CEMConfig:
    """Return a search of the same actions that leaves little to be found."""
    return _thorough(
        config,
        num_samples=800,
        num_iterations=12,
        num_elites=20,
        min_std=min(5e-4, config.max_translation / 2),
        std_momentum=0.3,
        kept_elites=5,
        answer_best=True,
    )


def foresight(config: SearchConfig) -> CEMConfig:
    """Return a search of the same actions for a world model that simulates each: one step ahead."""
    return _thorough(
        config,
        horizon=1,
        num_samples=32,
        num_iterations=4,
        num_elites=6,
        std_momentum=0.0,
        kept_elites=2,
    )


def _thorough(config: SearchConfig, **chosen: Any) -> CEMConfig:
    """Return a search among the actions of `config` that nothing but its iterations ends."""
    same = {field.name: getattr(config, field.name) for field in fields(SearchConfig)}
    unhurried = {"initial_std": 1.0, "converged_below": 0.0, "budget_s": None, "record": False}
    usual = {"mean_momentum": 0.0, "sample_mean": True, "weighted_elites": True}
    return CEMConfig(**(same | unhurried | usual | chosen))


def failures(records: Sequence[EpisodeRecord]) -> list[int]:
    """Return the seeds of episodes that had something to solve and did not end solved."""
    return [r.seed for r in records if not (r.success or r.solved_at_start)]


def find_causes(
    seeds: Sequence[int],
    envs: gym.vector.VectorEnv,
    *,
    thorough: Agent,
    foreseeing: Agent,
    options: dict[str, object] | None = None,
    on_cause: OnCause | None = None,
) -> dict[int, Cause]:
    """Return why each of some episodes failed, by seed.

    Args:
        seeds: Of the failed episodes.
        envs: Where they failed; one environment is enough.
        thorough: The agent with an exhaustive search.
        foreseeing: The agent with the simulator as its world model, of these environments.
        options: Given to every reset.
        on_cause: Told of each cause as soon as it is known.
    """
    found: dict[int, Cause] = {}
    for seed in seeds:
        if _succeeds(envs, thorough, seed, options):
            found[seed] = Cause.search
        elif _succeeds(envs, foreseeing, seed, options):
            found[seed] = Cause.model
        else:
            found[seed] = Cause.energy
        if on_cause is not None:
            on_cause(seed, found[seed])
    return found


def told(causes: Mapping[int, Cause], unexplained: int = 0) -> str:
    """Return a line that counts causes: `3 failures: model wrong 2, search wrong 1`.

    Args:
        causes: Of explained failures, by seed.
        unexplained: How many failures were not looked into.
    """
    counts = Counter(causes.values())
    words = [f"{cause.value} {counts[cause]}" for cause in Cause if counts[cause]]
    words += [f"not looked into {unexplained}"] if unexplained else []
    total = len(causes) + unexplained
    return f"{total} failure{'s' * (total != 1)}: {', '.join(words)}" if total else "no failures"


def _succeeds(
    envs: gym.vector.VectorEnv, agent: Agent, seed: int, options: dict[str, object] | None
) -> bool:
    (record,) = rollout(envs, agent, [seed], record_frames=False, options=options)
    return record.success
