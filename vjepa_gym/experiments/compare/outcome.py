"""What is kept of an episode of a comparison, as a line of JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from vjepa_gym.experiments.rollout import EpisodeRecord
from vjepa_gym.types import Agent, Goal, Observation


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one episode went.

    Attributes:
        seed: Start and goal are a function of it.
        success: Whether the task's own predicate held at the end.
        success_once: Whether it ever did.
        solved_at_start: Whether there was nothing to do; such episodes count for nobody.
        final_distance: How far from done the task was at the end [m]; None if nobody knows.
        seconds: Time that each decision took [s]; robots that decide together share it.
        evaluations: How many action sequences were imagined for each decision; none if the agent
            does not say.
        variation: What differed from the lab as it is.
    """

    seed: int
    success: bool
    success_once: bool
    solved_at_start: bool
    final_distance: float | None
    seconds: Sequence[float]
    evaluations: Sequence[int] = ()
    variation: Mapping[str, Any]

    @classmethod
    def of(cls, record: EpisodeRecord, evaluations: Sequence[int] = ()) -> "Outcome":
        """Return what is kept of an episode."""
        said = record.to_json()
        names = {field.name for field in fields(cls)} - {"evaluations"}
        return cls(**{name: said[name] for name in names}, evaluations=list(evaluations))

    def to_line(self) -> str:
        """Return a line of JSON, its end included."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Outcome":
        """Return the outcome that `to_line` wrote.

        Raises:
            ValueError: It is none.
        """
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(str(error)) from error


class Watched:
    """An agent, and how many action sequences it imagined for each decision.

    Attributes:
        privileged: Whether it is given the goal's poses.
        evaluations: One number a decision since the last reset, if the agent says.
    """

    def __init__(self, agent: Agent, *, counted: bool = True) -> None:
        """Watch an agent.

        Args:
            agent: What acts.
            counted: Whether the plans that it shows are all that it imagined.
        """
        self.privileged = bool(getattr(agent, "privileged", False))
        self.evaluations: list[int] = []
        self._agent, self._counted = agent, counted

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin anew."""
        self.evaluations = []
        self._agent.reset(goal, which)

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return what the agent does."""
        action = self._agent.act(observation)
        plan = getattr(self._agent, "plan", None)
        if self._counted and plan is not None:
            self.evaluations.append(int(plan.evaluations))
        return action
