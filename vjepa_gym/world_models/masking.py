"""Multi-block masks over the tokens of a video (V-JEPA, Bardes et al., 2024) or image (I-JEPA)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from vjepa_gym.world_models.mask_blocks import Grid, block_of, drawn_until, evenly, place_blocks


class Cut(Enum):
    """Which tokens a sample gives up so that all of a batch see, and predict, equally many."""

    spread = "spread"
    """Places of the frame drawn at random. A small grid needs it, whose late frames and lower rows
    would be seen and predicted less otherwise."""
    last = "last"
    """The last in the order time, row, column, as in the public code."""


@dataclass(kw_only=True)
class MaskConfig:
    """One kind of mask: the union of some blocks; what they leave is seen."""

    blocks: int
    """Blocks that are masked in each sample."""
    scale: float
    """Part of the frame that a block covers."""
    aspect: list[float] = field(default_factory=lambda: [0.75, 1.5])
    """Smallest and largest height of a block over its width."""
    scale_to: float | None = None
    """If given, a block covers between `scale` and this of the frame."""
    temporal_scale: list[float] = field(default_factory=lambda: [1.0, 1.0])
    """Smallest and largest part of the clip's time that a block covers."""
    max_temporal_keep: float = 1.0
    """Part of the clip's time, from its start, in which anything is seen."""
    context_scale: list[float] = field(default_factory=list)
    """If given, only a square block of between these parts of the frame is seen, less what is
    masked, and each masked block is predicted by itself, as in I-JEPA."""
    min_keep: int = 1
    """Fewest places of the frame that a sample sees; one with fewer is drawn again."""
    cut: Cut = Cut.spread
    """Which tokens are given up so that all samples have equally many."""

    def __post_init__(self) -> None:
        largest = self.scale if self.scale_to is None else self.scale_to
        if self.blocks < 1 or not 0 < self.scale <= largest < 1:
            raise ValueError(
                f"a mask needs at least one block that covers a part in (0, 1) of the frame, got"
                f" {self.blocks} of {self.scale} to {largest}"
            )
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect must be [smallest, largest], positive, got {self.aspect}")
        _check_part("temporal_scale", self.temporal_scale)
        _check_part("max_temporal_keep", [self.max_temporal_keep, 1.0])
        if self.context_scale:
            _check_part("context_scale", self.context_scale)
        if self.min_keep < 1:
            raise ValueError(f"min_keep must be positive, got {self.min_keep}")

    @property
    def whole_time(self) -> bool:
        """Whether the same places are masked at all times."""
        return min(self.temporal_scale) == 1 and self.max_temporal_keep == 1


def _check_part(name: str, parts: list[float]) -> None:
    if len(parts) != 2 or not 0 < parts[0] <= parts[1] <= 1:
        raise ValueError(f"{name} must be [smallest, largest], in (0, 1], got {parts}")


def published_masks() -> list[MaskConfig]:
    """Return the two kinds of V-JEPA and V-JEPA 2: many small blocks, and two large ones."""
    return [
        MaskConfig(blocks=8, scale=0.15, cut=Cut.last),
        MaskConfig(blocks=2, scale=0.70, cut=Cut.last),
    ]


def published_image_masks() -> list[MaskConfig]:
    """Return the one kind that V-JEPA 2.1 masks images with: ten small blocks."""
    return [MaskConfig(blocks=10, scale=0.15, cut=Cut.last)]


def ijepa_masks() -> list[MaskConfig]:
    """Return the one kind of I-JEPA: four targets, and a large context less those.

    (Assran et al., 2023.) Unlike in the public code, blocks reach the last row and column too.
    """
    return [
        MaskConfig(
            blocks=4,
            scale=0.15,
            scale_to=0.20,
            context_scale=[0.85, 1.0],
            min_keep=11,
            cut=Cut.last,
        )
    ]


def small_grid_masks() -> list[MaskConfig]:
    """Return two kinds that leave enough to see on a grid of 4 x 4 tokens."""
    return [MaskConfig(blocks=4, scale=0.15), MaskConfig(blocks=1, scale=0.50)]


@dataclass(frozen=True)
class Masks:
    """Which tokens of each sample are seen and which are to be predicted, in ascending order.

    Blocks that are each predicted by themselves are an axis of `masked`.
    """

    keep: Int64[Tensor, "batch kept"]
    masked: Int64[Tensor, "batch *blocks masked"]


