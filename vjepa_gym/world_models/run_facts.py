"""What a training learns from and what with, in words that its checkpoints keep."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from torch import nn

from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.checkpoints import JSON, digest_of_tensors, to_json
from vjepa_gym.types import Frames, Videos
from vjepa_gym.world_models.presets import ModelConfig

LOOKED_AT = 4
"""Videos of which the first frame is looked at."""
SAMPLE = 64
"""Frames of episodes that are looked at."""
DIGITS = 12
NONE = "none"


def facts_of_videos(videos: Videos) -> str:
    """Return how many videos and frames there are, which is first, and a digest of a sample.

    Folders above a video do not count, so that data may be moved.
    """
    names = [Path(name).name for name in videos.names]
    digest = hashlib.sha256("\n".join(names).encode())
    for numbers in (videos.lengths, videos.rates):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    for video in np.unique(np.linspace(0, len(names) - 1, LOOKED_AT).astype(int)).tolist():
        if videos.lengths[video]:
            digest.update(_first_frame(videos, video))
    count = "1 video" if len(names) == 1 else f"{len(names)} videos"
    words = f"{count} of {int(videos.lengths.sum())} frames, first {names[0]}"
    return f"{words} [{digest.hexdigest()[:DIGITS]}]"


def _first_frame(videos: Videos, video: int) -> bytes:
    try:
        return np.ascontiguousarray(videos.read(video, np.zeros(1, np.int64))).tobytes()
    except DatasetError:  # It is told, or left out, when it is its turn.
        return b"unreadable"


def facts_of_frames(frames: Frames) -> str:
    """Return how many episodes and frames there are, and a digest of all poses and of a sample."""
    digest = hashlib.sha256(repr(frames.images.shape).encode())
    sample = np.linspace(0, len(frames.images) - 1, SAMPLE).astype(int)
    for array in (frames.offsets, frames.poses, frames.images[sample]):
        digest.update(np.ascontiguousarray(array).tobytes())
    words = f"{frames.num_episodes} episodes of {len(frames.images)} frames"
    return f"{words} [{digest.hexdigest()[:DIGITS]}]"


def facts_of_weights(weights: Float64[np.ndarray, " videos"] | None) -> str:
    """Return a digest of the chances of videos."""
    if weights is None:
        return "all clips alike"
    return f"given [{hashlib.sha256(np.ascontiguousarray(weights).tobytes()).hexdigest()[:DIGITS]}]"


def digest_of(*modules: nn.Module) -> str:
    """Return a digest of all weights and buffers, those that are not saved included."""
    tensors = {
        f"{index}.{name}": tensor
        for index, module in enumerate(modules)
        for named in (module.named_parameters(), module.named_buffers())
        for name, tensor in named
    }
    return digest_of_tensors(tensors)[:DIGITS]


def model_without(model: ModelConfig, part: str) -> dict[str, JSON]:
    """Return the configuration of a model, but for the part that is not looked at."""
    fields = to_json(model)
    assert isinstance(fields, dict)
    return {name: value for name, value in fields.items() if name != part}
