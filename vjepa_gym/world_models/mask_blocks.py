"""Blocks of tokens: how large they are, where they lie, and equally many of them a sample."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

Grid: TypeAlias = tuple[int, int, int]
"""Times, rows and columns [tokens]."""
MAX_DRAWS = 1000


def block_of(
    grid: Grid,
    temporal_scale: list[float],
    scale: list[float],
    aspect: list[float],
    generator: torch.Generator,
) -> Grid:
    """Draw the times, height and width of a block [tokens].

    Args:
        grid: What it must fit in.
        temporal_scale: Smallest and largest part of the times that it covers.
        scale: Smallest and largest part of the frame that it covers.
        aspect: Smallest and largest height over width.
        generator: Source of randomness, on the CPU.
    """
    times, rows, columns = grid
    parts = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    ranges = (temporal_scale, scale, aspect)
    lasting, covered, shape = (
        low + part * (high - low) for part, (low, high) in zip(parts, ranges, strict=True)
    )
    area = int(rows * columns * covered)
    height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
    return max(1, int(times * lasting)), min(max(height, 1), rows), min(max(width, 1), columns)


def place_blocks(
    size: Grid, samples: int, blocks: int, grid: Grid, generator: torch.Generator
) -> Bool[Tensor, "samples blocks times places"]:
    """Return what blocks of one size cover, each laid anywhere in the grid with equal chances."""
    covered = []
    for length, whole in zip(size, grid, strict=True):
        start = torch.randint(whole - length + 1, (samples, blocks, 1), generator=generator)
        position = torch.arange(whole)
        covered.append((position >= start) & (position < start + length))
    times, rows, columns = covered
    places = (rows[..., :, None] & columns[..., None, :]).flatten(-2)
    return times[..., None] & places[..., None, :]


def drawn_until(
    draw: Callable[[int], tuple[Tensor, Tensor]],
    samples: int,
    enough: Callable[[Tensor], Tensor],
    refusal: str,
) -> tuple[Tensor, Tensor]:
    """Draw samples, and again those that are not enough, until all are.

    Args:
        draw: Returns the two parts of so many samples.
        samples: How many.
        enough: Says of the first parts of some samples which are.
        refusal: What to say if some cannot be.

    Raises:
        ValueError: Some are not enough, however often they are drawn.
    """
    first, second = draw(samples)
    for _ in range(MAX_DRAWS):
        lacking = (~enough(first)).nonzero()[:, 0]
        if not len(lacking):
            return first, second
        first[lacking], second[lacking] = draw(len(lacking))
    raise ValueError(refusal)


def evenly(
    among: Bool[Tensor, "*samples times places"], generator: torch.Generator
) -> Bool[Tensor, "*samples times places"]:
    """Keep as many of each sample as the sample with the fewest has, which of them by chance."""
    flat = among.flatten(-2)
    counts = flat.sum(-1)
    count = int(counts.min())
    if count == int(counts.max()):
        return among
    scores = torch.rand(flat.shape, generator=generator) + flat
    chosen = scores.topk(count, -1).indices
    return torch.zeros_like(flat).scatter(-1, chosen, True).view(among.shape)
