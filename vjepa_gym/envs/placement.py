"""Where hands and objects are put when an episode begins."""

import numpy as np
from jaxtyping import Float

from vjepa_gym.sim.panda import FLANGE_TO_TCP
from vjepa_gym.sim.world import OBJECTS, World
from vjepa_gym.types import Pose

DOWN = np.array([np.pi, 0.0, 0.0])
"""Roll, pitch, yaw of the flange [rad] when the hand points straight down, as when DROID's
episodes begin; the fingers then open across the view of the camera `left`."""

REGION_LOW = np.array([0.36, -0.20, 0.13])
REGION_HIGH = np.array([0.66, 0.20, 0.38])
"""Where hands begin and goals lie [m], tool centre: 30 x 40 x 25 cm above the objects."""

TABLE_LOW = np.array([0.42, -0.22])
TABLE_HIGH = np.array([0.66, 0.22])
"""Where objects stand, x and y [m]."""
APART = 0.14
"""No two objects stand nearer than this, centre to centre [m]."""


def flange_at(tool: Float[np.ndarray, "3"], closedness: float = 0.0, yaw: float = 0.0) -> Pose:
    """Return the flange pose of a hand that points down with its tool centre at `tool` [m].

    Args:
        tool: Where the point between the finger tips is to be, in the base frame.
        closedness: 0 open, 1 closed.
        yaw: How far the hand is turned about the vertical [rad].
    """
    position = np.asarray(tool) + [0.0, 0.0, FLANGE_TO_TCP]
    return np.concatenate([position, DOWN + [0, 0, yaw], [closedness]]).astype(np.float32)


def scatter_objects(world: World, rng: np.random.Generator) -> None:
    """Clear the lab and stand each object somewhere on the table, turned any way, none too near."""
    while True:
        places = rng.uniform(TABLE_LOW, TABLE_HIGH, (len(OBJECTS), 2))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
        if gaps[np.triu_indices(len(OBJECTS), 1)].min() >= APART:
            break
    yaws = rng.uniform(-np.pi / 6, np.pi / 6, len(OBJECTS))
    world.arrange(
        {
            name: np.append(place, yaw)
            for name, place, yaw in zip(OBJECTS, places, yaws, strict=True)
        }
    )
