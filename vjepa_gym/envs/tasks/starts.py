"""How an episode begins in which an object on the table is picked up."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vjepa_gym.envs.placement import (
    REGION_HIGH,
    REGION_LOW,
    TABLE_HIGH,
    TABLE_LOW,
    Placement,
    draw_around,
    draw_ends,
    draw_until_it_fits,
    draw_yaw,
    scatter,
    within,
)
from vjepa_gym.errors import PlacementError
from vjepa_gym.sim.world import World

HAND_NEAREST, HAND_FARTHEST = 0.08, 0.20
"""How far the tool centre is from where it will grip [m]; farther if it is told to be."""
AT_REST = 0.02
"""What was put on the table and into the air is left alone for this long before it begins [s]."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where things are when an episode begins.

    Attributes:
        tool: The tool centre of the open hand [m].
        places: x, y [m] and yaw [rad] of what stands on the table.
        goal: Where an object is to be put down, x and y [m].
    """

    tool: Float[np.ndarray, "3"]
    places: dict[str, Float[np.ndarray, "3"]]
    goal: Float[np.ndarray, "2"]


def begin_picking(
    world: World,
    rng: np.random.Generator,
    name: str,
    placement: Placement,
    distances: tuple[float, float] | None = None,
) -> Float[np.ndarray, "2"]:
    """Scatter the objects and put the open hand 8 to 20 cm from where it would grip `name`.

    Args:
        world: Where.
        rng: Draws what `placement` leaves open.
        name: The object that will be picked up.
        placement: What is given.
        distances: How far from there the object is to be put down [m]; None if it is not.

    Returns:
        Where it is to be put down, x and y [m].

    Raises:
        PlacementError: What `placement` asks for cannot be had.
    """
    start = draw_until_it_fits(lambda: _draw(world, rng, name, placement, distances))
    world.arrange(start.places)
    world.arm.place(world.arm.flange_at(start.tool))
    world.settle(AT_REST)
    return start.goal


def _draw(
    world: World,
    rng: np.random.Generator,
    name: str,
    placement: Placement,
    distances: tuple[float, float] | None,
) -> Start | None:
    stand, yaw, goal = None, draw_yaw(rng), None
    if placement.object_start is not None:
        *stand, yaw = np.asarray(placement.object_start)
    if distances is not None and placement.goal is not None:
        goal = within("goal", np.asarray(placement.goal)[:2], TABLE_LOW, TABLE_HIGH)
    ends = draw_ends(rng, (stand, goal), TABLE_LOW, TABLE_HIGH, distances or (0.0, 1.0))
    if ends is None:
        return None
    grip, place = (np.append(end, world.objects[name].grip_height) for end in ends)
    tool = _draw_hand(rng, grip, placement)
    if tool is None:
        return None
    path = np.stack([tool, grip, place] if distances else [tool, grip])
    places = scatter(
        world,
        rng,
        given={name: np.append(ends[0], yaw)},
        free=(ends[1],) if distances else (),
        path=path,
    )
    return None if places is None else Start(tool=tool, places=places, goal=ends[1])


def _draw_hand(
    rng: np.random.Generator, grip: np.ndarray, placement: Placement
) -> np.ndarray | None:
    """Return where the tool centre begins, or None if there is no room.

    Raises:
        PlacementError: Both places are given, too near to each other.
    """
    if placement.arm_start is None:
        return draw_around(rng, grip, REGION_LOW, REGION_HIGH, (HAND_NEAREST, HAND_FARTHEST))
    tool = np.asarray(placement.arm_start)
    if np.linalg.norm(tool - grip) >= HAND_NEAREST:
        return tool
    if placement.object_start is None:
        return None
    raise PlacementError(
        f"arm_start must be at least {HAND_NEAREST} m away from where the hand grips the object, "
        f"{grip.round(3).tolist()}, got {tool.round(3).tolist()}."
    )
