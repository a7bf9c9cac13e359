"""Gradient descent through the world model, from several starts at once.

Each start walks downhill with Adam (Kingma and Ba, arXiv 1412.6980) and is put back within the
limits after each step; the answer is the cheapest sequence that any of them visited. It needs a
cost that can be differentiated, and finds the bottom of the valleys that it starts in, no others.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vjepa_gym.agents.action_space import Gripper, SearchConfig
from vjepa_gym.agents.base import Cost
from vjepa_gym.agents.search import Search
from vjepa_gym.agents.search_planner import SearchPlanner
from vjepa_gym.errors import PlanningError

MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.5, 0.9, 1e-12
"""Of Adam. It forgets sooner than in training, since a plan has tens of steps and its slopes are
exact; and energies are flat, their slopes small."""
NO_GRADIENT = (
    "The cost does not say how it changes with the actions, which gradient descent needs: the "
    "oracle simulates, and simulators have no gradients; an energy or a world model of your own "
    "may compute without them. Plan with samples instead, such as with `fast`."
)


@dataclass(kw_only=True)
class GradientConfig(SearchConfig):
    """Gradient descent from several starts."""

    horizon: int = 2
    num_samples: int = 24
    """How many starts there are: the centre, or the previous plan, and random ones."""
    num_iterations: int = 16
    """How many points each of them visits."""
    gripper: Gripper = Gripper.still
    warm_start: bool = True
    step_size: float = 0.25
    """How far a start moves along each axis in its first step, as a fraction of the limits; the
    steps become shorter to the end (half a cosine)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step_size > 0:
            raise ValueError(f"step_size must be positive, got {self.step_size}")


class GradientPlanner(SearchPlanner[GradientConfig]):
    """Plans by gradient descent, for many robots at once.

    The gripper's categories cannot be differentiated: the starts are spread over them instead. A
    robot has converged when no start moved farther than `converged_below` in a step.
    """

    def _search(self, search: Search) -> None:
        if torch.is_inference_mode_enabled():
            raise PlanningError(
                "Gradient descent cannot work within torch.inference_mode, which forgets how costs "
                "came about: plan within torch.no_grad instead."
            )
        space = self.space
        starts = self._starts(search)
        descent = Adam(self._searched())
        while search.goes_on():
            # Imagine where the starts lead, and which way is down
            costs, slope = _differentiate(search.cost, starts)
            search.note(starts, costs, starts.std(1, correction=0))
            _check_slope(slope)

            # Go there, within the limits
            pace = self.config.step_size * _half_cosine(search.iteration, self.config)
            step = pace * (space.high - space.low) / 2 * descent.direction(slope)
            moved = space.constrain(starts - step)
            distance = space.in_metres(moved - starts).amax((1, 2, 3))
            starts = moved
            cheapest = costs.argmin(1, keepdim=True)
            search.conclude(search.best_actions, search.best_cost, distance, cheapest)

    def _starts(self, search: Search) -> Float[Tensor, "n samples horizon dim"]:
        """Return the proposals, the centre, and random sequences."""
        number = self.config.num_samples
        first = self._first(search)
        drawn = first.sample(self._noise.white(number, self.horizon))
        starts = search.among(drawn, [first.likeliest()[:, None]])
        categories = self.space.categories
        given = min(search.proposed + 1, number)
        if categories is None or given == number:
            return starts
        # Counting in threes tries all first changes first, then all combinations with the next.
        count = torch.arange(1, number - given + 1, device=starts.device, dtype=torch.float64)
        place = 3.0 ** torch.arange(self.horizon, device=starts.device, dtype=torch.float64)
        chosen = categories[((count[:, None] // place) % 3).long()]
        starts = starts.clone()
        starts[:, given:, :, -1] = chosen
        return starts

    def _searched(self) -> Bool[Tensor, " dim"]:
        """Return along which axes the starts walk."""
        searched = self.space.low < self.space.high
        if self.space.categories is not None:
            searched[-1] = False
        return searched


class Adam:
    """Which way is down: the mean of recent slopes over the root of their mean square."""

    def __init__(self, searched: Bool[Tensor, " dim"]) -> None:
        """Begin with no slopes.

        Args:
            searched: The axes along which to go.
        """
        self._searched = searched
        self._mean: Tensor | float = 0.0
        self._square: Tensor | float = 0.0
        self._steps = 0

    def direction(self, slope: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return a step uphill whose size is about one along each axis, less where slopes vary."""
        self._steps += 1
        self._mean = MEAN_DECAY * self._mean + (1 - MEAN_DECAY) * slope
        self._square = SQUARE_DECAY * self._square + (1 - SQUARE_DECAY) * slope.square()
        mean = self._mean / (1 - MEAN_DECAY**self._steps)
        square = self._square / (1 - SQUARE_DECAY**self._steps)
        return mean / (square.sqrt() + EPSILON) * self._searched


def _half_cosine(iteration: int, config: GradientConfig) -> float:
    return (1 + math.cos(math.pi * iteration / config.num_iterations)) / 2


def _differentiate(
    cost: Cost, actions: Float[Tensor, "n samples horizon dim"]
) -> tuple[Tensor, Tensor]:
    """Return costs and their gradient, wherever this is called from."""
    actions = actions.detach().requires_grad_(True)
    slope = None
    try:
        with torch.enable_grad():
            costs = cost(actions)
            if costs.requires_grad:
                (slope,) = torch.autograd.grad(costs.sum(), actions, allow_unused=True)
    except RuntimeError as error:
        # What torch says where a tensor leaves it, as for NumPy.
        if "requires grad" not in str(error):
            raise
        raise PlanningError(NO_GRADIENT) from error
    if slope is None:
        raise PlanningError(NO_GRADIENT)
    return costs.detach(), slope


def _check_slope(slope: Float[Tensor, "n samples horizon dim"]) -> None:
    if not slope.isfinite().all():
        robots = (~slope.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise PlanningError(
            f"The gradient of the cost is not finite for robots {robots}, though the cost is: part "
            "of the energy or of the world model has no slope there. Plan with samples instead, "
            "such as with `fast`."
        )
