"""The one check of images and videos that are given to be encoded."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

Pixels: TypeAlias = Tensor | np.ndarray
"""Bytes of images or videos, colours last."""
AXES = {"image": "(n, height, width, 3)", "video": "(n, time, height, width, 3)"}


def checked(pixels: Pixels, kind: str) -> UInt8[Tensor, "n *rest 3"]:
    """Return pixels as a tensor, if they are what encoders are given.

    Args:
        pixels: A tensor or an array.
        kind: `image` or `video`.

    Raises:
        ValueError: They are not uint8, have other axes, or there are none; says what was given.
    """
    if not isinstance(pixels, Tensor | np.ndarray):
        raise ValueError(
            f"{kind}s must be a torch tensor or a numpy array, got {type(pixels).__name__}"
        )
    if hint := _what_is_wrong(pixels, kind):
        raise ValueError(
            f"{kind}s must be uint8 of shape {AXES[kind]}, got {pixels.dtype} of shape"
            f" {tuple(pixels.shape)}: {hint}"
        )
    if isinstance(pixels, Tensor):
        return pixels
    # Torch shares only memory that it may write and that runs forward.
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))


def _what_is_wrong(pixels: Pixels, kind: str) -> str:
    """Return how to mend it; nothing if there is nothing to mend."""
    shape, wanted = tuple(pixels.shape), AXES[kind].count(",") + 1
    if len(shape) == wanted - 1:
        return f"a single {kind} `x` is `x[None]`"
    if kind == "image" and len(shape) == wanted + 1:
        return "videos are for `encode_video`"
    if len(shape) != wanted:
        return f"it has {len(shape)} axes instead of {wanted}"
    if shape[-1] != 3 and shape[-3] == 3:
        return "colours come last; `x.movedim(-3, -1)` of a tensor, `np.moveaxis` of an array"
    if shape[-1] != 3:
        return "three colours come last"
    if 0 in shape:
        return f"there is no {kind} to encode"
    if str(pixels.dtype).removeprefix("torch.") != "uint8":
        return (
            "pixels are whole numbers from 0 to 255 and are normalised here; what lies between 0"
            " and 1 is multiplied by 255, rounded and made uint8"
        )
    return ""
