"""What an evaluation measured: the episodes of each agent, and a row of figures for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.causes import Cause, told
from vjepa_gym.experiments.rollout import EpisodeRecord
from vjepa_gym.experiments.statistics import mcnemar, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One row of the table.

    Attributes:
        agent: Whose row it is.
        episodes: How many count.
        rejected: How many began where there was nothing to do, and count for nobody.
        successes: How many had succeeded at the end.
        rate: Their share.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
        once: Share that were successful at some step, if not at the end.
        near: Share that ended within the stricter distance.
        median_distance: Median distance at the end [m].
        seconds: Median time of a decision [s].
        p_value: Of doing as well as the first agent on the same seeds; None for itself.
    """

    agent: str
    episodes: int
    rejected: int
    successes: int
    rate: float
    low: float
    high: float
    once: float
    near: float
    median_distance: float
    seconds: float
    p_value: float | None

    @property
    def known(self) -> bool:
        """Whether anybody can tell how it ended: of a photograph nobody knows the pose."""
        return not np.isnan(self.median_distance)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that was measured, and all that it depended on.

    Attributes:
        title: What was evaluated.
        records: Episodes by agent; the first agent is the one under test, the others are controls.
        near_distance: The stricter distance [m].
        thresholds: Distances worth a line in the plot [m].
        facts: What is known about the model: its card, its gates.
        configuration: What the run was told.
        causes: Why episodes of the agent under test failed, by seed, of those looked into.
    """

    title: str
    records: Mapping[str, Sequence[EpisodeRecord]]
    near_distance: float
    thresholds: tuple[float, ...]
    facts: Mapping[str, Any]
    configuration: Mapping[str, Any]
    causes: Mapping[int, Cause] = field(default_factory=dict)

    @property
    def failures(self) -> str:
        """How many episodes of the agent under test failed, and why; empty if not looked into."""
        failed = sum(not record.success for record in self.counted(self.agent))
        return told(self.causes, failed - len(self.causes)) if self.causes else ""

    @property
    def agent(self) -> str:
        """The agent under test."""
        return next(iter(self.records))

    def counted(self, agent: str) -> list[EpisodeRecord]:
        """Return the episodes of an agent that had something to solve."""
        return [record for record in self.records[agent] if not record.solved_at_start]

    def summaries(self) -> list[Summary]:
        """Return a row an agent."""
        first = _successes(self.counted(self.agent))
        return [self._summary(agent, first) for agent in self.records]

    def _summary(self, agent: str, first: np.ndarray) -> Summary:
        records = self.counted(agent)
        if not records:
            raise EvaluationError(
                f"None of the {len(self.records[agent])} episodes of {agent!r} had anything to "
                "solve: they began where they count as solved. Choose a goal farther away, "
                "or other seeds."
            )
        final = np.array([record.distances[-1] for record in records])
        successes = _successes(records)
        low, high = wilson_interval(int(successes.sum()), len(records))
        return Summary(
            agent=agent,
            episodes=len(records),
            rejected=len(self.records[agent]) - len(records),
            successes=int(successes.sum()),
            rate=float(successes.mean()),
            low=low,
            high=high,
            once=float(np.mean([record.success_once for record in records])),
            near=float(np.mean(final <= self.near_distance)),
            median_distance=float(np.median(final)),
            seconds=float(np.median(np.concatenate([record.seconds for record in records]))),
            p_value=None if agent == self.agent else mcnemar(first, successes),
        )


def _successes(records: Sequence[EpisodeRecord]) -> np.ndarray:
    return np.array([record.success for record in records], bool)
