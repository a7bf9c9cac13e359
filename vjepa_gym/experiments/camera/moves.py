"""Random moves along the table, seen by a camera that was carried round."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.spaces import MAX_TRANSLATION

LOW, HIGH = np.array([0.38, -0.18]), np.array([0.64, 0.18])
"""The part of the table that the hand stays above: x and y [m]."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What was seen and measured before the first move and after each.

    Attributes:
        images: Views.
        poses: Measured poses.
    """

    images: UInt8[np.ndarray, "rows height width 3"]
    poses: Float32[np.ndarray, "rows 7"]


def random_moves(env: gym.Env[Any, Any], azimuth: float, count: int, *, seed: int) -> Moves:
    """Return what is seen of random moves; the same seed gives the same moves for any camera.

    Args:
        env: One of the tabletop's, that lasts at least so many steps.
        azimuth: Where the camera stands [deg].
        count: How many moves.
        seed: Of the episode and of the moves: each axis is drawn evenly from what one step allows,
            and mirrored where it would lead too far.
    """
    rng = np.random.default_rng(seed)
    turned = {"variation": {"camera_azimuth": azimuth}, "goal_images": False}
    observation, _ = env.reset(seed=seed, options=turned)
    seen = [observation]
    for _ in range(count):
        action = np.zeros(7, np.float32)
        action[:2] = _move(observation["pose"][:2], rng)
        observation, *_ = env.step(action)
        seen.append(observation)
    return Moves(
        images=np.stack([one["image"] for one in seen]),
        poses=np.stack([one["pose"] for one in seen]),
    )


def _move(place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a displacement along the table [m]."""
    move = rng.uniform(-MAX_TRANSLATION, MAX_TRANSLATION, 2)
    end = place + move
    return np.where((end < LOW) | (end > HIGH), -move, move)
