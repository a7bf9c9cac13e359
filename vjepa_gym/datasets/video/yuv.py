"""RGB as the luma and chroma that H.264 stores, in whole numbers: the same on every machine.

FFmpeg's own conversion gives other numbers on other processors.
"""

import numpy as np
from jaxtyping import UInt8

LUMA = np.array([66, 129, 25], np.uint16)
BLUE = np.array([-38, -74, 112], np.int16)
RED = np.array([112, -94, -18], np.int16)
"""Weights of red, green and blue in 256ths for studio range (ITU-R BT.601), as video without a
colour space is understood."""
BLACK, GREY, HALF = 16, 128, 128


def to_yuv420(
    image: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "planes width"]:
    """Return the luma of an image of even height and width, then both chromas at half its size.

    A chroma is that of the mean of four pixels. No sum leaves its 16 bits.
    """
    height, width, _ = image.shape
    channels = np.ascontiguousarray(np.moveaxis(image, -1, 0)).astype(np.uint16)
    pixels = height * width
    planes = np.empty(pixels * 3 // 2, np.uint8)
    luma = (LUMA[:, None, None] * channels).sum(axis=0, dtype=np.uint16)
    planes[:pixels] = ((luma + (BLACK * 256 + HALF)) >> 8).reshape(-1)
    fours = channels[:, ::2, ::2] + channels[:, 1::2, ::2]
    fours = ((fours + channels[:, ::2, 1::2] + channels[:, 1::2, 1::2] + 2) >> 2).astype(np.int16)
    for weights, start in ((BLUE, pixels), (RED, pixels * 5 // 4)):
        chroma = (weights[:, None, None] * fours).sum(axis=0, dtype=np.int16)
        planes[start : start + pixels // 4] = (((chroma + HALF) >> 8) + GREY).reshape(-1)
    return planes.reshape(height * 3 // 2, width)
