"""What a landscape of energies says, in figures: is there a way down, and does it end well."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.world_models.action_grids import falling
from vjepa_gym.world_models.landscape import Landscape

NEAR = 0.03
"""How far from the true action it is asked whether the energy is convex [m]."""


@dataclass(frozen=True, kw_only=True)
class LandscapeFigures:
    """What a landscape says; of several, their means.

    Attributes:
        argmin_error_cm: From the minimum over x, y and z to the true translation [cm].
        energy_true: At the true action.
        energy_still: At holding still.
        energy_minimum: Least that was met with over x, y and z.
        monotone: 1 if the energy falls all along the straight way from holding still to the true
            action, 0 if not.
        monotone_share: On which part of that way it falls.
        less_than_true: Share of actions as long as the true one, in random directions, that have
            less energy: 0 is best, 0.5 is chance.
        contrast: Range of the energies over x, y and z, over their mean; 0 where all are alike.
        convex_share: Share of the places within 3 cm of the true action, on the cuts along x, y
            and z, where the energy bends upwards.
        gripper_over_xyz: Range of the energy over the changes of closedness that the gripper can
            make, over the mean range of the cuts; near 0 a planner cannot tell them apart.
    """

    argmin_error_cm: float
    energy_true: float
    energy_still: float
    energy_minimum: float
    monotone: float
    monotone_share: float
    less_than_true: float
    contrast: float
    convex_share: float
    gripper_over_xyz: float


def figures(landscape: Landscape) -> LandscapeFigures:
    """Return what a landscape says."""
    way, cuts = landscape.way, landscape.cuts
    true = float(way[-1])
    falls = float(falling(way[None]))
    wrong = landscape.minimum - landscape.true_action[:3]
    less = (landscape.turned < true).double() + 0.5 * (landscape.turned == true)
    ranges = torch.stack([_range(cut) for cut in cuts]).mean()
    return LandscapeFigures(
        argmin_error_cm=100 * float(wrong.norm()),
        energy_true=true,
        energy_still=float(way[0]),
        energy_minimum=landscape.minimum_energy,
        monotone=float(falls == 1.0),
        monotone_share=falls,
        less_than_true=float(less.mean()),
        contrast=_over(_range(landscape.cube), landscape.cube.mean()),
        convex_share=_convex_share(landscape),
        gripper_over_xyz=_over(_range(landscape.gripper[landscape.possible]), ranges),
    )


def mean_figures(of_each: Sequence[LandscapeFigures]) -> LandscapeFigures:
    """Return the mean of each figure.

    Raises:
        ValueError: There is none.
    """
    if not of_each:
        raise ValueError("The mean of figures needs those of one landscape or more, got none.")
    names = [field.name for field in dataclasses.fields(LandscapeFigures)]
    values = {name: [getattr(one, name) for one in of_each] for name in names}
    return LandscapeFigures(**{name: sum(all_) / len(all_) for name, all_ in values.items()})


def _convex_share(landscape: Landscape) -> float:
    inner = landscape.ticks[1:-1]
    away = (inner - landscape.true_action[:3, None]).abs()
    near = away <= away.amin(1, keepdim=True).clamp_min(NEAR)
    bends = landscape.cuts.diff(2) > 0
    return float((bends & near).sum() / near.sum())


def _range(energies: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    return energies.max() - energies.min()


def _over(part: Float[Tensor, ""], whole: Float[Tensor, ""]) -> float:
    """Return a ratio that is finite, and 0 where nothing differs at all."""
    return float(part) / max(float(whole), 1e-30)
