"""What goes wrong on purpose: inexact moves, and one push in mid-episode."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vjepa_gym.envs.factors import BUMPS
from vjepa_gym.errors import VariationError
from vjepa_gym.sim.world import World
from vjepa_gym.types import Action

SHOVE = 0.06
"""How far an object is pushed along the table, and the arm through the air [m]."""
SHOVING = 0.2
"""How long the push of an object takes [s]."""


def actuation_error(std: float, rng: np.random.Generator) -> Action:
    """Return what a move differs by from what was asked for.

    Args:
        std: Standard deviation along x, y and z [m].
        rng: Where the noise comes from; not asked if there is none.
    """
    error = np.zeros(7, np.float32)
    if std > 0.0:
        error[:3] = rng.normal(0.0, std, 3)
    return error


def check_bump(drawn: Mapping[str, Any], horizon: int) -> None:
    """Do nothing unless something is to be pushed when an episode is already over.

    Args:
        drawn: The variation of the episode.
        horizon: How many steps it has.

    Raises:
        VariationError: It is.
    """
    kind, step = BUMPS[drawn["bump"]], int(drawn["bump_step"])
    if kind != "none" and step >= horizon:
        raise VariationError(
            f"bump_step must be below the {horizon} steps of an episode, got {step}."
        )


def bump(
    world: World,
    drawn: Mapping[str, Any],
    elapsed: int,
    target: str | None,
    rng: np.random.Generator,
) -> bool:
    """Push something `SHOVE` metres to one side, if it is time; return whether it was.

    Args:
        world: Where.
        drawn: The variation of the episode: an `object` slides along the table, or out of the hand;
            or it is the `arm`.
        elapsed: How many steps the episode has had.
        target: The object; the cup where the task is about none.
        rng: Draws the direction.
    """
    kind = BUMPS[drawn["bump"]]
    if kind == "none" or elapsed != drawn["bump_step"]:
        return False
    angle = rng.uniform(-np.pi, np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    if kind == "object":
        world.push(target or "cup", direction * SHOVE / SHOVING, SHOVING)
    else:
        action = np.zeros(7, np.float32)
        action[:2] = direction * SHOVE
        world.arm.move(action)
    return True
