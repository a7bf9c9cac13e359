"""The cross-entropy method: sample actions, keep the cheapest, refit, repeat.

V-JEPA 2 plans with it (arXiv 2506.09985, section 3.2). Its figures come from 800 samples and ten
iterations an action; with the few samples that a small computer can afford, the precision of a
reach depends on how soon the search lets its spread shrink, which is what `fast` changes.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.action_space import Gripper, SearchConfig
from vjepa_gym.agents.distribution import Distribution
from vjepa_gym.agents.search import Search
from vjepa_gym.agents.search_planner import SearchPlanner, elites_of


@dataclass(kw_only=True)
class CEMConfig(SearchConfig):
    """Cross-entropy search."""

    num_elites: int = 10
    """How many of the cheapest samples the distribution is refitted to."""
    min_std: float = 0.0
    """The spread of displacements never falls below this [m]; that of rotations never below the
    same fraction of their limit."""
    mean_momentum: float = 0.15
    """Share of the old mean in the new one."""
    std_momentum: float = 0.75
    """Share of the old spread of displacements in the new one. With few iterations, a large share
    is what keeps the spread, and so the error of the answer, at centimetres."""
    gripper_momentum: float = 0.15
    """Share of the gripper's old mean and spread, or odds, in the new ones."""
    kept_elites: int = 0
    """How many elites also stand among the samples of the next iteration."""
    sample_mean: bool = False
    """Whether the mean itself is one of the samples."""
    weighted_elites: bool = False
    """Whether cheaper elites count for more, by the logarithm of their rank as in CMA-ES
    (Hansen, arXiv 1604.00772, eq. 49); otherwise all count the same."""
    repeated: float = 0.0
    """Share of the first iteration's samples that deviate alike at every step: few of these tell in
    which direction to go, which they could not in all directions of all steps."""
    answer_best: bool = False
    """Whether the answer is the cheapest sample instead of the mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_min_std(self.min_std)
        self._refuse_outside_unit("mean_momentum", "std_momentum", "gripper_momentum")
        if not 0 <= self.repeated <= 1:
            raise ValueError(f"repeated must lie in [0, 1], got {self.repeated}")
        if not 1 < self.num_elites <= self.num_samples:
            raise ValueError(
                f"num_elites must lie between 2 and num_samples = {self.num_samples}, "
                f"got {self.num_elites}"
            )
        if not 0 <= self.kept_elites <= self.num_elites:
            raise ValueError(
                f"kept_elites must lie between 0 and num_elites = {self.num_elites}, "
                f"got {self.kept_elites}"
            )


class CEM(SearchPlanner[CEMConfig]):
    """Plans with the cross-entropy method, for many robots at once.

    The same noise serves every robot, so that what one does depends neither on its neighbours nor
    on how many there are.
    """

    def _search(self, search: Search) -> None:
        config = self.config
        distribution = self._first(search)
        kept: list[Tensor] = []
        while search.goes_on():
            # Sample action sequences
            noise = self._noise.white(config.num_samples, self.horizon)
            if search.iteration == 0:
                number = round(config.repeated * config.num_samples)
                noise = torch.cat([noise[:number, :1].expand_as(noise[:number]), noise[number:]])
            drawn = distribution.sample(noise)
            mean = [distribution.likeliest()[:, None]] if config.sample_mean else []
            samples = search.among(drawn, [*mean, *kept])

            # Imagine where they lead
            costs = search.costs(samples, distribution.std)

            # Select the elites, cheapest first
            elites, elite_costs, which = elites_of(samples, costs, config.num_elites)
            kept = [elites[:, : config.kept_elites]]

            # Refit the distribution to them
            distribution = self._refit(elites, distribution)

            answer, expected = distribution.likeliest(), elite_costs.mean(1)
            if config.answer_best:
                answer, expected = search.best_actions, search.best_cost
            search.conclude(answer, expected, distribution.spread(), which)

    def _refit(
        self, elites: Float[Tensor, "n elites horizon dim"], old: Distribution
    ) -> Distribution:
        config, space = self.config, self.space
        weights = _elite_weights(config)
        # A variance about the elites' own mean is too small by this.
        unbiased = float((1 - weights.square().sum()).rsqrt())
        fitted = Distribution.fit(space, elites, weights.to(elites), config.gripper_smoothing)
        mean_momentum = space.row(config.mean_momentum, config.gripper_momentum)
        std_momentum = space.row(config.std_momentum, config.gripper_momentum)
        mixed = fitted.wider(unbiased).mixed(old, mean_momentum, std_momentum)
        return mixed.no_narrower(space.row(config.min_std, 0.0) * space.unit)


def _elite_weights(config: CEMConfig) -> Float[Tensor, "1 elites"]:
    rank = torch.arange(1.0, config.num_elites + 1)
    weights = torch.ones_like(rank)
    if config.weighted_elites:
        weights = math.log(config.num_elites + 0.5) - rank.log()
    return (weights / weights.sum())[None]


def paper() -> CEMConfig:
    """Return the search behind the tables of V-JEPA 2 (arXiv 2506.09985, section 4).

    Momenta, initial spreads and the gripper's limits are those of the released notebook.
    """
    return CEMConfig()


def released() -> CEMConfig:
    """Return what the released code of V-JEPA 2 searches with unless told otherwise.

    It compares the last of the two imagined views with the goal: the energy of a horizon that is
    not summed.
    """
    return CEMConfig(horizon=2, num_samples=400, max_translation=0.05, std_momentum=0.15)


def fast() -> CEMConfig:
    """Return a search two steps ahead with a tenth of the paper's samples.

    The cheapest elites weigh most and stay among the samples, so does the mean, the spread soon
    follows the elites, and the answer is the cheapest sequence of all. Half of the first samples
    repeat one action: two steps ahead the energy of a far goal has several valleys, and few such
    samples find the deepest. A single step ahead a hand stays in the nearest (docs/results.md). The
    gripper is held still, as a reach wants.
    """
    return CEMConfig(
        gripper=Gripper.still,
        horizon=2,
        num_samples=96,
        num_iterations=8,
        num_elites=12,
        mean_momentum=0.0,
        std_momentum=0.3,
        gripper_momentum=0.0,
        min_std=1e-3,
        kept_elites=3,
        sample_mean=True,
        weighted_elites=True,
        repeated=0.5,
        answer_best=True,
        warm_start=True,
    )


def frugal() -> CEMConfig:
    """Return a search with a hundred samples an action, for a world model that simulates each."""
    return replace(
        fast(),
        horizon=1,
        num_samples=32,
        num_iterations=3,
        num_elites=8,
        std_momentum=0.0,
        kept_elites=2,
    )
