"""Model-predictive path integral control: all samples count, the cheaper the more.

Williams et al., Information theoretic MPC for model-based reinforcement learning (ICRA 2017), in
the form of TD-MPC2 (Hansen et al., arXiv 2310.16828, appendix A): the spread is refitted too, only
the elites are averaged, and the next plan begins at this one, shifted.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.action_space import Gripper, SearchConfig
from vjepa_gym.agents.distribution import Distribution
from vjepa_gym.agents.search import Search
from vjepa_gym.agents.search_planner import SearchPlanner, elites_of


@dataclass(kw_only=True)
class MPPIConfig(SearchConfig):
    """Path-integral search."""

    horizon: int = 2
    num_samples: int = 128
    num_iterations: int = 6
    gripper: Gripper = Gripper.still
    warm_start: bool = True
    num_elites: int = 24
    """How many of the cheapest samples are averaged; 0 averages all."""
    temperature: float = 0.5
    """How much dearer samples still count: e times less for each multiple of this and of what the
    averaged samples cost more than the cheapest, on average. Relative to the costs, since energies
    of one model are ten times those of another."""
    min_std: float = 1e-3
    """The spread of displacements never falls below this [m]; that of rotations never below the
    same fraction of their limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_min_std(self.min_std)
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.num_elites <= self.num_samples:
            raise ValueError(
                f"num_elites must lie between 0, which averages all samples, and num_samples = "
                f"{self.num_samples}, got {self.num_elites}"
            )


class MPPI(SearchPlanner[MPPIConfig]):
    """Plans with path integrals, for many robots at once."""

    def _search(self, search: Search) -> None:
        config, space = self.config, self.space
        min_std = space.row(config.min_std, 0.0) * space.unit
        distribution = self._first(search)
        while search.goes_on():
            # Sample action sequences
            drawn = distribution.sample(self._noise.white(config.num_samples, self.horizon))
            samples = search.among(drawn)

            # Imagine where they lead
            costs = search.costs(samples, distribution.std)

            # Weigh the elites by what they cost
            number = config.num_elites or config.num_samples
            elites, elite_costs, which = elites_of(samples, costs, number)
            weights = weights_of(elite_costs, config.temperature)

            # Refit the distribution to them
            fitted = Distribution.fit(space, elites, weights, config.gripper_smoothing)
            distribution = fitted.no_narrower(min_std)
            expected = (weights * elite_costs).sum(1)
            search.conclude(distribution.likeliest(), expected, distribution.spread(), which)


def weights_of(costs: Float[Tensor, "n elites"], temperature: float) -> Float[Tensor, "n elites"]:
    """Return how much each sample counts: a Boltzmann distribution whose scale the costs set."""
    excess = costs - costs.amin(1, keepdim=True)
    scale = temperature * excess.mean(1, keepdim=True)
    return torch.softmax(-excess / scale.clamp_min(torch.finfo(costs.dtype).tiny), 1)
