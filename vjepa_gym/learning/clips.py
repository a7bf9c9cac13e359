"""Clips of consecutive frames from episodes that are laid end to end."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import grid_sample

from vjepa_gym.errors import DatasetError


def clip_starts(
    offsets: Int64[np.ndarray, "episodes_plus_one"], frames: int, stride: int = 1
) -> Int64[np.ndarray, "starts"]:
    """Return every row at which a clip may begin without leaving its episode.

    Args:
        offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
        frames: Frames in a clip.
        stride: Rows from one frame of a clip to the next.

    Raises:
        DatasetError: No episode is long enough.
    """
    reach = (frames - 1) * stride
    starts = [np.arange(first, end - reach) for first, end in pairwise(offsets)]
    rows = np.concatenate([np.empty(0, np.int64), *starts])
    if not len(rows):
        longest = int(np.diff(offsets).max(initial=0))
        raise DatasetError(
            f"A clip of {frames} frames, {stride} rows apart, needs an episode of {reach + 1} rows;"
            f" the longest of {len(offsets) - 1} has {longest}. Collect longer ones, or take fewer"
            " frames."
        )
    return rows


def random_crops(
    video: Float[Tensor, "batch 3 frames height width"],
    scale: list[float],
    aspect: list[float],
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 frames height width"]:
    """Cut a random box from each clip, the same from all its frames, and stretch it to full size.

    Args:
        video: The clips.
        scale: Smallest and largest part of the frame that a box covers.
        aspect: Smallest and largest width of a box over its height, even in the logarithm.
        generator: Source of randomness, on the CPU.
    """
    batch, _, _, height, width = video.shape
    area, shape, x, y = torch.rand(4, batch, generator=generator)
    area = scale[0] + area * (scale[1] - scale[0])
    ratio = aspect[0] * (aspect[1] / aspect[0]) ** shape
    across, down = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    transform = torch.zeros(batch, 2, 3)
    transform[:, 0, 0], transform[:, 1, 1] = across, down
    transform[:, 0, 2], transform[:, 1, 2] = (2 * x - 1) * (1 - across), (2 * y - 1) * (1 - down)
    grid = torch.nn.functional.affine_grid(
        transform, [batch, 3, height, width], align_corners=False
    )
    cropped = grid_sample(video.flatten(1, 2), grid.to(video.device), align_corners=False)
    return cropped.unflatten(1, video.shape[1:3])
