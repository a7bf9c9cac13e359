"""Random crops of clips, as all of the V-JEPA family are pretrained with."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

TRIES = 10
"""Boxes that are drawn before the centre is taken: one that sticks out is not used."""


def draw_crops(samples: int, generator: torch.Generator) -> Float[Tensor, "samples tries 4"]:
    """Draw what boxes are made from when the size of a video is known; see `crop_box`."""
    return torch.rand(samples, TRIES, 4, generator=generator, dtype=torch.float64)


def crop_box(
    drawn: Float[Tensor, "tries 4"],
    shape: tuple[int, int],
    scale: list[float],
    aspect: list[float],
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a crop [px].

    The first of the boxes drawn that lies within the frame; if none does, the largest centred part
    that is neither too wide nor too high.

    Args:
        drawn: From `draw_crops`.
        shape: Height and width of the frame [px].
        scale: Smallest and largest part of the frame that a box covers.
        aspect: Smallest and largest width of a box over its height, even in the logarithm.
    """
    rows, columns = shape
    for area, ratio, down, across in drawn.tolist():
        pixels = rows * columns * (scale[0] + area * (scale[1] - scale[0]))
        wide = aspect[0] * (aspect[1] / aspect[0]) ** ratio
        width, height = round(math.sqrt(pixels * wide)), round(math.sqrt(pixels / wide))
        if 0 < width <= columns and 0 < height <= rows:
            return (
                int(down * (rows - height + 1)),
                int(across * (columns - width + 1)),
                height,
                width,
            )
    height = max(1, min(rows, round(columns / aspect[0])))
    width = max(1, min(columns, round(rows * aspect[1])))
    return (rows - height) // 2, (columns - width) // 2, height, width


def crop(
    clip: UInt8[Tensor, "frames height width 3"], box: tuple[int, int, int, int], size: int
) -> Float[Tensor, "frames 3 size size"]:
    """Cut the same box from all frames, and stretch it to `size` px by bilinear interpolation.

    Args:
        clip: The frames.
        box: Top, left, height and width [px].
        size: Height and width of what is returned [px].
    """
    top, left, height, width = box
    part = clip[:, top : top + height, left : left + width].permute(0, 3, 1, 2).float()
    return interpolate(part, (size, size), mode="bilinear", align_corners=False)
