"""How much each visible token counts in the dense loss of V-JEPA 2.1 (arXiv 2603.14482)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym.learning.layers import grid_positions
from vjepa_gym.world_models.mask_blocks import Grid


def nearest_masked(
    keep: Int64[Tensor, "batch kept"], masked: Int64[Tensor, "batch masked"], grid: Grid
) -> Float[Tensor, "batch kept"]:
    """Return the distance of each visible token from the nearest masked one of its sample.

    Args:
        keep: Indices of the visible tokens.
        masked: Indices of the masked ones.
        grid: Times, rows and columns of the video [tokens]; one step along any counts 1.
    """
    positions = grid_positions(*grid)
    # A sample at a time: the distances of all pairs of a batch would fill the memory.
    return torch.stack(
        [
            torch.cdist(positions[seen], positions[hidden]).amin(1)
            for seen, hidden in zip(keep, masked, strict=True)
        ]
    )


def context_weights(
    keep: Int64[Tensor, "batch kept"],
    masked: Int64[Tensor, "batch *blocks masked"],
    grid: Grid,
    *,
    by_distance: bool,
) -> Float[Tensor, "batch kept"]:
    """Return the weight of each visible token: 1, or 1 over the root of that distance."""
    if not by_distance:
        return torch.ones(keep.shape)
    return nearest_masked(keep, masked.flatten(1), grid).rsqrt()
