"""The improved cross-entropy method: fewer samples, each of which says more.

Pinneri et al., Sample-efficient cross-entropy method for real-time planning (arXiv 2008.06389),
algorithm 1: noise that hangs together along the horizon, elites that stay from one iteration to
the next and from one step to the next, fewer samples the narrower the search, and the best
sequence as the answer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.action_space import Gripper, SearchConfig
from vjepa_gym.agents.distribution import Distribution, shifted
from vjepa_gym.agents.search import Search
from vjepa_gym.agents.search_planner import SearchPlanner, elites_of


@dataclass(kw_only=True)
class ICEMConfig(SearchConfig):
    """Improved cross-entropy search; momentum, decay and what is kept are the paper's."""

    horizon: int = 2
    num_samples: int = 128
    """Action sequences imagined in the first iteration."""
    num_iterations: int = 8
    gripper: Gripper = Gripper.still
    warm_start: bool = True
    num_elites: int = 6
    """How many of the cheapest samples the distribution is refitted to."""
    noise_exponent: float = 2.0
    """How much the noise hangs together along the horizon: 0 not at all, 2 to 4 in the paper.
    It matters from a horizon of three on: two steps have no frequencies to choose from."""
    decay: float = 1.15
    """Each iteration has this many times fewer samples than the one before, but at least twice
    the elites, if there were as many."""
    kept_fraction: float = 0.3
    """Share of the elites that also stand among the samples of the next iteration, and, shifted by
    a step, among the first of the next plan if it starts warm."""
    momentum: float = 0.1
    """Share of the old mean and spread in the new ones."""
    min_std: float = 1e-3
    """The spread of displacements never falls below this [m]; that of rotations never below the
    same fraction of their limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_min_std(self.min_std)
        self._refuse_below(0, "noise_exponent")
        self._refuse_below(1, "decay")
        self._refuse_outside_unit("momentum")
        if not 0 <= self.kept_fraction <= 1:
            raise ValueError(f"kept_fraction must lie in [0, 1], got {self.kept_fraction}")
        if not 1 < self.num_elites <= self.num_samples:
            raise ValueError(
                f"num_elites must lie between 2 and num_samples = {self.num_samples}, "
                f"got {self.num_elites}"
            )

    @property
    def num_kept(self) -> int:
        """How many elites stay among the samples."""
        return int(self.kept_fraction * self.num_elites)

    def samples_in(self, iteration: int) -> int:
        """Return how many action sequences an iteration imagines; the first is 0."""
        fewer = int(self.num_samples * self.decay**-iteration)
        return min(self.num_samples, max(fewer, 2 * self.num_elites))


class ICEM(SearchPlanner[ICEMConfig]):
    """Plans with the improved cross-entropy method, for many robots at once.

    It remembers the elites of the plan before, for robots whose `previous` plan is given.
    """

    _remembered: Float[Tensor, "n kept horizon dim"] | None = None

    def reset(self) -> None:
        """Begin the random numbers anew and forget the elites."""
        super().reset()
        self._remembered = None

    def _search(self, search: Search) -> None:
        config = self.config
        if search.begin is not None and search.previous is not None:
            search.begin = shifted(search.previous, search.previous[:, -1])
        distribution = self._first(search)
        kept: Tensor | None = None
        while search.goes_on():
            # Sample action sequences that hang together, fewer in each iteration
            number = config.samples_in(search.iteration)
            noise = self._noise.coloured(number, self.horizon, config.noise_exponent)
            drawn = distribution.sample(noise)

            # Keep elites: those of the plan before, shifted, then those of the iteration before
            kept = self._shifted_elites(search, drawn) if kept is None else kept
            last = search.iteration == config.num_iterations - 1
            mean = [distribution.likeliest()[:, None]] if last else []
            samples = search.among(drawn, [*mean, kept])

            # Imagine where they lead
            costs = search.costs(samples, distribution.std)

            # Select the elites and refit the distribution to them
            elites, _, which = elites_of(samples, costs, config.num_elites)
            kept = elites[:, : config.num_kept]
            self._remember(kept, search)
            distribution = self._refit(elites, distribution)
            search.conclude(search.best_actions, search.best_cost, distribution.spread(), which)

    def _refit(
        self, elites: Float[Tensor, "n elites horizon dim"], old: Distribution
    ) -> Distribution:
        config, space = self.config, self.space
        weights = elites.new_full((1, config.num_elites), 1 / config.num_elites)
        fitted = Distribution.fit(space, elites, weights, config.gripper_smoothing)
        momentum = space.row(config.momentum, config.momentum)
        mixed = fitted.mixed(old, momentum, momentum)
        return mixed.no_narrower(space.row(config.min_std, 0.0) * space.unit)

    def _remember(self, kept: Float[Tensor, "n kept horizon dim"], search: Search) -> None:
        """Remember the elites for the next plan; of robots that have converged, no later ones."""
        if search.iteration > 0 and self._remembered is not None:
            kept = torch.where(search.searching[:, None, None, None], kept, self._remembered)
        self._remembered = kept

    def _shifted_elites(
        self, search: Search, drawn: Float[Tensor, "n samples horizon dim"]
    ) -> Float[Tensor, "n kept horizon dim"]:
        """Return the last plan's elites from the next step on; random samples where none are known.

        The step that they lack is that of a random sample, as in the paper.
        """
        instead = drawn[:, : self.config.num_kept]
        before = self._remembered
        if search.begin is None or before is None or before.shape != instead.shape:
            return instead
        known = search.begin.isfinite().all((1, 2))
        return torch.where(known[:, None, None, None], shifted(before, instead[:, :, -1]), instead)
