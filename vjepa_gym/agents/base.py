"""What planners, energies, proposers and agents are to each other."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym.world_models.base import Context, Imagined, Target

__all__ = [
    "Context",
    "Cost",
    "Ended",
    "Energy",
    "HighLevel",
    "Imagined",
    "Plan",
    "Planner",
    "Prior",
    "Proposer",
    "Target",
    "Trace",
    "current_view",
]

Cost: TypeAlias = Callable[[Float[Tensor, "n samples horizon dim"]], Float[Tensor, "n samples"]]
"""How far from the goal each of some action sequences is expected to lead; less is better. An
action of the arm has seven numbers; a search may also be over other vectors (`ActionSpace`)."""


class Ended(Enum):
    """Why a search went no further."""

    iterations = "iterations"
    """All its iterations are done."""
    converged = "converged"
    """Every robot's distribution has become narrower than `converged_below`."""
    budget = "budget"
    """A further iteration would have taken longer than `budget_s` allows."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """How a search went, iteration by iteration.

    A robot that has converged keeps its answer while its neighbours search on; the trace follows
    the search. The last three are there if the search was told to `record`.

    Attributes:
        best: Least cost among the samples.
        mean: Their mean cost.
        std: Spread from which they were drawn, over the whole horizon [m, rad, closedness].
        samples: The sequences themselves; NaN where an iteration had fewer of them.
        energies: What each of them costs; NaN likewise.
        elites: Which of them the next distribution was made from, cheapest first.
    """

    best: Float[Tensor, "iterations n"]
    mean: Float[Tensor, "iterations n"]
    std: Float[Tensor, "iterations n dim"]
    samples: Float[Tensor, "iterations n samples horizon dim"] | None = None
    energies: Float[Tensor, "iterations n samples"] | None = None
    elites: Int64[Tensor, "iterations n elites"] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `n` robots are to do next.

    Attributes:
        actions: One sequence a robot.
        cost: What it is expected to cost: its own cost where it was imagined as it is, otherwise
            that of the samples it was averaged from.
        trace: How they were found.
        evaluations: How many action sequences were imagined for each robot.
        ended: Why the search went no further.
    """

    actions: Float[Tensor, "n horizon dim"]
    cost: Float[Tensor, " n"]
    trace: Trace
    evaluations: int
    ended: Ended


@runtime_checkable
class Planner(Protocol):
    """Finds action sequences of little cost; knows neither world model nor robot."""

    @property
    def horizon(self) -> int:
        """How many actions a plan has."""
        ...

    def reset(self) -> None:
        """Begin anew, the random numbers included, so that an episode is a function of its seed."""
        ...

    def plan(
        self,
        cost: Cost,
        n: int,
        *,
        previous: Float[Tensor, "n horizon dim"] | None = None,
        proposals: Float[Tensor, "n proposals horizon dim"] | None = None,
    ) -> Plan:
        """Return one plan a robot.

        Args:
            cost: What to minimise, for all robots at once.
            n: How many robots there are.
            previous: The actions planned one step ago; NaN for robots that begin anew.
            proposals: Sequences that take the place of random samples in the first iteration.
        """
        ...


@runtime_checkable
class Energy(Protocol):
    """Says how unlike the target an imagined future looks."""

    @property
    def needs_poses(self) -> bool:
        """Whether the target's poses are asked for, which a goal image does not tell."""
        ...

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return one energy a sample; less is better."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """Guesses at action sequences that lead to a target, without imagining where they lead."""

    def propose(
        self,
        context: Context,
        target: Target,
        *,
        samples: int,
        horizon: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "n samples horizon 7"]:
        """Return some guesses a robot.

        Args:
            context: What the robots have seen and done.
            target: What they are to make true.
            samples: How many guesses are wanted; the first is the most likely one.
            horizon: How many actions each has.
            generator: Makes the others differ from it.
        """
        ...


@runtime_checkable
class Prior(Protocol):
    """Says how surprising action sequences are, without imagining where they lead."""

    def surprise(self, context: Context, target: Target, *, horizon: int) -> Cost:
        """Return what gives the negative log-likelihood of action sequences.

        It is in nats, summed over the steps, up to a constant of each robot.

        Args:
            context: What the robots have seen and done.
            target: What they are to make true.
            horizon: How many actions the sequences have.
        """
        ...


@runtime_checkable
class HighLevel(Protocol):
    """Puts intermediate latent goals between a robot and a far one."""

    def reset(self) -> None:
        """Begin anew, the random numbers included."""
        ...

    def subgoal(self, context: Context, target: Target, elapsed: Int64[Tensor, " n"]) -> Target:
        """Return what is to be made true now, on the way to the target.

        Args:
            context: What the robots have seen and done.
            target: The goal itself.
            elapsed: How many steps each robot has gone towards it.
        """
        ...


def current_view(
    steps: tuple[int, ...], elapsed: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Return which of the goal's views each robot is to make true after `elapsed` steps.

    The views change by the clock alone, as in V-JEPA 2 (4 + 10 + 4 steps for pick-and-place); the
    last one stays.
    """
    changes = np.cumsum(steps)[:-1]
    return np.searchsorted(changes, elapsed, side="right").astype(np.int64)
