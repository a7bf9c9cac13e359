"""Multi-block masks over the tokens of a video, as in V-JEPA (Bardes et al., 2024)."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

MAX_DRAWS = 1000


@dataclass(kw_only=True)
class MaskConfig:
    """One kind of mask: the union of some blocks of the frame, the same at all times."""

    blocks: int
    """Blocks that are masked in each sample."""
    scale: float
    """Part of the frame that a block covers."""
    aspect: list[float] = field(default_factory=lambda: [0.75, 1.5])
    """Smallest and largest height of a block over its width."""

    def __post_init__(self) -> None:
        if self.blocks < 1 or not 0 < self.scale < 1:
            raise ValueError(
                f"a mask needs at least one block that covers a part in (0, 1) of the frame, got"
                f" {self.blocks} of {self.scale}"
            )
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect must be [smallest, largest], positive, got {self.aspect}")


def published_masks() -> list[MaskConfig]:
    """Return the two kinds of V-JEPA 2: many small blocks, and two large ones."""
    return [MaskConfig(blocks=8, scale=0.15), MaskConfig(blocks=2, scale=0.70)]


def small_grid_masks() -> list[MaskConfig]:
    """Return two kinds that leave enough to see on a grid of 4 x 4 tokens."""
    return [MaskConfig(blocks=4, scale=0.15), MaskConfig(blocks=1, scale=0.50)]


@dataclass(frozen=True)
class Masks:
    """Which tokens of each sample are seen and which are to be predicted, in ascending order."""

    keep: Int64[Tensor, "batch kept"]
    masked: Int64[Tensor, "batch masked"]


def sample_masks(
    config: MaskConfig, batch: int, grid: tuple[int, int, int], generator: torch.Generator
) -> Masks:
    """Draw one kind of mask for a batch.

    The size of the blocks is drawn once, their places for each sample. Samples see, and predict, as
    many places of the frame as the one of the batch with the fewest. Which of its places a sample
    gives up for that is drawn too; the published code drops the last tokens in order, so that the
    late frames and lower rows are seen and predicted less, which a small grid cannot afford.

    Args:
        config: The kind.
        batch: How many samples.
        grid: Times, rows and columns of the video [tokens].
        generator: Source of randomness, on the CPU.

    Raises:
        ValueError: Blocks of this kind leave nothing to see on such a grid.
    """
    times, rows, columns = grid
    covered = _draw_blocks(config, batch, rows, columns, generator).flatten(1)
    masked = _choose(covered, int(covered.sum(1).min()), generator)
    keep = _choose(~covered, int((~covered).sum(1).min()), generator)
    return Masks(
        _at_all_times(keep, times, rows * columns), _at_all_times(masked, times, rows * columns)
    )


def block_size(
    config: MaskConfig, rows: int, columns: int, generator: torch.Generator
) -> tuple[int, int]:
    """Draw the height and width of the blocks [tokens]."""
    low, high = config.aspect
    aspect = low + float(torch.rand((), generator=generator)) * (high - low)
    area = int(rows * columns * config.scale)
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(height, 1), rows), min(max(width, 1), columns)


def _draw_blocks(
    config: MaskConfig, batch: int, rows: int, columns: int, generator: torch.Generator
) -> Bool[Tensor, "batch rows columns"]:
    """Return where each frame is covered; a sample with nothing left to see is drawn again."""
    height, width = block_size(config, rows, columns, generator)
    covered = torch.ones(batch, rows, columns, dtype=torch.bool)
    for _ in range(MAX_DRAWS):
        blind = covered.flatten(1).all(1).nonzero()[:, 0]
        if not len(blind):
            return covered
        shape = (len(blind), config.blocks, 1)
        top = torch.randint(rows - height + 1, shape, generator=generator)
        left = torch.randint(columns - width + 1, shape, generator=generator)
        row, column = torch.arange(rows), torch.arange(columns)
        in_rows = (row >= top) & (row < top + height)
        in_columns = (column >= left) & (column < left + width)
        covered[blind] = (in_rows[..., :, None] & in_columns[..., None, :]).any(1)
    raise ValueError(
        f"{config.blocks} blocks of {height} x {width} tokens leave nothing to see on a grid of"
        f" {rows} x {columns}: use fewer blocks, a smaller scale, or more tokens"
    )


def _choose(
    among: Bool[Tensor, "batch places"], count: int, generator: torch.Generator
) -> Int64[Tensor, "batch count"]:
    """Return `count` random places of each sample where `among` is true, in order."""
    scores = torch.rand(among.shape, generator=generator) + among
    return scores.topk(count, 1).indices.sort(1).values


def _at_all_times(
    places: Int64[Tensor, "batch places"], times: int, places_a_frame: int
) -> Int64[Tensor, "batch tokens"]:
    """Return the indices of the tokens at these places of the frame, at every time."""
    return torch.cat([places + time * places_a_frame for time in range(times)], 1)
