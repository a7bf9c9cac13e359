"""Where hands, objects and goals are put when an episode begins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise, product
from typing import TypeAlias, TypeVar

import mujoco
import numpy as np
from jaxtyping import Float

from vjepa_gym.errors import PlacementError
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW

REGION_LOW = np.array([0.36, -0.20, 0.13])
REGION_HIGH = np.array([0.66, 0.20, 0.38])
"""Where hands begin and goals lie [m], tool centre: 30 x 40 x 25 cm above cup and box."""

TABLE_LOW = np.array([0.42, -0.22])
TABLE_HIGH = np.array([0.66, 0.22])
"""Where cup and box stand, x and y [m]; the exterior cameras of both labs see all of it."""
SURROUNDINGS_LOW = np.array([0.32, -0.30])
SURROUNDINGS_HIGH = np.array([0.72, 0.22])
"""Where distractors stand, x and y [m]: as much of the workspace as the cameras see."""
TURNED = np.pi / 6
"""Objects are turned by at most this much when an episode begins [rad]."""

APART = 0.14
"""Cup and box stand no nearer than this to each other or a goal, centre to centre [m]: beside what
is gripped there must be room for the hand, which is 20 cm wide."""
GAP = 0.08
"""Distractors stand no nearer than this to anything, surface to surface [m]."""
HAND_SIDE, HAND_BELOW = 0.07, 0.02
"""How far the open fingers reach from the tool centre, sideways and down, with some room [m]."""
PALM_SIDE, PALM_ABOVE = 0.115, 0.04
"""How far the hand itself reaches sideways, and how far above the tool centre it begins [m]."""
TRIES = 300
"""Drawings before a placement is given up; at worst, with four distractors, one in five fits."""
DARTS = 64
"""Places that are tried at once."""
CORNERS = np.array(list(product([-1.0, 1.0], repeat=3)))
"""Of a cube."""

Drawn = TypeVar("Drawn")
Place: TypeAlias = Sequence[int | float] | Float[np.ndarray, " d"]
"""Coordinates, in whatever holds them."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where things are put; what is None is drawn.

    Attributes:
        object_start: x, y [m] and yaw [rad] of the object that the task is about.
        arm_start: The tool centre at the beginning [m].
        goal: Where the tool centre or the object's centre is to be [m]; for a place on the table,
            its height is the table's affair.
    """

    object_start: Place | None = None
    arm_start: Place | None = None
    goal: Place | None = None

    def __post_init__(self) -> None:
        """Check each against where it can be.

        Raises:
            PlacementError: It cannot be there; the message says where it can.
        """
        table = [*TABLE_LOW, -np.pi], [*TABLE_HIGH, np.pi]
        space = WORKSPACE_LOW, WORKSPACE_HIGH
        for field, (low, high) in zip(fields(self), (table, space, space), strict=True):
            if getattr(self, field.name) is not None:
                place = within(field.name, getattr(self, field.name), low, high)
                object.__setattr__(self, field.name, tuple(place.tolist()))


ANYWHERE = Placement()
"""Everything is drawn."""


def within(what: str, place: Place, low: Place, high: Place) -> np.ndarray:
    """Return `place` as an array between `low` and `high`.

    Raises:
        PlacementError: It is not.
    """
    place, low, high = (np.asarray(value, np.float64) for value in (place, low, high))
    # The bounds themselves may come in single precision.
    if place.shape != low.shape or not np.all((place >= low - 1e-6) & (place <= high + 1e-6)):
        raise PlacementError(
            f"{what} lies outside the workspace: it must be between {low.round(3).tolist()} and "
            f"{high.round(3).tolist()}, got {place.round(3).tolist()}."
        )
    return place


def draw_until_it_fits(draw: Callable[[], Drawn | None]) -> Drawn:
    """Return the first drawing that is not None.

    Raises:
        PlacementError: None of `TRIES` was one.
    """
    for _ in range(TRIES):
        drawn = draw()
        if drawn is not None:
            return drawn
    raise PlacementError(
        f"No arrangement of hand, objects and goal was found in {TRIES} drawings: give fewer "
        "places, places farther apart, or fewer distractors."
    )


def draw_around(
    rng: np.random.Generator,
    centre: Float[np.ndarray, " d"],
    low: Float[np.ndarray, " d"],
    high: Float[np.ndarray, " d"],
    distances: tuple[float, float],
) -> Float[np.ndarray, " d"] | None:
    """Return a place in a box whose distance from `centre` is in a range [m]; None if none is."""
    nearest, farthest = distances
    low, high = np.maximum(low, centre - farthest), np.minimum(high, centre + farthest)
    if np.any(low > high):
        return None
    places = rng.uniform(low, high, (DARTS, len(centre)))
    away = np.linalg.norm(places - centre, axis=1)
    return _first(places, (away >= nearest) & (away <= farthest))


def draw_ends(
    rng: np.random.Generator,
    given: tuple[Place | None, Place | None],
    low: Float[np.ndarray, " d"],
    high: Float[np.ndarray, " d"],
    distances: tuple[float, float],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]] | None:
    """Return two places in a box whose distance is in a range [m]; None if none were found.

    What is `given` stays, be it outside of the box or, if both are, too far away.

    Raises:
        PlacementError: Both are given, too near to each other.
    """
    start, goal = (None if end is None else np.asarray(end, np.float64) for end in given)
    if start is not None and goal is not None:
        if np.linalg.norm(goal - start) < distances[0]:
            raise PlacementError(
                f"The goal must be at least {distances[0]} m away from the start, got goal "
                f"{goal.round(3).tolist()} and start {start.round(3).tolist()}."
            )
        return start, goal
    if start is None and goal is None:
        start = rng.uniform(low, high)
    if start is None:
        start = draw_around(rng, np.asarray(goal), low, high, distances)
    elif goal is None:
        goal = draw_around(rng, start, low, high, distances)
    return None if start is None or goal is None else (start, goal)


def draw_yaw(rng: np.random.Generator) -> float:
    """Return how an object is turned [rad]."""
    return float(rng.uniform(-TURNED, TURNED))


def scatter(
    world: World,
    rng: np.random.Generator,
    *,
    given: Mapping[str, Float[np.ndarray, "3"]],
    without: str | None = None,
    free: Sequence[Float[np.ndarray, "2"]] = (),
    path: Float[np.ndarray, "n 3"] | None = None,
) -> dict[str, Float[np.ndarray, "3"]] | None:
    """Return x, y and yaw of everything that stands on the table; None if there is no room.

    Args:
        world: Whose things.
        rng: Draws where those stand that are not given.
        given: Where some stand.
        without: What does not stand there.
        free: Places at which something given is to be put down [m].
        path: Points from one to the next of which the tool centre goes [m]; what stands on the
            table is clear of it, given things of its beginning.
    """
    places, sizes = dict(given), {name: radius(world, name) for name in given}
    for name, place in given.items():
        height = world.objects[name].height
        if path is not None and not _clear(path[[0, 0]], place[None, :2], height, sizes[name])[0]:
            return None
    taken = [(place[:2], sizes[name]) for name, place in given.items()]
    taken += [(place[:2], max(sizes.values(), default=0.0)) for place in free]
    for name, shape in world.objects.items():
        if name in given or name == without:
            continue
        own, main = radius(world, name), name in ("cup", "box")
        low, high = (TABLE_LOW, TABLE_HIGH) if main else (SURROUNDINGS_LOW, SURROUNDINGS_HIGH)
        spots = rng.uniform(low, high, (DARTS, 2))
        fits = np.ones(DARTS, bool)
        for other, size in taken:
            gap = APART if main else GAP + own + size
            fits &= np.linalg.norm(spots - other, axis=1) >= gap
        if path is not None:
            fits &= _clear(path, spots, shape.height, own)
        spot = _first(spots, fits)
        if spot is None:
            return None
        places[name] = np.append(spot, draw_yaw(rng))
        taken.append((spot, own))
    return places


def radius(world: World, name: str) -> float:
    """Return how far an object reaches from its centre, seen from above [m]."""
    model, body = world.model, world.model.body(name)
    geoms = np.arange(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
    geoms = geoms[model.geom_contype[geoms] > 0]
    w, x, y, z = model.geom_quat[geoms].T
    # The two rows of the rotation that lead to x and y of the body.
    across = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    along = [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    centre, half = model.geom_aabb[geoms, :3], model.geom_aabb[geoms, 3:].copy()
    # What is round fills its box less far: its corners are put on the circle.
    half[model.geom_type[geoms] == mujoco.mjtGeom.mjGEOM_CYLINDER, :2] *= np.sqrt(0.5)
    corners = centre[:, None] + CORNERS * half[:, None]
    turned = np.einsum("ign,gcn->cgi", np.stack([across, along]).swapaxes(1, 2), corners)
    return float(np.linalg.norm(model.geom_pos[geoms, :2] + turned, axis=-1).max())


def _first(places: np.ndarray, fits: np.ndarray) -> np.ndarray | None:
    return places[np.argmax(fits)] if fits.any() else None


def _clear(path: np.ndarray, spots: np.ndarray, height: float, size: float) -> np.ndarray:
    """Return which spots an object of this size can stand on beside a path of the hand [n]."""
    clear = np.ones(len(spots), bool)
    for begin, end in pairwise(path):
        if min(begin[2], end[2]) >= height + HAND_BELOW:
            continue
        along = end[:2] - begin[:2]
        share = (spots - begin[:2]) @ along / max(float(along @ along), 1e-9)
        nearest = begin[:2] + np.clip(share, 0.0, 1.0)[:, None] * along
        tall = height > min(begin[2], end[2]) + PALM_ABOVE
        room = (PALM_SIDE if tall else HAND_SIDE) + size
        clear &= np.linalg.norm(spots - nearest, axis=1) >= room
    return clear
