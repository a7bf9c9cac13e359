"""Views as cameras elsewhere might show them: scaled, turned and moved."""

import math

import cv2
import numpy as np
from jaxtyping import Float64, UInt8


def draw_warps(
    rng: np.random.Generator, count: int, most: float, size: int
) -> Float64[np.ndarray, "count 2 3"]:
    """Return maps of pixels onto pixels, all different.

    Args:
        rng: Draws them.
        count: How many.
        most: By which views are scaled, as a fraction; half of it is by how much of their side they
            are moved along each axis, and by how many radians they are turned.
        size: Height and width of the views [px].
    """
    scale = np.exp(rng.uniform(-1, 1, count) * math.log1p(most))
    turn, x, y = rng.uniform(-most / 2, most / 2, (3, count))
    centre = (size - 1) / 2
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    right = centre + x * size - centre * (cosine - sine)
    down = centre + y * size - centre * (sine + cosine)
    return np.stack([np.stack([cosine, -sine, right], 1), np.stack([sine, cosine, down], 1)], 1)


def warp(
    images: UInt8[np.ndarray, "n height width 3"], warps: Float64[np.ndarray, "n 2 3"]
) -> UInt8[np.ndarray, "n height width 3"]:
    """Return each view mapped by its own map; what lies outside is its mirror image."""
    height, width = images.shape[1:3]
    warped = np.empty_like(images)
    for image, by, there in zip(images, warps, warped, strict=True):
        cv2.warpAffine(image, by, (width, height), there, borderMode=cv2.BORDER_REFLECT_101)
    return warped
