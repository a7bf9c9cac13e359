"""What goes wrong on purpose: inexact moves, and one push in mid-episode."""

import numpy as np

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


def bump(world: World, what: str, target: str | None, rng: np.random.Generator) -> None:
    """Push something `SHOVE` metres to one side.

    Args:
        world: Where.
        what: `object`, which slides along the table, or out of the hand, or `arm`.
        target: The object; the cup where the task is about none.
        rng: Draws the direction.
    """
    angle = rng.uniform(-np.pi, np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    if what == "object":
        world.push(target or "cup", direction * SHOVE / SHOVING, SHOVING)
        return
    action = np.zeros(7, np.float32)
    action[:2] = direction * SHOVE
    world.arm.move(action)
