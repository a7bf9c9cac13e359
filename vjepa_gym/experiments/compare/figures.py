"""What a comparison says: a figure for each agent in each cell, and pairs on the same seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vjepa_gym.experiments.compare.cells import Cell, title
from vjepa_gym.experiments.compare.ledger import AGENTS, CODE, LABS, SETTINGS, TASKS, Ledger
from vjepa_gym.experiments.compare.outcome import Outcome
from vjepa_gym.experiments.statistics import mcnemar, wilson_interval

PLANS = ("planning", "two_level")
"""The agents that plan with all there is."""
BOUNDS = {"inverse": "the proposals alone", "no_proposals": "planning without proposals"}
"""What such an agent should beat, and what that is called."""
PRIVILEGED = "privileged"
"""What the facts of an agent say of whether it knows what no image shows."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """How an agent does in one cell.

    Attributes:
        lab: Where.
        task: What is done.
        agent: By whom.
        episodes: How many count.
        solved_at_start: How many began where there was nothing to do, and count for nobody.
        successes: How many had succeeded at the end.
        rate: Their share.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
        once: Share that were successful at some step, if not at the end.
        median_distance: Median distance at the end [m]; None if nobody knows.
        seconds: Median time of a decision [s].
        evaluations: Median number of action sequences imagined for one; None if that is not known.
    """

    lab: str
    task: str
    agent: str
    episodes: int
    solved_at_start: int
    successes: int
    rate: float
    low: float
    high: float
    once: float
    median_distance: float | None
    seconds: float
    evaluations: float | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two agents on the seeds that both have done in one cell.

    Attributes:
        episodes: How many these are.
        first: Successes of the one.
        second: Successes of the other.
        p_value: Of being equally good; exact, after McNemar.
    """

    episodes: int
    first: int
    second: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is in the folder of a comparison.

    Attributes:
        tasks: The columns.
        labs: One block of rows each.
        agents: The rows, and what is known of each.
        settings: What all results depend on.
        code: Versions of the code that measured.
        outcomes: The episodes by cell and agent; those with none are left out.
    """

    tasks: Sequence[str]
    labs: Sequence[str]
    agents: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    code: Sequence[Mapping[str, Any]]
    outcomes: Mapping[tuple[Cell, str], Sequence[Outcome]]

    def privileged(self, agent: str) -> bool:
        """Return whether an agent knows what no image shows."""
        return bool(self.agents[agent].get(PRIVILEGED))

    def counted(self, cell: Cell, agent: str) -> list[Outcome]:
        """Return the episodes that had something to solve."""
        return [one for one in self.outcomes.get((cell, agent), ()) if not one.solved_at_start]

    def figure(self, cell: Cell, agent: str) -> Figure | None:
        """Return how an agent does in a cell; None if no episode counts."""
        counted = self.counted(cell, agent)
        if not counted:
            return None
        successes = sum(one.success for one in counted)
        low, high = wilson_interval(successes, len(counted))
        evaluations = [number for one in counted for number in one.evaluations]
        distances = [one.final_distance for one in counted if one.final_distance is not None]
        return Figure(
            lab=cell.lab,
            task=cell.task,
            agent=agent,
            episodes=len(counted),
            solved_at_start=len(self.outcomes[cell, agent]) - len(counted),
            successes=successes,
            rate=successes / len(counted),
            low=low,
            high=high,
            once=sum(one.success_once for one in counted) / len(counted),
            median_distance=_median(distances),
            seconds=_median([second for one in counted for second in one.seconds]) or 0.0,
            evaluations=_median(evaluations),
        )

    def figures(self) -> list[Figure]:
        """Return all figures, in the order of the table: lab, agent, task."""
        cells = [
            (Cell(task, lab), agent)
            for lab in self.labs
            for agent in self.agents
            for task in self.tasks
        ]
        found = [self.figure(cell, agent) for cell, agent in cells]
        return [figure for figure in found if figure is not None]

    def effort(self, lab: str, agent: str) -> tuple[float | None, float | None]:
        """Return the median time of a decision [s] in a lab, and how many futures it takes."""
        counted = [one for task in self.tasks for one in self.counted(Cell(task, lab), agent)]
        seconds = [second for one in counted for second in one.seconds]
        return _median(seconds), _median([number for one in counted for number in one.evaluations])

    def pair(self, cell: Cell, first: str, second: str) -> Pair | None:
        """Return two agents on the seeds that both have done; None if there is no such seed."""
        mine, theirs = (
            {one.seed: one.success for one in self.counted(cell, agent)}
            for agent in (first, second)
        )
        common = sorted(mine.keys() & theirs.keys())
        if not common:
            return None
        ours = np.array([mine[seed] for seed in common], bool)
        others = np.array([theirs[seed] for seed in common], bool)
        return Pair(
            episodes=len(common),
            first=int(ours.sum()),
            second=int(others.sum()),
            p_value=mcnemar(ours, others),
        )

    def remarks(self) -> list[str]:
        """Return a sentence wherever planning has fewer successes than what it should beat."""
        said = [
            self._remark(lab, plan, bound)
            for lab in self.labs
            for plan in PLANS
            for bound in BOUNDS
        ]
        return [sentence for sentence in said if sentence]

    def _remark(self, lab: str, plan: str, bound: str) -> str:
        where: list[str] = []
        for task in self.tasks:
            pair = self.pair(Cell(task, lab), plan, bound)
            if pair is not None and pair.first < pair.second:
                where.append(
                    f"{title(task)}, {pair.first} against {pair.second} of {pair.episodes}"
                    f" (p = {pair.p_value:.2g})"
                )
        if not where:
            return ""
        return (
            f"Lab {lab}: {plan} has fewer successes than {BOUNDS[bound]} ({bound}) on the same"
            f" seeds in {'; '.join(where)}; p is McNemar's, exact."
        )


def read_comparison(ledger: Ledger) -> Comparison:
    """Return all that is in a folder.

    Raises:
        EvaluationError: Something there is damaged; names it.
    """
    there = ledger.config()
    tasks, labs, agents = there.get(TASKS, []), there.get(LABS, []), there.get(AGENTS, {})
    outcomes: dict[tuple[Cell, str], list[Outcome]] = {}
    for cell in (Cell(task, lab) for lab in labs for task in tasks):
        for agent in agents:
            if found := ledger.outcomes(cell, agent):
                outcomes[cell, agent] = found
    return Comparison(
        tasks=tasks,
        labs=labs,
        agents=agents,
        settings=there.get(SETTINGS, {}),
        code=there.get(CODE, []),
        outcomes=outcomes,
    )


def _median(numbers: Sequence[float] | Sequence[int]) -> float | None:
    return float(np.median(numbers)) if numbers else None
