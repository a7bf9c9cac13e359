"""Cropping and scaling of images in NumPy: one definition for the training cache and the models."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

ImageSize: TypeAlias = int | Sequence[int]
"""The side of a square image, or height and width [px]."""
SMALLEST = 16
"""Pictures that are taken have no shorter side than this [px]."""


def image_shape(size: Any, smallest: int = SMALLEST) -> tuple[int, int]:
    """Return height and width of an image of `size` [px].

    Args:
        size: An `ImageSize`; whatever else it is, it is refused.
        smallest: The shortest side that is allowed [px].

    Raises:
        ValueError: It is no size of an image; the message says what would do.
    """
    sides = list(size) if isinstance(size, Sequence) else [size, size]
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in sides)
    if len(sides) != 2 or not whole or min(sides) < smallest:
        raise ValueError(
            "image_size must be a side, or height and width such as [180, 320], each of them a "
            f"whole number and at least {smallest} px, got {size!r}."
        )
    return int(sides[0]), int(sides[1])


def area_weights(source: int, target: int) -> Float32[np.ndarray, "target source"]:
    """Return the matrix that averages `source` pixels into `target` pixels by overlapping area."""
    edges = np.linspace(0.0, source, target + 1)
    left, right = edges[:-1, None], edges[1:, None]
    pixel = np.arange(source)[None]
    overlap = np.clip(np.minimum(right, pixel + 1) - np.maximum(left, pixel), 0.0, None)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def crop_to_aspect(
    images: UInt8[np.ndarray, "*n h w 3"], shape: tuple[int, int]
) -> UInt8[np.ndarray, "*n rows columns 3"]:
    """Return the largest centred part of each image that is as `shape`, to the nearest pixel.

    Args:
        images: The images.
        shape: Height and width that say how much wider than high.
    """
    height, width = images.shape[-3:-1]
    rows = min(height, max(1, round(width * shape[0] / shape[1])))
    columns = min(width, max(1, round(height * shape[1] / shape[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[..., top : top + rows, left : left + columns, :]


def resize(
    images: UInt8[np.ndarray, "*n h w 3"], size: ImageSize
) -> UInt8[np.ndarray, "*n height width 3"]:
    """Return the centred part of each image at `size` px, averaged by area.

    Args:
        images: The images.
        size: A side, for the centred square, or height and width, for the largest centred part that
            is as much wider than high.

    Raises:
        ValueError: It is no size of an image.
    """
    height, width = image_shape(size, smallest=1)
    part = crop_to_aspect(images, (height, width))
    if part.shape[-3:-1] == (height, width):
        return part
    down, across = area_weights(part.shape[-3], height), area_weights(part.shape[-2], width)
    rows = np.einsum("th,...hwc->...twc", down, part.astype(np.float32), optimize=True)
    both = np.einsum("tw,...hwc->...htc", across, rows, optimize=True)
    return np.rint(both).astype(np.uint8)


def fit_height(
    images: UInt8[np.ndarray, "*n h w 3"], size: ImageSize
) -> UInt8[np.ndarray, "*n height width 3"]:
    """Return each image at `size` px with all of its height: sides are cut off, or left black.

    So it shows what a camera with the same vertical field of view would, and the centred square of
    a wide picture stays what it was.

    Args:
        images: The images.
        size: A side, or height and width.

    Raises:
        ValueError: It is no size of an image.
    """
    height, width = image_shape(size, smallest=1)
    seen = min(width, max(1, round(height * images.shape[-2] / images.shape[-3])))
    part = resize(images, (height, seen))
    before = (width - seen) // 2
    sides = (before, width - seen - before)
    return np.pad(part, [(0, 0)] * (images.ndim - 2) + [sides, (0, 0)])
