"""Still images of any common kind as RGB, the way up that they are shown."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from vjepa_gym.datasets.video.opening import LARGEST_PICTURE
from vjepa_gym.errors import DatasetError

DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow raises for a damaged file."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Modes of 16 bits, which Pillow would cut off at 255 rather than scale."""
PAPER = (255, 255, 255)
"""What lies below transparent parts."""


def read_picture(path: Path, max_side: int | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image; of several in one file the first.

    It is turned as its EXIF data say; grey, palettes, CMYK and 16 bits become RGB; what is
    transparent is laid on white.

    Args:
        path: The file.
        max_side: An image whose shorter side is longer is scaled down to it [px].

    Raises:
        DatasetError: The file is missing, damaged, too large, or no image.
    """
    with _opened(path) as image:
        if max_side is not None:
            # JPEG is decoded at a half, a quarter or an eighth, where that is still large enough.
            factor = max(1, min(image.size) // max_side)
            image.draft(None, (image.width // factor, image.height // factor))
        upright = ImageOps.exif_transpose(image)
        if max_side is not None and min(upright.size) > max_side:
            shape = [max(1, round(side * max_side / min(upright.size))) for side in upright.size]
            return np.array(_rgb(upright).resize((shape[0], shape[1]), Image.Resampling.BOX))
        return np.array(_rgb(upright))


def check_picture(path: Path) -> dict[str, int]:
    """Decode an image and return its height and width as they are stored [px].

    Raises:
        DatasetError: The file is missing, damaged, too large, or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        image.draft(None, (max(1, width // 8), max(1, height // 8)))
        image.load()
        return {"height": height, "width": width}


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP", "BMP", "MPO", "DIB")) as image:
            if image.width * image.height > LARGEST_PICTURE:
                raise ValueError(f"{image.width} x {image.height} px are too many")
            yield image
    except FileNotFoundError:
        raise DatasetError(f"{path}: not found.") from None
    except DAMAGE as error:
        raise DatasetError(f"{path}: expected a whole image, but {error}.") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP:
        eighth = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(eighth.clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    below = Image.new("RGBA", layered.size, PAPER)
    return Image.alpha_composite(below, layered).convert("RGB")
