"""How tokens are told where they are: by rotation (V-JEPA 2) or by fixed tables (V-JEPA, I-JEPA).

The order of tokens is always time, then row, then column.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import interpolate

from vjepa_gym.learning.layers import ROPE_BASE, Rope, RopeForm, check_heads, grid_positions

Grid = tuple[int, int, int]
"""Times, rows and columns of the tokens of a video."""


class Positions(Enum):
    """How tokens are told where they are."""

    rope = "rope"
    """Queries and keys are rotated in every block (V-JEPA 2, arXiv 2506.09985)."""
    sincos = "sincos"
    """Fixed sines and cosines of time, row and column, a third of the features each, are added to
    the tokens (V-JEPA, arXiv 2404.08471)."""
    sincos_2d = "sincos_2d"
    """The same of column and row, half of the features each (I-JEPA, arXiv 2301.08243)."""


@runtime_checkable
class Placed(Protocol):
    """The part of a transformer's configuration that says how its tokens know where they are."""

    width: int
    heads: int
    positions: Positions
    rope: RopeForm
    rope_grid: int

    @property
    def base_grid(self) -> Sequence[int]:
        """Times, rows and columns of tokens that tables of sines and cosines are made for."""
        ...


def check_placed(config: Placed) -> None:
    """Refuse what tokens cannot be placed with.

    Raises:
        ValueError: `width / heads` is no even whole number of at least 6, or another field cannot
            be what it is.
    """
    check_heads(config.width, config.heads)
    if config.rope_grid < 0:
        raise ValueError(f"rope_grid must not be negative, got {config.rope_grid}")
    if config.positions is Positions.sincos_2d and config.width % 4:
        raise ValueError(f"sincos_2d needs a width that is a multiple of 4, got {config.width}")
    if len(config.base_grid) != 3 or min(config.base_grid) < 1:
        raise ValueError(
            f"base_grid has times, rows and columns, all positive; got {list(config.base_grid)}"
        )


def place(
    x: Float[Tensor, "batch n width"],
    grid: Grid,
    at: Int64[Tensor, "batch n"] | None,
    config: Placed,
) -> tuple[Float[Tensor, "batch n width"], Rope | None]:
    """Return tokens that know where they are, if by a table, and otherwise the rotation to use.

    Args:
        x: The tokens.
        grid: Times, rows and columns of the whole video [tokens].
        at: Indices of the tokens in it, a row a sample; all in their order if None.
        config: How they are told.
    """
    if config.positions is Positions.rope:
        head_width, form = config.width // config.heads, config.rope
        return x, rope_at(
            grid, at, head_width=head_width, form=form, rope_grid=config.rope_grid, like=x
        )
    table = sincos_at(
        grid, at, width=config.width, positions=config.positions, base_grid=config.base_grid, like=x
    )
    return x + table.to(x.dtype), None


def rope_at(
    grid: Grid,
    at: Int64[Tensor, "batch n"] | None,
    *,
    head_width: int,
    form: RopeForm,
    rope_grid: int,
    like: Float[Tensor, "..."],
) -> Rope:
    """Return the rotary tables of the tokens of a grid.

    Args:
        grid: Times, rows and columns of the whole video [tokens].
        at: Indices of the tokens, a row a sample; all if None.
        head_width: Features of one attention head.
        form: Layout of the tables.
        rope_grid: Rows and columns of the grid that the corners of this one are laid on, as in
            V-JEPA 2.1 (arXiv 2603.14482); positions count on if 0.
        like: Tokens whose device, and at least whose precision, the tables have.
    """
    positions = grid_positions(*grid, device=like.device, dtype=_precision(like))
    if rope_grid:
        rows, columns = ((rope_grid - 1) / max(n - 1, 1) for n in grid[1:])
        positions = positions * positions.new_tensor([1.0, rows, columns])
    if at is not None:
        positions = positions[at][:, None]
    return Rope.at(positions, head_width, form)


def sincos_at(
    grid: Grid,
    at: Int64[Tensor, "batch n"] | None,
    *,
    width: int,
    positions: Positions,
    base_grid: Sequence[int],
    like: Float[Tensor, "..."],
) -> Float[Tensor, "*batch n width"]:
    """Return what is added to the tokens of a grid.

    The table of `base_grid` is interpolated where rows or columns differ, linearly for `sincos`,
    bicubically for `sincos_2d`. At the same rows and columns, a shorter video takes its first
    times. It is rounded to single precision, as published.

    Args:
        grid: Times, rows and columns of the whole video [tokens].
        at: Indices of the tokens, a row a sample; all if None.
        width: Features of a token.
        positions: Which table, not `rope`.
        base_grid: Times, rows and columns of the table [tokens].
        like: Tokens whose device, and at least whose precision, the table has.
    """
    if positions is Positions.sincos_2d:
        shares = [0, width // 2, width // 2]
    else:
        shares = [2 * -(-width // 6)] * 3
    whole = grid[1:] == tuple(base_grid[1:]) and grid[0] <= base_grid[0]
    axes = []
    for share, base, wanted in zip(shares, base_grid, grid, strict=True):
        table = _sincos(share, base, like)
        if whole:
            table = table[:wanted]
        elif share:
            table = _resample(table, wanted, cubic=positions is Positions.sincos_2d)
        else:
            table = table.new_empty(wanted, 0)
        axes.append(table)
    time, row, column = axes
    parts = [
        time[:, None, None].expand(*grid, -1),
        row[:, None].expand(*grid, -1),
        column.expand(*grid, -1),
    ]
    if positions is Positions.sincos_2d:
        parts.reverse()
    table = torch.cat(parts, -1).flatten(0, 2)[:, :width]
    return table if at is None else table[at]


def _sincos(width: int, count: int, like: Float[Tensor, "..."]) -> Float[Tensor, "count width"]:
    """Return the sines, then the cosines, of the places 0 to `count` - 1 on one axis."""
    exact = torch.float32 if like.device.type == "mps" else torch.float64
    steps = torch.arange(width // 2, dtype=exact, device=like.device) / (width / 2)
    places = torch.arange(count, dtype=exact, device=like.device)
    angles = places[:, None] * ROPE_BASE**-steps
    return torch.cat([angles.sin(), angles.cos()], -1).float().to(_precision(like))


def _resample(
    table: Float[Tensor, "count width"], wanted: int, cubic: bool
) -> Float[Tensor, "wanted width"]:
    """Return the table read at `wanted` places evenly spread over it.

    Each part of a whole table depends on one axis only, so that to interpolate in two or three
    dimensions is to interpolate each axis by itself.
    """
    if wanted == len(table):
        return table
    if not cubic:
        return interpolate(table.T[None], size=wanted, mode="linear")[0].T
    plane = table.T[None, :, :, None]
    return interpolate(plane, size=(wanted, 1), mode="bicubic")[0, :, :, 0].T


def _precision(like: Float[Tensor, "..."]) -> torch.dtype:
    """Return the precision of `like`, but at least single."""
    return torch.promote_types(like.dtype, torch.float32)
