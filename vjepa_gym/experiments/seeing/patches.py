"""Features of the patches of a clip, laid out as these lie in it, and the pixels they are of."""

from enum import Enum

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vjepa_gym.world_models.encoder import VisionTransformer, encode_frames, normalise_tokens
from vjepa_gym.world_models.preprocessing import Preprocessing

TOGETHER = 16
"""Frames that pass the encoder at once."""


class Encode(Enum):
    """What the encoder sees at once."""

    frames = "frames"
    """Each frame by itself, as a planner has it."""
    clip = "clip"
    """All frames, two or so to a tubelet, as in pretraining."""


@torch.no_grad()
def patch_features(
    encoder: VisionTransformer,
    preprocessing: nn.Module,
    images: UInt8[np.ndarray, "frames height width 3"],
    encode: Encode,
) -> Float[Tensor, "frames rows columns dim"]:
    """Return the normalised features of the patches of each frame.

    Args:
        encoder: The encoder, where it computes.
        preprocessing: From images to the pixels that it takes, at whole patches.
        images: The frames.
        encode: What the encoder sees at once. Frames of one tubelet have features in common; the
            last frame is repeated to fill the last tubelet.
    """
    device = next(encoder.parameters()).device
    parts = [preprocessing(part.to(device)) for part in torch.from_numpy(images).split(TOGETHER)]
    rows, columns = (side // encoder.config.patch_size for side in parts[0].shape[2:])
    if encode is Encode.frames:
        tokens = torch.cat([encode_frames(encoder, part) for part in parts])
        return tokens.float().unflatten(1, (rows, columns))
    length = encoder.config.tubelet_size
    pixels = torch.cat(parts)
    pixels = torch.cat([pixels, pixels[-1:].expand(-len(pixels) % length, -1, -1, -1)])
    tokens = normalise_tokens(encoder(pixels.transpose(0, 1)[None]))[0]
    features = tokens.float().unflatten(0, (-1, rows, columns))
    return features.repeat_interleave(length, 0)[: len(images)]


@torch.no_grad()
def seen(
    preprocessing: Preprocessing, images: UInt8[np.ndarray, "frames height width 3"]
) -> UInt8[np.ndarray, "frames side side 3"]:
    """Return the part of each frame that a model sees, at the size of `preprocessing`."""
    pixels = torch.cat([preprocessing(part) for part in torch.from_numpy(images).split(TOGETHER)])
    colours = (pixels.permute(0, 2, 3, 1) - preprocessing.shift) / preprocessing.scale
    return colours.round().clamp(0, 255).byte().numpy()