@dataclass(frozen=True)
class DrawnMasks:
    """The masks of a whole batch, small enough to draw on every process: one bit a place.

    Attributes:
        seen: Places that are seen. The axis of times has one entry if all are alike.
        masked: Places that are predicted, for each block if those are predicted by themselves.
        times: Times of the video [tokens].
        kept: Tokens that each sample sees; more of `seen` are given up, the last first.
        predicted: Tokens that each sample, or each block of it, predicts; likewise.
    """

    seen: Bool[Tensor, "batch times_or_one places"]
    masked: Bool[Tensor, "batch *blocks times_or_one places"]
    times: int
    kept: int
    predicted: int

    def __len__(self) -> int:
        return len(self.seen)

    def take(self, samples: slice) -> Masks:
        """Return the indices of the tokens of some samples."""
        return Masks(
            self._indices(self.seen[samples], self.kept),
            self._indices(self.masked[samples], self.predicted),
        )

    def _indices(
        self, places: Bool[Tensor, "*batch times_or_one places"], count: int
    ) -> Int64[Tensor, "*batch tokens"]:
        tokens = places.expand(*places.shape[:-2], self.times, -1).flatten(-2)
        first = tokens & (tokens.cumsum(-1) <= count)
        return first.nonzero()[:, -1].view(*tokens.shape[:-1], count)


def sample_masks(config: MaskConfig, batch: int, grid: Grid, generator: torch.Generator) -> Masks:
    """Draw one kind of mask for a batch; see `draw_masks`."""
    return draw_masks(config, batch, grid, generator).take(slice(batch))


def draw_masks(
    config: MaskConfig, batch: int, grid: Grid, generator: torch.Generator
) -> DrawnMasks:
    """Draw one kind of mask for a batch.

    The size of the blocks is drawn once, their places for each sample. Samples see, and predict, as
    many tokens as the one of the batch with the fewest; see `Cut`.

    Args:
        config: The kind.
        batch: How many samples.
        grid: Times, rows and columns of the video [tokens].
        generator: Source of randomness, on the CPU.

    Raises:
        ValueError: Blocks of this kind leave too little to see on such a grid.
    """
    drawn_grid = (1, *grid[1:]) if config.whole_time else grid
    draw = _apart(config, drawn_grid, generator)
    seen, masked = drawn_until(
        draw, batch, lambda seen: seen.any(1).sum(-1) >= config.min_keep, _refusal(config, grid)
    )
    if not config.context_scale:
        masked = masked[:, 0]
    if config.cut is Cut.spread:
        seen, masked = evenly(seen, generator), evenly(masked, generator)
    repeats = grid[0] // drawn_grid[0]
    kept, predicted = (int(part.flatten(-2).sum(-1).min()) * repeats for part in (seen, masked))
    return DrawnMasks(seen, masked, grid[0], kept, predicted)


def _apart(
    config: MaskConfig, grid: Grid, generator: torch.Generator
) -> Callable[
    [int], tuple[Bool[Tensor, "n times places"], Bool[Tensor, "n blocks_or_one times places"]]
]:
    """Draw the sizes for a batch; return what draws where `n` samples see and are masked."""
    scale = [config.scale, config.scale if config.scale_to is None else config.scale_to]
    size = block_of(grid, config.temporal_scale, scale, config.aspect, generator)
    context = None
    if config.context_scale:
        context = block_of(grid, [1.0, 1.0], config.context_scale, [1.0, 1.0], generator)
    last_seen = max(1, int(grid[0] * config.max_temporal_keep))

    def draw(
        n: int,
    ) -> tuple[Bool[Tensor, "n times places"], Bool[Tensor, "n blocks_or_one times places"]]:
        if context is None:
            masked = place_blocks(size, n, config.blocks, grid, generator).any(1, keepdim=True)
            masked[:, :, last_seen:] = True
            return ~masked[:, 0], masked
        masked = place_blocks(size, n, config.blocks, grid, generator)
        seen = place_blocks(context, n, 1, grid, generator)[:, 0] & ~masked.any(1)
        seen[:, last_seen:] = False
        return seen, masked

    return draw


def _refusal(config: MaskConfig, grid: Grid) -> str:
    few = "nothing" if config.min_keep == 1 else f"fewer than {config.min_keep} places"
    return (
        f"{config.blocks} blocks of {config.scale:g} of the frame leave {few} to see on a grid of"
        f" {grid[1]} x {grid[2]}: use fewer blocks, a smaller scale, or more tokens"
    )
