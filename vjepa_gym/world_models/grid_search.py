"""Where a quantity of actions is least over x, y and z: a grid, finer ones, then parabolas.

Unlike a planner it draws nothing at random and finds narrow minima, so that what it finds says what
the quantity is like and not how well it was searched.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.world_models.action_grids import TRANSLATION, axis_grid, symmetric_ticks

Ask = Callable[[Float[Tensor, "n samples 7"]], Float[Tensor, "n samples"]]
"""Returns the quantity of each action."""
KEPT, HALVINGS = 4, 3
"""Around how many of the least the grid is made finer, and how often it is halved."""


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Where it is least.

    Attributes:
        places: Translations [m].
        values: What it is there.
        grid: What it is on the first grid.
    """

    places: Float[Tensor, "n 3"]
    values: Float[Tensor, " n"]
    grid: Float[Tensor, "n points points points"]


def find_minimum(
    ask: Ask,
    actions: Float[Tensor, "n 7"],
    extent: Float[Tensor, " n"],
    points: int,
) -> Minimum:
    """Return the translation that costs least within a cube around holding still.

    Args:
        ask: The quantity.
        actions: What each action is like but for its translation.
        extent: How far the cube goes to both sides [m].
        points: Of the first grid, along each axis.
    """
    first = axis_grid(actions, TRANSLATION, symmetric_ticks(extent, points))
    values = grid = ask(first)
    places = first[..., :3]
    spacing = 2 * extent / (points - 1)
    corner = torch.zeros_like(actions[:1])
    for _ in range(HALVINGS):
        spacing = spacing / 2
        order = values.topk(min(KEPT, values.shape[1]), largest=False).indices
        kept = torch.take_along_dim(places, order[..., None], 1)
        around = axis_grid(corner, TRANSLATION, symmetric_ticks(torch.ones_like(extent[:1]), 3))
        offsets = spacing[:, None, None, None] * around[:, None, :, :3]
        places = _within((kept[:, :, None] + offsets).flatten(1, 2), extent)
        values = ask(_translated(actions, places))
    best = values.argmin(1, keepdim=True)
    place = torch.take_along_dim(places, best[..., None], 1)
    refined = _within(_vertex(ask, actions, place, values.gather(1, best), spacing), extent)
    there = ask(_translated(actions, refined))
    better = there < values.gather(1, best)
    return Minimum(
        places=torch.where(better[..., None], refined, place)[:, 0],
        values=torch.where(better, there, values.gather(1, best))[:, 0],
        grid=grid.view(-1, points, points, points),
    )


def _vertex(
    ask: Ask,
    actions: Float[Tensor, "n 7"],
    place: Float[Tensor, "n 1 3"],
    value: Float[Tensor, "n 1"],
    spacing: Float[Tensor, " n"],
) -> Float[Tensor, "n 1 3"]:
    """Return where parabolas along each axis, through three places each, are least."""
    step = spacing[:, None, None] * torch.eye(3, device=place.device)
    before, after = ask(_translated(actions, torch.cat([place - step, place + step], 1))).chunk(
        2, 1
    )
    bend = before - 2 * value + after
    shift = torch.where(bend > 0, 0.5 * (before - after) / bend, 0.0).clamp(-1.0, 1.0)
    return place + (spacing[:, None] * shift)[:, None]


def _translated(
    actions: Float[Tensor, "n 7"], places: Float[Tensor, "n samples 3"]
) -> Float[Tensor, "n samples 7"]:
    rest = actions[:, None, 3:].expand(-1, places.shape[1], -1)
    return torch.cat([places, rest], -1)


def _within(
    places: Float[Tensor, "n samples 3"], extent: Float[Tensor, " n"]
) -> Float[Tensor, "n samples 3"]:
    most = extent[:, None, None]
    return torch.minimum(torch.maximum(places, -most), most)
