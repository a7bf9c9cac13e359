"""Observation and action spaces and their limits: one definition for simulation and hardware."""

from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from vjepa_gym.errors import InvalidActionError
from vjepa_gym.images import ImageSize, image_shape
from vjepa_gym.types import Action

MAX_TRANSLATION = 0.075
"""Largest displacement along each axis in one step [m] (V-JEPA 2, arXiv 2506.09985, section 4)."""
MAX_ROTATION = 0.25
"""Largest rotation about each axis in one step [rad]."""
MAX_GRIPPER = 0.75
"""Largest change of closedness in one step (the released V-JEPA 2-AC planner's limit)."""
ACTION_LIMIT = np.array([MAX_TRANSLATION] * 3 + [MAX_ROTATION] * 3 + [MAX_GRIPPER], np.float32)

WORKSPACE_LOW = np.array([0.30, -0.30, 0.01])
WORKSPACE_HIGH = np.array([0.75, 0.30, 0.50])
"""Where the tool centre point may be, in the base frame [m]."""

IMAGE_SIZE = 256
"""Height and width of an image unless an environment is told otherwise [px]."""


def action_space() -> gym.spaces.Box:
    """Return the space of metric displacements, each axis within `ACTION_LIMIT`."""
    return gym.spaces.Box(-ACTION_LIMIT, ACTION_LIMIT, dtype=np.float32)


def observation_space(
    image_size: ImageSize = IMAGE_SIZE, cameras: Sequence[str] = ("left",)
) -> gym.spaces.Dict:
    """Return the space of observations: `image` (the first camera), `pose`, and further cameras.

    Args:
        image_size: A side of the images, or height and width [px].
        cameras: Whose images.

    Raises:
        ValueError: It is no size of an image.
    """
    picture = gym.spaces.Box(0, 255, (*image_shape(image_size), 3), np.uint8)
    high = np.array([2.0] * 3 + [np.pi + 1e-3] * 3 + [1.0], np.float32)
    low = np.where(np.arange(7) == 6, 0.0, -high).astype(np.float32)
    further = dict.fromkeys(cameras[1:], picture)
    return gym.spaces.Dict({"image": picture, "pose": gym.spaces.Box(low, high), **further})


def clip_action(action: ArrayLike) -> tuple[Action, bool]:
    """Return the action within its limits, and whether any axis had to be clipped.

    Raises:
        InvalidActionError: The action is not seven finite numbers.
    """
    action = np.asarray(action)
    if action.shape != (7,):
        raise InvalidActionError(
            "An action has shape (7,): x y z [m], roll pitch yaw [rad], closedness; "
            f"got {action.shape}."
        )
    if not np.issubdtype(action.dtype, np.number) or not np.isfinite(action).all():
        raise InvalidActionError(f"An action must be seven finite numbers, got {action.tolist()}.")
    clipped = np.clip(action, -ACTION_LIMIT, ACTION_LIMIT).astype(np.float32)
    return clipped, bool(np.any(np.abs(action) > ACTION_LIMIT + 1e-6))
