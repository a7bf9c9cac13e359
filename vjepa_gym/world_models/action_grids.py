"""Grids, ways and bundles of actions around a given one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

TRANSLATION, GRIPPER = (0, 1, 2), 6
"""Where x, y, z and closedness are in an action."""
MARGIN = 1.2
"""Grids go at least so many times as far as the true action does along its longest axis."""


def reach(true_actions: Float[Tensor, "n 7"], extent: float) -> Float[Tensor, " n"]:
    """Return how far a grid must go to both sides [m]: `extent`, or beyond the true action."""
    longest = true_actions[:, TRANSLATION].abs().amax(-1)
    return (MARGIN * longest).clamp_min(extent)


def symmetric_ticks(extent: Float[Tensor, " n"], points: int) -> Float[Tensor, "n {points}"]:
    """Return `points` even steps from `-extent` to `extent`."""
    return extent[:, None] * torch.linspace(-1, 1, points, device=extent.device)


def axis_grid(
    actions: Float[Tensor, "n 7"], axes: Sequence[int], ticks: Float[Tensor, "n points"]
) -> Float[Tensor, "n samples 7"]:
    """Return each action with every combination of `ticks` on some axes, the last varying first."""
    count = ticks.shape[1]
    places = torch.arange(count ** len(axes), device=ticks.device)
    grid = actions[:, None].repeat(1, len(places), 1)
    for order, axis in enumerate(reversed(axes)):
        grid[..., axis] = ticks[:, places // count**order % count]
    return grid


def straight_way(actions: Float[Tensor, "n 7"], points: int) -> Float[Tensor, "n {points} 7"]:
    """Return parts of each action, from none of it to all of it."""
    return torch.linspace(0, 1, points, device=actions.device)[:, None] * actions[:, None]


def turned_actions(
    actions: Float[Tensor, "n 7"], count: int, generator: torch.Generator
) -> Float[Tensor, "n {count} 7"]:
    """Return each action with its translation turned in random directions, as long as it is."""
    turned = actions[:, None].repeat(1, count, 1)
    direction = torch.randn(len(actions), count, 3, generator=generator).to(actions.device)
    length = actions[:, None, :3].norm(dim=-1, keepdim=True)
    turned[..., :3] = length * torch.nn.functional.normalize(direction, dim=-1)
    return turned


def falling(way: Float[Tensor, "n points"]) -> Float[Tensor, " n"]:
    """Return the share of steps along a way on which the energy falls."""
    return (way.diff(dim=1) < 0).to(way.dtype).mean(1)
