"""Episodes and models that post-training is tried on."""

from pathlib import Path

import numpy as np
import torch

from vjepa_gym.learning.checkpoints import save_model, to_json
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Frames
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import ModelConfig, debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


def walks(episodes: int = 6, rows: int = 6) -> Frames:
    """Return episodes in which an arm wanders."""
    rng = np.random.default_rng(0)
    poses = rng.uniform(-0.1, 0.1, (episodes * rows, 7)).astype(np.float32).cumsum(0) / 5
    poses[:, 6] = 0.5
    images = rng.integers(0, 256, (len(poses), 16, 16, 3), np.uint8)
    return Frames(images=images, poses=poses, offsets=np.arange(0, len(poses) + 1, rows))


def some_model(model: ModelConfig | None = None, seed: int = 0) -> VJEPA2AC:
    """Return a world model that was not trained."""
    model = model or debug()
    parts = VisionTransformer(model.encoder), ACPredictor(model.ac_predictor, model.encoder.width)
    for part in parts:
        initialise(part, torch.Generator().manual_seed(seed))
    return VJEPA2AC(model, *parts)


def some_encoder(folder: Path, model: ModelConfig | None = None, **extra: int) -> Path:
    """Write a folder that holds only an encoder, as pretraining leaves it."""
    weights = {f"encoder.{k}": x for k, x in some_model(model).encoder.state_dict().items()}
    save_model(folder, weights=weights, config=to_json(model or debug()), training=extra or None)
    return folder


def row_latents(frames: Frames) -> np.ndarray:
    """Return latents that tell the row that they are of."""
    rows = np.arange(len(frames.poses), dtype=np.float16)
    return np.broadcast_to(rows[:, None, None], (len(rows), 16, 24))
