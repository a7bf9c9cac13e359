"""The energy around a true action, on grids: what a planner's search has to find its way in.

V-JEPA 2 shows one such landscape (arXiv 2506.09985, figure 9): smooth and locally convex, its
minimum near the true action. Any world model and any energy will do; nothing is drawn here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vjepa_gym.errors import PlanningError
from vjepa_gym.spaces import MAX_GRIPPER
from vjepa_gym.world_models.action_grids import (
    GRIPPER,
    TRANSLATION,
    axis_grid,
    falling,
    reach,
    straight_way,
    symmetric_ticks,
    turned_actions,
)
from vjepa_gym.world_models.base import Context, Imagined, Target, WorldModel
from vjepa_gym.world_models.grid_search import find_minimum

Energy: TypeAlias = Callable[[Imagined, Target], Float[Tensor, "n samples"]]
"""How unlike the target each imagined future looks."""
PLANES = ((0, 1), (0, 2), (1, 2))
"""The axes of each plane."""
NUMBERS_TOGETHER = 2**26
"""Numbers of imagined latents that are kept at once: 256 MiB."""


@dataclass(kw_only=True)
class GridConfig:
    """Where the energy is asked for."""

    extent: float = 0.1
    """How far grids go along each axis, to both sides of holding still [m]; further where the true
    action would lie outside."""
    points: int = 21
    """Along each axis of a plane, and along each curve."""
    cube_points: int = 9
    """Along each of the three axes of the first grid on which the minimum is looked for."""
    directions: int = 64
    """Actions as long as the true one in random directions."""
    seed: int = 0
    """Of the directions."""

    def __post_init__(self) -> None:
        if not 0 < self.extent <= 1:
            raise ValueError(f"extent must be above 0 and at most 1 m, got {self.extent}")
        if min(self.points, self.cube_points) < 3 or self.directions < 1:
            raise ValueError(
                "points and cube_points must be at least 3, and directions at least 1; got"
                f" {self.points}, {self.cube_points} and {self.directions}"
            )


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Energies of one robot's actions around a true one, on the CPU.

    What is not varied is as in the true action, rotation and gripper included.

    Attributes:
        true_action: What was done.
        closedness: How closed the gripper was before.
        ticks: Displacements along an axis of a plane, or of a cut [m].
        planes: Over x and y, x and z, y and z.
        cuts: Along x, y and z alone.
        changes: Changes of closedness, also those that a gripper stops before.
        gripper: Over these.
        way: From holding still, the first, straight to the true action, the last.
        cube: Over x, y and z.
        turned: Of actions as long as the true one, in random directions.
        minimum: Where within the cube it is least, see `grid_search` [m].
        minimum_energy: What it is there.
    """

    true_action: Float[Tensor, "7"]
    closedness: float
    ticks: Float[Tensor, " points"]
    planes: Float[Tensor, "3 points points"]
    cuts: Float[Tensor, "3 points"]
    changes: Float[Tensor, " points"]
    gripper: Float[Tensor, " points"]
    way: Float[Tensor, " points"]
    cube: Float[Tensor, "cube cube cube"]
    turned: Float[Tensor, " directions"]
    minimum: Float[Tensor, "3"]
    minimum_energy: float

    @property
    def possible(self) -> Bool[Tensor, " points"]:
        """Which of the changes of closedness the gripper can make from where it is."""
        after = self.closedness + self.changes
        return (after >= -1e-6) & (after <= 1 + 1e-6)


def measure_landscape(
    world_model: WorldModel,
    context: Context,
    true_action: Float[Tensor, "7"],
    target: Target,
    energy: Energy,
    *,
    config: GridConfig,
) -> Landscape:
    """Return the energies of actions around `true_action`.

    Args:
        world_model: Imagines what they lead to.
        context: What one robot sees now.
        true_action: What it did next.
        target: What it saw then.
        energy: Compares what is imagined with that.
        config: Where the energy is asked for; its `extent` is taken as it is, see `reach`.

    Raises:
        PlanningError: An energy is not finite.
    """
    true = true_action.to(context.latents.device)[None]
    extent = torch.tensor([config.extent], device=true.device)
    ticks = symmetric_ticks(extent, config.points)
    changes = symmetric_ticks(true[:, GRIPPER].abs().clamp_min(MAX_GRIPPER), config.points)
    parts = _around(true, ticks, changes, config)

    def ask(actions: Float[Tensor, "n samples 7"]) -> Float[Tensor, "n samples"]:
        return energies_at(world_model, context, actions, energy, target)

    sizes = [part.shape[1] for part in parts.values()]
    found = ask(torch.cat([*parts.values()], 1))[0].cpu().split(sizes)
    energies = dict(zip(parts, found, strict=True))
    least = find_minimum(ask, true, extent, config.cube_points)
    return Landscape(
        true_action=true_action.cpu(),
        closedness=float(context.poses[0, -1, GRIPPER].clamp(0, 1)),
        ticks=ticks[0].cpu(),
        planes=energies["planes"].view(3, config.points, config.points),
        cuts=energies["cuts"].view(3, config.points),
        changes=changes[0].cpu(),
        gripper=energies["gripper"],
        way=energies["way"],
        cube=least.grid[0].cpu(),
        turned=energies["turned"],
        minimum=least.places[0].cpu(),
        minimum_energy=float(least.values),
    )


