"""What a search may choose from, and what the searches have in common."""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.spaces import MAX_GRIPPER, MAX_ROTATION, MAX_TRANSLATION


class Gripper(Enum):
    """How the last number of an action, the change of closedness, is planned."""

    still = "still"
    """Not at all: it is 0, or a number like all others where actions are not the arm's."""
    gaussian = "gaussian"
    """As a number, and 0 where it is small, as in V-JEPA 2."""
    categorical = "categorical"
    """As one of three: hold, open as far as one step can, close as far as one step can."""


@dataclass(kw_only=True)
class SearchConfig:
    """What every search is told: how far ahead, among which actions, and when to end."""

    horizon: int = 1
    """Actions in a sequence, of which the first is executed."""
    num_samples: int = 800
    """Action sequences imagined in each iteration."""
    num_iterations: int = 10
    """How often the search improves on them."""
    max_translation: float = MAX_TRANSLATION
    """Largest displacement in one step [m]: along each axis, or of the ball."""
    l1_ball: bool = False
    """Whether |dx| + |dy| + |dz| stays within `max_translation`, as the paper of V-JEPA 2 writes,
    instead of each axis by itself, as its code does."""
    rotations: bool = False
    """Whether the hand may turn; otherwise only xyz and the gripper are searched."""
    max_rotation: float = MAX_ROTATION
    """Largest rotation about each axis in one step [rad]."""
    gripper: Gripper = Gripper.gaussian
    """`still`, `gaussian` or `categorical`: how the gripper is planned."""
    max_gripper: float = MAX_GRIPPER
    """Largest change of closedness in one step."""
    gripper_dead_zone: float = 0.25
    """Changes of closedness smaller than this are not worth making: the answer has 0 instead."""
    gripper_smoothing: float = 0.1
    """Share of an even chance in the probabilities of open, hold and close, so that none of them
    is lost for good."""
    initial_std: float = 1.0
    """Spread of the first iteration's displacements, as a fraction of their limits."""
    initial_gripper_std: float = 1.0
    """Spread of the first iteration's changes of closedness."""
    warm_start: bool = False
    """Whether the search begins at the previous plan, shifted by one step."""
    converged_below: float = 0.0
    """A robot's search ends when its spread is less than this along every axis of every step [m];
    for rotations and the gripper, the same fraction of their limits. 0 never ends it."""
    budget_s: float | None = None
    """Time for one plan [s]: no iteration begins that would end later, but the first always does.
    None sets no limit."""
    record: bool = False
    """Whether the trace holds all samples, their energies and the elites."""

    def __post_init__(self) -> None:
        self.gripper = Gripper(self.gripper)
        self._refuse_below(1, "num_samples", "num_iterations", "horizon")
        for name in (
            *("max_translation", "max_rotation", "max_gripper"),
            *("initial_std", "initial_gripper_std"),
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        self._refuse_below(0, "gripper_dead_zone", "converged_below")
        self._refuse_outside_unit("gripper_smoothing")
        if self.gripper is not Gripper.still and self.gripper_dead_zone >= self.max_gripper:
            raise ValueError(
                f"gripper_dead_zone must be smaller than max_gripper = {self.max_gripper}, or the "
                f"gripper never moves, got {self.gripper_dead_zone}; gripper=still says so openly"
            )
        if self.budget_s is not None and not self.budget_s > 0:
            raise ValueError(
                f"budget_s must be positive, got {self.budget_s}; None sets no limit of time"
            )

    def _refuse_below(self, least: int, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not value >= least:
                must = f"be at least {least}" if least else "not be negative"
                raise ValueError(f"{name} must {must}, got {value}")

    def _check_min_std(self, min_std: float) -> None:
        """Refuse a least spread that no spread has, or that a search would never fall below."""
        self._refuse_below(0, "min_std")
        if not min_std < self.max_translation:
            raise ValueError(
                f"min_std must be smaller than max_translation = {self.max_translation}, or the "
                f"search never becomes narrower than its limits; got {min_std}"
            )
        if 0 < self.converged_below <= min_std:
            raise ValueError(
                f"converged_below must be larger than min_std = {min_std}, below which the spread "
                f"never falls, got {self.converged_below}; 0 never ends a search early"
            )

    def _refuse_outside_unit(self, *names: str) -> None:
        """Refuse what is no share: at least 0, less than 1."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionSpace:
    """The vectors that a search may choose from at every step.

    Attributes:
        low: Least value along each axis; an axis where `low` is `high` is not searched.
        high: Largest value.
        first_mean: Centre of what the first iteration draws.
        first_std: Its spread.
        ball: Most that the absolute values of the first three axes may sum to [m]; None: no limit.
        gripper: How the last axis is planned; with `still` it is an axis like the others.
        dead_zone: Values of a Gaussian gripper that are smaller than this become 0 in the answer.
    """

    low: Float[Tensor, " dim"]
    high: Float[Tensor, " dim"]
    first_mean: Float[Tensor, " dim"]
    first_std: Float[Tensor, " dim"]
    ball: float | None = None
    gripper: Gripper = Gripper.still
    dead_zone: float = 0.0

    def __post_init__(self) -> None:
        crossed = (~(self.low <= self.high)).nonzero().flatten().tolist()
        if crossed:
            raise ValueError(
                f"The limits cross along axes {crossed}: low must not be larger than high."
            )
        if not (self.low < self.high).any():
            raise ValueError("Nothing to search: low equals high along every axis.")
        if self.ball is not None and (not self.ball > 0 or self.dim < 3):
            raise ValueError(
                f"An L1 ball needs a positive radius and three axes, got {self.ball} and {self.dim}"
            )

    @classmethod
    def arm(cls, config: SearchConfig, device: torch.device | str = "cpu") -> "ActionSpace":
        """Return the actions of an arm that a search is told to choose from."""
        plans_gripper = config.gripper is not Gripper.still
        hand = [config.max_translation] * 3 + [config.max_rotation * config.rotations] * 3
        limit = torch.tensor([*hand, config.max_gripper * plans_gripper], device=device)
        spread = torch.tensor([*hand, 0.0], device=device) * config.initial_std
        spread[-1] = config.initial_gripper_std * plans_gripper
        return cls(
            low=-limit,
            high=limit,
            first_mean=torch.zeros_like(limit),
            first_std=spread,
            ball=config.max_translation if config.l1_ball else None,
            gripper=config.gripper,
            dead_zone=config.gripper_dead_zone,
        )

    @property
    def dim(self) -> int:
        """How many numbers an action has."""
        return len(self.low)

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The axes that are searched."""
        return tuple((self.low < self.high).nonzero().flatten().tolist())

    @cached_property
    def unit(self) -> Float[Tensor, " dim"]:
        """What 1 m is worth along each axis: the size of the limits beside those of the first."""
        size = (self.high - self.low) / 2
        return size / size[self.axes[0]]

    def in_metres(self, extents: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return extents along each axis in the unit of the first; 0 where nothing is searched."""
        # Divided by infinity where the unit is zero.
        return extents.abs() / torch.where(self.unit > 0, self.unit, torch.inf)

    @cached_property
    def categories(self) -> Float[Tensor, " categories"] | None:
        """The values that a categorical gripper can take: hold, open, close."""
        if self.gripper is not Gripper.categorical:
            return None
        return torch.stack([torch.zeros_like(self.low[-1]), self.low[-1], self.high[-1]])

    def row(self, hand: float, gripper: float) -> Float[Tensor, " dim"]:
        """Return one number for each axis, the gripper's own if there is one."""
        row = torch.full_like(self.low, hand)
        if self.gripper is not Gripper.still:
            row[-1] = gripper
        return row

    def constrain(self, actions: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return the nearest actions that are allowed."""
        if self.ball is not None:
            # Before the axes' own limits, within which the arm's ball lies.
            moves = onto_l1_ball(actions[..., :3], self.ball)
            actions = torch.cat([moves, actions[..., 3:]], -1)
        actions = actions.clamp(self.low, self.high)
        if self.categories is not None:
            nearest = self.nearest_category(actions[..., -1])
            actions = torch.cat([actions[..., :-1], self.categories[nearest][..., None]], -1)
        return actions

    def nearest_category(self, gripper: Tensor) -> Tensor:
        """Return the index of the category that is nearest to each value of a gripper."""
        assert self.categories is not None
        return (gripper[..., None] - self.categories).abs().argmin(-1)

    def finish(self, actions: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return what is to be executed: a gripper's small twitches are not worth making."""
        if self.gripper is Gripper.still:
            return actions
        gripper = actions[..., -1:]
        gripper = gripper.masked_fill(gripper.abs() < self.dead_zone, 0.0)
        return torch.cat([actions[..., :-1], gripper], -1)


def onto_l1_ball(
    vectors: Float[Tensor, "*batch axes"], radius: float
) -> Float[Tensor, "*batch axes"]:
    """Return the nearest vectors whose absolute values sum to no more than `radius`.

    Duchi et al., Efficient projections onto the l1-ball for learning in high dimensions (ICML
    2008), figure 1: all absolute values shrink by the same amount, and none below zero.
    """
    sizes = vectors.abs()
    largest_first = sizes.sort(-1, descending=True).values
    count = torch.arange(1, vectors.shape[-1] + 1, device=vectors.device)
    excess = (largest_first.cumsum(-1) - radius) / count
    left = (largest_first > excess).sum(-1, keepdim=True).clamp_min(1)
    shrinkage = excess.gather(-1, left - 1).clamp_min(0)
    return vectors.sign() * (sizes - shrinkage).clamp_min(0)
