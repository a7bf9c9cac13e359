"""Random shooting: try many action sequences, take the cheapest. What any search must beat."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.base import Cost, Plan
from vjepa_gym.agents.search_planner import SearchPlanner


@dataclass(kw_only=True)
class RandomShootingConfig(SearchConfig):
    """Random shooting: every iteration draws as many samples again, from the same distribution."""


class RandomShooting(SearchPlanner[RandomShootingConfig]):
    """Plans by trying, for many robots at once.

    A warm start has the previous plan, shifted by a step, among what is tried.
    """

    def plan(
        self,
        cost: Cost,
        n: int,
        *,
        previous: Float[Tensor, "robots steps axes"] | None = None,
        proposals: Float[Tensor, "robots some steps axes"] | None = None,
    ) -> Plan:
        """Return the cheapest action sequences that were tried.

        Args:
            cost: Imagines action sequences and compares where they lead with the goal.
            n: How many robots there are.
            previous: The actions planned one step ago; NaN for robots that begin anew.
            proposals: Sequences among the samples of the first iteration.

        Raises:
            ValueError: `previous` or `proposals` are not of this search.
            PlanningError: A cost or a proposal is not finite.
        """
        search = self._begin(cost, n, previous, proposals)
        distribution = self._first(search, n)
        begin = [distribution.likeliest()[:, None]] if self.config.warm_start else []
        while search.goes_on():
            noise = self._noise.white(self.config.num_samples, self.horizon)
            samples = search.among(distribution.sample(noise), [] if search.iteration else begin)
            costs = search.costs(samples, distribution.std)
            cheapest = costs.argmin(1, keepdim=True)
            spread = torch.full_like(search.best_cost, torch.inf)
            search.conclude(search.best_actions, search.best_cost, spread, cheapest)
        return search.plan()