def _around(
    true: Float[Tensor, "1 7"],
    ticks: Float[Tensor, "1 points"],
    changes: Float[Tensor, "1 points"],
    config: GridConfig,
) -> dict[str, Float[Tensor, "1 _ 7"]]:
    """Return the actions of each part of a landscape but the cube, by its name."""
    generator = torch.Generator().manual_seed(config.seed)
    return {
        "planes": torch.cat([axis_grid(true, axes, ticks) for axes in PLANES], 1),
        "cuts": torch.cat([axis_grid(true, (axis,), ticks) for axis in TRANSLATION], 1),
        "gripper": axis_grid(true, (GRIPPER,), changes),
        "way": straight_way(true, config.points),
        "turned": turned_actions(true, config.directions, generator),
    }


def argmin_error(
    world_model: WorldModel,
    context: Context,
    true_actions: Float[Tensor, "n 7"],
    goal: Float[Tensor, "n tokens dim"],
    *,
    points: int = 9,
    extent: float = 0.1,
    energy: Energy | None = None,
) -> Float[Tensor, " n"]:
    """Return how far from each true translation the energy is least [m].

    The minimum is looked for on a grid over x, y and z around holding still, which thus says
    nothing about where the true action is; see `grid_search`.

    Args:
        world_model: What is judged.
        context: What `n` robots see.
        true_actions: What they did next.
        goal: What they saw then, encoded.
        points: Of the first grid, along each axis.
        extent: How far it goes to both sides [m]; see `reach`.
        energy: Compares what is imagined with `goal`; `mean_difference` by default.
    """
    measured, target = energy or mean_difference, Target(latents=goal)

    def ask(actions: Float[Tensor, "n samples 7"]) -> Float[Tensor, "n samples"]:
        return energies_at(world_model, context, actions, measured, target)

    least = find_minimum(ask, true_actions, reach(true_actions, extent), points)
    return (least.places - true_actions[:, TRANSLATION]).norm(dim=-1)


def monotone_share(
    world_model: WorldModel,
    context: Context,
    true_actions: Float[Tensor, "n 7"],
    goal: Float[Tensor, "n tokens dim"],
    *,
    points: int = 9,
    energy: Energy | None = None,
) -> Float[Tensor, " n"]:
    """Return on which part of the straight way to each true action the energy falls; 1 is all.

    Args:
        world_model: What is judged.
        context: What `n` robots see.
        true_actions: What they did next; the way begins at holding still.
        goal: What they saw then, encoded.
        points: On the way, its ends included.
        energy: Compares what is imagined with `goal`; `mean_difference` by default.
    """
    way = straight_way(true_actions, points)
    found = energies_at(world_model, context, way, energy or mean_difference, Target(latents=goal))
    return falling(found)


def energies_at(
    world_model: WorldModel,
    context: Context,
    actions: Float[Tensor, "n samples 7"],
    energy: Energy,
    target: Target,
) -> Float[Tensor, "n samples"]:
    """Return the energy of single actions, imagined as many together as memory should hold.

    Raises:
        PlanningError: An energy is not finite.
    """
    each = len(actions) * context.latents.shape[2] * context.latents.shape[3]
    together = max(1, NUMBERS_TOGETHER // each)
    with torch.no_grad():
        found = torch.cat(
            [
                energy(world_model.imagine(context, part[:, :, None]), target)
                for part in actions.split(together, 1)
            ],
            1,
        )
    if not bool(found.isfinite().all()):
        raise PlanningError(
            f"{int((~found.isfinite()).sum())} of {found.numel()} energies are not finite: the"
            " world model imagines NaN or infinity. Check its weights and the images and poses it"
            " is given."
        )
    return found


def mean_difference(imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
    """Return the mean absolute difference of the last latents (arXiv 2506.09985, eq. 5)."""
    return (imagined.latents[:, :, -1] - target.latents[:, None]).abs().mean((-2, -1))
