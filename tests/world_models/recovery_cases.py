"""Episodes of a hand that is seen, and what recovers its doings from them."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from films import moving_squares

from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.inverse import InverseDynamicsConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.pretraining_config import PretrainingConfig
from vjepa_gym.world_models.pretraining_presets import PRETRAINING
from vjepa_gym.world_models.pretraining_task import MaskedPretraining
from vjepa_gym.world_models.recovery import RecoveryConfig
from vjepa_gym.world_models.recovery_task import RecoveringPretraining

SIZE = 16
HEAD: dict[str, Any] = {"horizon": 3, "goal_steps": 6, "token_width": 4, "width": 32, "depth": 1}
HEAD |= {"reader_width": 32, "key_poses": True}


def seen_hand(rows: int | list[int] = 10, episodes: int = 6) -> Frames:
    """Return episodes of a bright square that goes with the hand; some length, or one for each."""
    lengths = [rows] * episodes if isinstance(rows, int) else rows
    rng = np.random.default_rng(0)
    poses = np.zeros((sum(lengths), 7), np.float32)
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    for start, end in pairwise(offsets.tolist()):
        moves = rng.uniform(-0.06, 0.06, (end - start, 2)).cumsum(0)
        poses[start:end, :2] = np.clip(rng.uniform(0.2, 0.8, 2) + moves, 0.1, 0.9)
        poses[start:end, 6] = rng.integers(0, 2, end - start)
    images = np.full((len(poses), SIZE, SIZE, 3), 40, np.uint8)
    for image, pose in zip(images, poses, strict=True):
        row, column = (pose[:2] * SIZE).astype(int)
        image[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 220
        image[..., 2] += np.uint8(30 * pose[6])
    return Frames(images=images, poses=poses, offsets=offsets)


def recovering(**changes: Any) -> RecoveryConfig:
    """Return a small term that is switched on."""
    head = InverseDynamicsConfig(**HEAD)
    usual: dict[str, Any] = {"weight": 1.0, "episodes": 4, "views": 4, "pairs": 4, "head": head}
    return RecoveryConfig(**{**usual, **changes})


def recipe(**changes: Any) -> PretrainingConfig:
    """Return the recipe `debug` with a small term, or with fields of it changed."""
    base = PRETRAINING["debug"]()
    return type(base)(**{**vars(base), "recovery": recovering(), **changes})


def recovering_task(
    frames: Frames | None = None, training: PretrainingConfig | None = None
) -> RecoveringPretraining:
    """Return masked pretraining on drifting squares with recovery beside it."""
    training, generator = training or recipe(), torch.Generator().manual_seed(0)
    return RecoveringPretraining(
        MaskedPretraining(moving_squares(), debug(), training, generator=generator),
        frames or seen_hand(),
        debug(),
        training.recovery,
        jitter=training.jitter,
        generator=generator,
    )
