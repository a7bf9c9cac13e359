"""Random shooting: try many action sequences, take the cheapest. What any search must beat."""

from dataclasses import dataclass

import torch

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.search import Search
from vjepa_gym.agents.search_planner import SearchPlanner


@dataclass(kw_only=True)
class RandomShootingConfig(SearchConfig):
    """Random shooting: every iteration draws as many samples again, from the same distribution."""


class RandomShooting(SearchPlanner[RandomShootingConfig]):
    """Plans by trying, for many robots at once.

    A warm start has the previous plan, shifted by a step, among what is tried.
    """

    def _search(self, search: Search) -> None:
        distribution = self._first(search)
        begin = [distribution.likeliest()[:, None]] if self.config.warm_start else []
        while search.goes_on():
            noise = self._noise.white(self.config.num_samples, self.horizon)
            samples = search.among(distribution.sample(noise), [] if search.iteration else begin)
            costs = search.costs(samples, distribution.std)
            cheapest = costs.argmin(1, keepdim=True)
            spread = torch.full_like(search.best_cost, torch.inf)
            search.conclude(search.best_actions, search.best_cost, spread, cheapest)
