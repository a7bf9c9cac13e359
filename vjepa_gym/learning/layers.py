"""Transformer layers with three-dimensional rotary positions, as in V-JEPA 2 (arXiv 2506.09985).

The modules are named as in the public checkpoints (`attn.qkv`, `mlp.fc1`, ...), so that those fit.
"""

import math
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

NORM_EPSILON = 1e-6
ROPE_BASE = 10_000.0


class RopeForm(Enum):
    """How the angles of one axis are laid out over the pairs of features that they rotate.

    The published encoder tiles its tables, `[f0..fk, f0..fk]`, though it rotates neighbours,
    `(x0, x1), (x2, x3), ...`: the two of a pair turn by different angles. Its weights need that.
    """

    released = "released"
    """Tiled tables, for published weights."""
    interleaved = "interleaved"
    """`[f0, f0, f1, f1, ...]`: the textbook form, a true rotation."""


@dataclass(frozen=True)
class Rope:
    """Rotary positions of some tokens; make one with `Rope.at`.

    Attributes:
        cos: Factor of each feature.
        sin: Factor of its neighbour in the pair, with the sign of the rotation.
    """

    cos: Float[Tensor, "*batch tokens head_width"]
    sin: Float[Tensor, "*batch tokens head_width"]

    @classmethod
    def at(
        cls,
        positions: Float[Tensor, "*batch tokens 3"],
        head_width: int,
        form: RopeForm = RopeForm.released,
    ) -> "Rope":
        """Return the tables of tokens at `positions` (time, row, column).

        A head is split in three equal even parts, one an axis; what is left over stays as it is.
        Position 0 on an axis leaves its part as it is too.

        Args:
            positions: In tubelets and patches, fractions allowed. With batch axes, they must
                broadcast against `(batch, heads)` of what is rotated.
            head_width: Features of one attention head; even and at least 6.
            form: The layout of the tables.
        """
        if head_width < 6 or head_width % 2:
            raise ValueError(f"head_width must be even and at least 6, got {head_width}")
        part = 2 * (head_width // 3 // 2)
        exponents = torch.arange(part // 2, device=positions.device) / (part / 2)
        angles = positions[..., None] * ROPE_BASE**-exponents
        if form is RopeForm.released:
            angles = torch.cat([angles, angles], -1)
        else:
            angles = angles.repeat_interleave(2, -1)
        angles = nn.functional.pad(angles.flatten(-2), (0, head_width - 3 * part))
        sign = torch.tensor([-1.0, 1.0], device=positions.device).repeat(head_width // 2)
        return cls(angles.cos(), angles.sin() * sign)

    def rotate(
        self, x: Float[Tensor, "batch heads tokens head_width"]
    ) -> Float[Tensor, "batch heads tokens head_width"]:
        """Return queries or keys turned by the positions of their tokens."""
        swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        return x * self.cos.to(x.dtype) + swapped * self.sin.to(x.dtype)


def grid_positions(
    times: int, rows: int, columns: int, device: torch.device | str | None = None
) -> Float[Tensor, "tokens 3"]:
    """Return (time, row, column) of each token of a video, in that order of counting."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in (times, rows, columns)]
    return torch.cartesian_prod(*axes)


@dataclass
class Memory:
    """Keys and values of the tokens that one attention layer has seen; those that pass are added.

    With one `Memory` a block, a causal transformer need not compute a prefix twice.
    """

    keys: Float[Tensor, "batch heads seen head_width"] | None = None
    values: Float[Tensor, "batch heads seen head_width"] | None = None

    def append(
        self,
        keys: Float[Tensor, "batch heads tokens head_width"],
        values: Float[Tensor, "batch heads tokens head_width"],
    ) -> tuple[
        Float[Tensor, "batch heads seen head_width"], Float[Tensor, "batch heads seen head_width"]
    ]:
        """Remember `keys` and `values`; return all that are remembered now."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)
        self.keys, self.values = keys, values
        return keys, values

    def repeat(self, times: int) -> "Memory":
        """Return a memory whose batch has each entry `times` times in a row."""
        if self.keys is None or self.values is None:
            return Memory()
        return Memory(
            self.keys.repeat_interleave(times, 0), self.values.repeat_interleave(times, 0)
        )


class Attention(nn.Module):
    """Multi-head self-attention over tokens that know where they are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be divisible by heads ({heads})")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        rope: Rope,
        mask: Bool[Tensor, "tokens keys"] | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Let each token gather from the others.

        Args:
            x: The tokens.
            rope: Their positions.
            mask: Whether a token (row) may look at another (column; those in `memory` come first).
                All may look at all if None.
            memory: Tokens seen before, which are looked at too; `x` is added to them.
        """
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = rope.rotate(query), rope.rotate(key)
        if memory is not None:
            key, value = memory.append(key, value)
        gathered = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(gathered.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Transform each token by itself."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """A pre-norm transformer block: attention, then an MLP, each added to what it was given."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = MLP(width, int(width * mlp_ratio))

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        rope: Rope,
        mask: Bool[Tensor, "tokens keys"] | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the transformed tokens; see `Attention.forward` for the arguments."""
        x = x + self.attn(self.norm1(x), rope, mask, memory)
        return x + self.mlp(self.norm2(x))


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every layer anew, as V-JEPA does.

    Weights are normal with deviation 0.02, cut at two deviations; biases are 0, gains 1. The output
    layers of the i-th block (from 1) are divided by sqrt(2 i), so that depth adds no variance.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm) and layer.elementwise_affine:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
    for stack in module.modules():
        if not isinstance(stack, nn.ModuleList):
            continue
        for depth, block in enumerate(stack, start=1):
            if isinstance(block, Block):
                block.attn.proj.weight.data.div_(math.sqrt(2 * depth))
                block.mlp.fc2.weight.data.div_(math.sqrt(2 * depth))
