"""From what a search draws action sequences: a Gaussian a number, and odds for the gripper."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.action_space import ActionSpace


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
    """Action sequences of `n` robots, each number by itself.

    Attributes:
        space: What they are chosen from.
        mean: Their centre.
        std: Their spread.
        odds: Probability of each category of the gripper, if it has categories.
    """

    space: ActionSpace
    mean: Float[Tensor, "n horizon dim"]
    std: Float[Tensor, "n horizon dim"]
    odds: Float[Tensor, "n horizon categories"] | None = None

    @classmethod
    def first(
        cls,
        space: ActionSpace,
        n: int,
        horizon: int,
        begin: Float[Tensor, "n horizon dim"] | None = None,
    ) -> "Distribution":
        """Return what a search begins with.

        Args:
            space: What the actions are chosen from.
            n: How many robots there are.
            horizon: How many actions each plans.
            begin: Where the search begins instead of at the space's centre; NaN where it does not.
        """
        mean = space.first_mean.expand(n, horizon, -1)
        odds = None
        if space.categories is not None:
            odds = mean.new_full((n, horizon, 3), 1 / 3)
        if begin is not None:
            known = begin.isfinite()
            mean = torch.where(known, begin, mean)
            if odds is not None:
                # An even chance of doing as planned, beside the usual one of doing anything.
                planned = _one_hot(space, mean[..., -1])
                odds = torch.where(known[..., -1:], (odds + planned) / 2, odds)
        std = space.first_std.expand(n, horizon, -1)
        return cls(space=space, mean=mean, std=std, odds=odds)

    @classmethod
    def fit(
        cls,
        space: ActionSpace,
        samples: Float[Tensor, "n samples horizon dim"],
        weights: Float[Tensor, "#n samples"],
        smoothing: float,
    ) -> "Distribution":
        """Return the distribution of weighted samples.

        Args:
            space: What they were chosen from.
            samples: Action sequences.
            weights: How much each counts; they sum to one.
            smoothing: Share of an even chance in the odds.
        """
        weights = weights[..., None, None]
        mean = (weights * samples).sum(1)
        std = (weights * (samples - mean[:, None]).square()).sum(1).sqrt()
        odds = None
        if space.categories is not None:
            odds = (weights * _one_hot(space, samples[..., -1])).sum(1)
            odds = torch.lerp(odds, torch.full_like(odds, 1 / 3), smoothing)
        return cls(space=space, mean=mean, std=std, odds=odds)

    def mixed(
        self,
        old: "Distribution",
        mean: Float[Tensor, " dim"],
        std: Float[Tensor, " dim"],
    ) -> "Distribution":
        """Return this distribution with a share of an old one.

        Args:
            old: What went before.
            mean: Share of its mean, for each axis; that of the gripper also of its odds.
            std: Share of its spread, likewise.
        """
        odds = self.odds
        if odds is not None and old.odds is not None:
            odds = torch.lerp(odds, old.odds, mean[-1])
        return replace(
            self,
            mean=torch.lerp(self.mean, old.mean, mean),
            std=torch.lerp(self.std, old.std, std),
            odds=odds,
        )

    def wider(self, factor: float) -> "Distribution":
        """Return this distribution with its spread multiplied."""
        return replace(self, std=factor * self.std)

    def no_narrower(self, least: Float[Tensor, " dim"]) -> "Distribution":
        """Return this distribution with a spread that nowhere falls below the least."""
        return replace(self, std=self.std.maximum(least))

    def sample(
        self, noise: Float[Tensor, "samples horizon dim"]
    ) -> Float[Tensor, "n samples horizon dim"]:
        """Return what standard normal numbers, the same for all robots, stand for."""
        actions = self.mean[:, None] + self.std[:, None] * noise
        if self.odds is None or self.space.categories is None:
            return self.space.constrain(actions)
        # The chance of a smaller number tells which category the gripper's number stands for.
        below = torch.special.ndtr(noise[..., -1:])
        chosen = (below > self.odds.cumsum(-1)[:, None, :, :-1]).sum(-1)
        return self.space.constrain(_closing(actions, self.space.categories[chosen]))

    def likeliest(self) -> Float[Tensor, "n horizon dim"]:
        """Return the mean, and of the gripper's categories the one with the best odds."""
        if self.odds is None or self.space.categories is None:
            return self.space.constrain(self.mean)
        chosen = self.space.categories[self.odds.argmax(-1)]
        return self.space.constrain(_closing(self.mean, chosen))

    def spread(self) -> Float[Tensor, " n"]:
        """Return each robot's largest spread along any axis of any step, in units of the first.

        A gripper with categories spreads as far as the samples that its odds were made from.
        """
        return self.space.in_metres(self.std).amax((1, 2))


def shifted(
    actions: Float[Tensor, "*batch horizon dim"],
    last: Float[Tensor, "*batch dim"] | None = None,
) -> Float[Tensor, "*batch horizon dim"]:
    """Return plans from their second step on, which end with `last`; with NaN if there is none."""
    if last is None:
        last = torch.full_like(actions[..., 0, :], torch.nan)
    return torch.cat([actions[..., 1:, :], last[..., None, :]], -2)


def _closing(actions: Tensor, gripper: Tensor) -> Tensor:
    return torch.cat([actions[..., :-1], gripper[..., None]], -1)


def _one_hot(space: ActionSpace, gripper: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(space.nearest_category(gripper), 3).to(gripper.dtype)
