"""The cross-entropy method: sample actions, keep the cheapest, refit, repeat.

V-JEPA 2 plans with it (arXiv 2506.09985, section 3.2). Its figures come from 800 samples and ten
iterations an action; with the few samples that a small computer can afford, the precision of a
reach depends on how soon the search lets its spread shrink, which is what `fast` changes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.base import Cost, Plan, Trace
from vjepa_gym.errors import PlanningError
from vjepa_gym.spaces import MAX_GRIPPER, MAX_TRANSLATION


@dataclass(kw_only=True)
class CEMConfig:
    """Cross-entropy search over moves of the hand, which it never turns, and of the gripper."""

    num_samples: int = 800
    """Action sequences imagined in each iteration."""
    num_iterations: int = 10
    """How often the distribution is refitted."""
    num_elites: int = 10
    """How many of the cheapest samples it is refitted to."""
    horizon: int = 1
    """Actions in a sequence, of which the first is executed."""
    max_translation: float = MAX_TRANSLATION
    """Largest displacement along each axis in one step [m]: a box, whatever the paper calls it."""
    plan_gripper: bool = True
    """Whether the gripper is planned too; otherwise it is left as it is."""
    max_gripper: float = MAX_GRIPPER
    """Largest change of closedness in one step."""
    gripper_dead_zone: float = 0.25
    """Changes of closedness smaller than this are not worth making: the answer has 0 instead."""
    initial_std: float = 1.0
    """Spread of the first iteration's displacements, as a fraction of `max_translation`."""
    initial_gripper_std: float = 1.0
    """Spread of the first iteration's changes of closedness."""
    min_std: float = 0.0
    """The spread of displacements never falls below this [m]."""
    mean_momentum: float = 0.15
    """Share of the old mean in the new one."""
    std_momentum: float = 0.75
    """Share of the old spread of displacements in the new one. With few iterations, a large share
    is what keeps the spread, and so the error of the answer, at centimetres."""
    gripper_momentum: float = 0.15
    """Share of the gripper's old spread in the new one."""
    kept_elites: int = 0
    """How many elites also stand among the samples of the next iteration."""
    sample_mean: bool = False
    """Whether the mean itself is one of the samples."""
    weighted_elites: bool = False
    """Whether cheaper elites count for more, by the logarithm of their rank as in CMA-ES
    (Hansen, arXiv 1604.00772, eq. 49); otherwise all count the same."""
    answer_best: bool = False
    """Whether the answer is the cheapest sample of the last iteration instead of the mean."""
    warm_start: bool = False
    """Whether the search begins at the previous plan, shifted by one step."""

    def __post_init__(self) -> None:
        at_least_one = ("num_samples", "num_iterations", "num_elites", "horizon")
        positive = ("max_translation", "max_gripper", "initial_std", "initial_gripper_std")
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("gripper_dead_zone", "min_std"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("mean_momentum", "std_momentum", "gripper_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
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


class CEM:
    """Plans with the cross-entropy method, for many robots at once.

    The same noise serves every robot, so that what one does depends neither on its neighbours nor
    on how many there are.
    """

    def __init__(
        self, config: CEMConfig, *, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        """Prepare the search.

        Args:
            config: How to search.
            seed: Seeds the samples.
            device: Where the actions, and the costs given to `plan`, live.
        """
        self.config = config
        self._device = torch.device(device)
        self._seed = seed
        self._generator = torch.Generator(self._device).manual_seed(seed)
        hand, gripper = config.max_translation, config.max_gripper * config.plan_gripper
        # Rotations have no limit but zero, which is how they stay out of the plan.
        self._limit = self._row(hand, gripper)
        self._first_std = self._row(
            config.initial_std * hand, config.initial_gripper_std * config.plan_gripper
        )
        self._min_std = self._row(config.min_std, 0.0)
        self._std_momentum = self._row(config.std_momentum, config.gripper_momentum)
        self._weights = _elite_weights(config).to(self._device)

    def reset(self) -> None:
        """Begin the random numbers anew."""
        self._generator.manual_seed(self._seed)

    def plan(
        self, cost: Cost, n: int, *, previous: Float[Tensor, "n horizon 7"] | None = None
    ) -> Plan:
        """Return the action sequences of least cost that the search comes upon.

        Args:
            cost: Imagines action sequences and compares where they lead with the goal.
            n: How many robots there are.
            previous: The actions planned one step ago; NaN for robots that begin anew.

        Raises:
            PlanningError: A cost is not finite.
        """
        config, weights = self.config, self._weights[:, None, None]
        mean, std = self._first_distribution(n, previous)
        elites = mean.new_zeros(n, 0, config.horizon, 7)
        elite_costs = mean.new_zeros(n, 0)
        trace: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(config.num_iterations):
            # Sample action sequences
            actions = self._sample(mean, std, elites[:, : config.kept_elites])

            # Imagine where they lead
            costs = _finite(cost(actions))
            trace.append((costs.amin(1), costs.mean(1), std.square().mean(1).sqrt()))

            # Select the elites, cheapest first
            elite_costs, order = costs.topk(config.num_elites, largest=False)
            elites = torch.take_along_dim(actions, order[:, :, None, None], dim=1)

            # Refit the distribution to them
            elite_mean = (weights * elites).sum(1)
            variance = (weights * (elites - elite_mean[:, None]).square()).sum(1)
            elite_std = (variance / (1 - weights.square().sum())).sqrt()
            mean = torch.lerp(elite_mean, mean, config.mean_momentum)
            std = torch.lerp(elite_std, std, self._std_momentum).clamp_min(self._min_std)

        answer = elites[:, 0] if config.answer_best else mean
        best, average, spread = (torch.stack(column) for column in zip(*trace, strict=True))
        return Plan(
            actions=self._without_twitches(answer),
            cost=elite_costs.mean(1),
            trace=Trace(best=best, mean=average, std=spread),
        )

    def _first_distribution(
        self, n: int, previous: Float[Tensor, "n horizon 7"] | None
    ) -> tuple[Float[Tensor, "n horizon 7"], Float[Tensor, "n horizon 7"]]:
        shape = (n, self.config.horizon, 7)
        mean, std = torch.zeros(shape, device=self._device), self._first_std.repeat(*shape[:2], 1)
        if self.config.warm_start and previous is not None:
            mean[:, :-1] = previous[:, 1:].nan_to_num()
        return mean, std

    def _sample(
        self,
        mean: Float[Tensor, "n horizon 7"],
        std: Float[Tensor, "n horizon 7"],
        kept: Float[Tensor, "n kept horizon 7"],
    ) -> Float[Tensor, "n samples horizon 7"]:
        shape = (self.config.num_samples, *mean.shape[1:])
        noise = torch.randn(shape, generator=self._generator, device=self._device)
        actions = mean[:, None] + std[:, None] * noise
        if self.config.sample_mean:
            actions[:, 0] = mean
        if kept.shape[1]:
            actions[:, -kept.shape[1] :] = kept
        return actions.clamp(-self._limit, self._limit)

    def _without_twitches(
        self, actions: Float[Tensor, "n horizon 7"]
    ) -> Float[Tensor, "n horizon 7"]:
        gripper = actions[..., 6:]
        still = gripper.abs() < self.config.gripper_dead_zone
        return torch.cat([actions[..., :6], gripper.masked_fill(still, 0.0)], -1)

    def _row(self, hand: float, gripper: float) -> Float[Tensor, "7"]:
        """Return one value for each axis of an action; the rotations have none."""
        return torch.tensor([hand] * 3 + [0.0] * 3 + [gripper], device=self._device)


def _elite_weights(config: CEMConfig) -> Float[Tensor, " elites"]:
    rank = torch.arange(1.0, config.num_elites + 1)
    weights = torch.ones_like(rank)
    if config.weighted_elites:
        weights = math.log(config.num_elites + 0.5) - rank.log()
    return weights / weights.sum()


def _finite(costs: Float[Tensor, "n samples"]) -> Float[Tensor, "n samples"]:
    if not costs.isfinite().all():
        robots = (~costs.isfinite()).any(1).nonzero().flatten().tolist()
        raise PlanningError(
            f"The cost of some actions is not finite for robots {robots}: the world model imagines "
            "NaN or infinity. Check its weights and the images and poses it is given."
        )
    return costs


def paper() -> CEMConfig:
    """Return the search behind the tables of V-JEPA 2 (arXiv 2506.09985, section 4).

    Momenta, initial spreads and the gripper's limits are those of the released code.
    """
    return CEMConfig()


def fast() -> CEMConfig:
    """Return a search two steps ahead with seven times fewer samples.

    The spread follows the elites at once (no momentum), the cheapest of them weigh most and stay
    among the samples, and so does the mean. It holds the gripper still, as a reach wants. A single
    step ahead, the energy of a far goal has local minima that a hand stays in; two steps see past
    them (docs/results.md).
    """
    return CEMConfig(
        plan_gripper=False,
        horizon=2,
        num_samples=192,
        num_iterations=6,
        num_elites=8,
        mean_momentum=0.0,
        std_momentum=0.0,
        gripper_momentum=0.0,
        min_std=1e-3,
        kept_elites=3,
        sample_mean=True,
        weighted_elites=True,
        warm_start=True,
    )


def frugal() -> CEMConfig:
    """Return a search with a hundred samples an action, for a world model that simulates each."""
    return replace(fast(), horizon=1, num_samples=32, num_iterations=3, kept_elites=2)


PLANNERS: dict[str, Callable[[], CEMConfig]] = {"paper": paper, "fast": fast, "frugal": frugal}
"""The searches that have a name."""
