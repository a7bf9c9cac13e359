"""A world model and episodes that heads are tried on."""

import numpy as np
from post_training_cases import some_model, walks

from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.registry import HeadData
from vjepa_gym.world_models.presets import ModelConfig, debug

__all__ = ["seen_walks", "some_model", "walks"]


def seen_walks(episodes: int = 40, rows: int = 12, model: ModelConfig | None = None) -> HeadData:
    """Return episodes of a wandering arm, and latents that show where it is and its gripper."""
    rng = np.random.default_rng(0)
    moves = rng.uniform(-0.06, 0.06, (episodes, rows, 7)).astype(np.float32)
    moves[..., 3:6] /= 3
    moves[..., 6] = 0
    poses = moves.cumsum(1)
    poses[..., 6] = (rng.random((episodes, rows)) < 0.3).cumsum(1) % 2
    poses = poses.reshape(-1, 7).astype(np.float32)
    sizes = (model or debug()).encoder
    tokens = (sizes.image_size // sizes.patch_size) ** 2
    look = rng.normal(size=(7, tokens * sizes.width)).astype(np.float32)
    latents = (poses @ look * 3).reshape(len(poses), tokens, sizes.width).astype(np.float16)
    frames = Frames(
        images=np.zeros((len(poses), 8, 8, 3), np.uint8),
        poses=poses,
        offsets=np.arange(0, len(poses) + 1, rows, dtype=np.int64),
    )
    return HeadData(latents=latents, frames=frames)
