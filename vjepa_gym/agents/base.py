"""What planners, energies and agents are to each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym.world_models.base import Imagined

Cost: TypeAlias = Callable[[Float[Tensor, "n samples horizon 7"]], Float[Tensor, "n samples"]]
"""How far from the goal each of some action sequences is expected to lead; less is better."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """How a search went, iteration by iteration.

    Attributes:
        best: Least cost among the samples.
        mean: Their mean cost.
        std: Spread from which they were drawn, over the whole horizon [m, rad, closedness].
    """

    best: Float[Tensor, "iterations n"]
    mean: Float[Tensor, "iterations n"]
    std: Float[Tensor, "iterations n 7"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `n` robots are to do next.

    Attributes:
        actions: One sequence a robot.
        cost: What the last iteration's cheapest samples cost, on average over the elites.
        trace: How they were found.
    """

    actions: Float[Tensor, "n horizon 7"]
    cost: Float[Tensor, " n"]
    trace: Trace


@runtime_checkable
class Planner(Protocol):
    """Finds action sequences of little cost; knows neither world model nor robot."""

    def reset(self) -> None:
        """Begin anew, the random numbers included, so that an episode is a function of its seed."""
        ...

    def plan(
        self, cost: Cost, n: int, *, previous: Float[Tensor, "n horizon 7"] | None = None
    ) -> Plan:
        """Return one plan a robot.

        Args:
            cost: What to minimise, for all robots at once.
            n: How many robots there are.
            previous: The actions planned one step ago; NaN for robots that begin anew.
        """
        ...


@runtime_checkable
class Energy(Protocol):
    """Says how unlike the goal an imagined future looks."""

    def __call__(
        self, imagined: Imagined, goal: Float[Tensor, "n tokens dim"]
    ) -> Float[Tensor, "n samples"]:
        """Return one energy a sample; 0 where the future is the goal."""
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
