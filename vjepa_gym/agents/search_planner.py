"""What planners that search have in common: settings, actions, random numbers and a clock."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym.agents.action_space import ActionSpace, SearchConfig
from vjepa_gym.agents.base import Cost, Plan
from vjepa_gym.agents.distribution import Distribution
from vjepa_gym.agents.noise import Noise
from vjepa_gym.agents.search import Search, chosen

Config = TypeVar("Config", bound=SearchConfig)


class SearchPlanner(ABC, Generic[Config]):
    """What planners that search have in common: all but how they search.

    Attributes:
        config: How to search.
        space: What the actions are chosen from.
    """

    def __init__(
        self,
        config: Config,
        *,
        space: ActionSpace | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare the search.

        Args:
            config: How to search.
            space: What the actions are chosen from; by default the arm's, as `config` says.
            seed: Seeds the samples.
            device: Where the actions, and the costs given to `plan`, live.
            clock: Tells the time [s]; for `budget_s`.
        """
        self.config = config
        self.space = ActionSpace.arm(config, device) if space is None else space
        self._noise = Noise(self.space.axes, self.space.dim, seed=seed, device=device)
        self._clock = clock

    @property
    def horizon(self) -> int:
        """How many actions a plan has."""
        return self.config.horizon

    def reset(self) -> None:
        """Begin the random numbers anew."""
        self._noise.reset()

    def plan(
        self,
        cost: Cost,
        n: int,
        *,
        previous: Float[Tensor, "robots steps axes"] | None = None,
        proposals: Float[Tensor, "robots some steps axes"] | None = None,
    ) -> Plan:
        """Return the action sequences of least cost that the search comes upon.

        Args:
            cost: Imagines action sequences and compares where they lead with the goal.
            n: How many robots there are.
            previous: The actions planned one step ago; NaN for robots that begin anew.
            proposals: Sequences among the samples of the first iteration.

        Raises:
            ValueError: `previous` or `proposals` are not of this search.
            PlanningError: A cost or a proposal is not finite, or gradients are needed and there
                are none.
        """
        search = Search(
            self.config,
            self.space,
            cost,
            n,
            previous=previous,
            proposals=proposals,
            clock=self._clock,
        )
        self._noise.begin_plan()
        self._search(search)
        return search.plan()

    @abstractmethod
    def _search(self, search: Search) -> None:
        """Go through the iterations, concluding each in the books."""

    def _first(self, search: Search) -> Distribution:
        return Distribution.first(self.space, len(search.best_cost), self.horizon, search.begin)


def elites_of(
    samples: Float[Tensor, "n samples horizon dim"], costs: Float[Tensor, "n samples"], number: int
) -> tuple[
    Float[Tensor, "n elites horizon dim"], Float[Tensor, "n elites"], Int64[Tensor, "n elites"]
]:
    """Return the cheapest samples, what they cost, and which they are; the cheapest first."""
    elite_costs, which = costs.topk(number, largest=False)
    return chosen(samples, which), elite_costs, which
