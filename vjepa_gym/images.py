"""Cropping and scaling of images in NumPy: one definition for the training cache and the models."""

import numpy as np
from jaxtyping import Float32, UInt8


def centre_crop(images: UInt8[np.ndarray, "*n h w 3"]) -> UInt8[np.ndarray, "*n side side 3"]:
    """Return the largest centred square of each image."""
    height, width = images.shape[-3:-1]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side, :]


def area_weights(source: int, target: int) -> Float32[np.ndarray, "target source"]:
    """Return the matrix that averages `source` pixels into `target` pixels by overlapping area."""
    edges = np.linspace(0.0, source, target + 1)
    left, right = edges[:-1, None], edges[1:, None]
    pixel = np.arange(source)[None]
    overlap = np.clip(np.minimum(right, pixel + 1) - np.maximum(left, pixel), 0.0, None)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(images: UInt8[np.ndarray, "*n h w 3"], size: int) -> UInt8[np.ndarray, "*n size size 3"]:
    """Return the centred square of each image at `size` px, averaged by area."""
    square = centre_crop(images)
    if square.shape[-2] == size:
        return square
    weights = area_weights(square.shape[-2], size)
    rows = np.einsum("th,...hwc->...twc", weights, square.astype(np.float32), optimize=True)
    both = np.einsum("tw,...hwc->...htc", weights, rows, optimize=True)
    return np.rint(both).astype(np.uint8)
