"""Transformer layers with three-dimensional rotary positions, as in V-JEPA 2 (arXiv 2506.09985).

The modules are named as in the public checkpoints (`attn.qkv`, `mlp.fc1`, ...), so that those fit.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

NORM_EPSILON = 1e-6
ROPE_BASE = 10_000.0
FEW = 128**2
"""Pairs of tokens up to which attention in training on a CPU is computed plainly."""


class RopeForm(Enum):
    """How the angles of one axis are laid out over the pairs of features that they rotate.

    V-JEPA 2 tiles its tables, `[f0..fk, f0..fk]`, though it rotates neighbours,
    `(x0, x1), (x2, x3), ...`: the two of a pair turn by different angles. Its weights need that.
    """

    released = "released"
    """Tiled tables, for the published weights of V-JEPA 2 and V-JEPA 2-AC."""
    interleaved = "interleaved"
    """`[f0, f0, f1, f1, ...]`: the textbook form, a true rotation, and that of V-JEPA 2.1."""


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
                broadcast against `(batch, heads)` of what is rotated. Their precision is that of
                the tables.
            head_width: Features of one attention head; even and at least 6.
            form: The layout of the tables.
        """
        if head_width < 6 or head_width % 2:
            raise ValueError(f"head_width must be even and at least 6, got {head_width}")
        part = 2 * (head_width // 3 // 2)
        count = torch.arange(part // 2, dtype=positions.dtype, device=positions.device)
        exponents = count / (part / 2)
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
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
        swapped = torch.stack([second, first], -1).flatten(-2)
        return x * self.cos.to(x.dtype) + swapped * self.sin.to(x.dtype)


def grid_positions(
    times: int,
    rows: int,
    columns: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "tokens 3"]:
    """Return (time, row, column) of each token of a video, in that order of counting."""
    axes = [torch.arange(n, dtype=dtype, device=device) for n in (times, rows, columns)]
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
        rope: Rope | None,
        mask: Bool[Tensor, "tokens keys"] | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Let each token gather from the others.

        Args:
            x: The tokens.
            rope: Their positions; nothing is rotated if None.
            mask: Whether a token (row) may look at another (column; those in `memory` come first).
                All may look at all if None.
            memory: Tokens seen before, which are looked at too; `x` is added to them.
        """
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rope is not None:
            query, key = rope.rotate(query), rope.rotate(key)
        if memory is not None:
            key, value = memory.append(key, value)
        gathered = _gather(query, key, value, mask)
        return self.proj(gathered.transpose(1, 2).flatten(2))


def _gather(
    query: Float[Tensor, "batch heads tokens head_width"],
    key: Float[Tensor, "batch heads keys head_width"],
    value: Float[Tensor, "batch heads keys head_width"],
    mask: Bool[Tensor, "tokens keys"] | None,
) -> Float[Tensor, "batch heads tokens head_width"]:
    """Return what each token gathers; of few tokens, in training on a CPU, by plain products."""
    few = query.shape[2] * key.shape[2] <= FEW
    if not (few and query.device.type == "cpu" and query.requires_grad):
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    likeness = query @ (key.transpose(-1, -2) / math.sqrt(query.shape[-1]))
    if mask is not None:
        likeness = likeness.masked_fill(~mask, -torch.inf)
    return likeness.softmax(-1).to(value.dtype) @ value


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
        rope: Rope | None,
        mask: Bool[Tensor, "tokens keys"] | None = None,
        memory: Memory | None = None,
        checkpointing: bool = False,
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the transformed tokens; see `Attention.forward` for the arguments.

        With `checkpointing`, only `x` is kept for the backward pass and the rest computed again
        then (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
        """
        if not checkpointing or not torch.is_grad_enabled():
            return self._transform(x, rope, mask, memory)
        if memory is not None:
            raise ValueError("a block with a memory cannot be checkpointed: it would see x twice")

        # Nothing is drawn at random in a block, so that no state of a generator need be kept.
        return checkpoint(
            self._transform, x, rope, mask, use_reentrant=False, preserve_rng_state=False
        )

    def _transform(
        self,
        x: Float[Tensor, "batch tokens width"],
        rope: Rope | None,
        mask: Bool[Tensor, "tokens keys"] | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        x = x + self.attn(self.norm1(x), rope, mask, memory)
        return x + self.mlp(self.norm2(x))


def run_blocks(
    blocks: Iterable[nn.Module],
    x: Float[Tensor, "batch tokens width"],
    rope: Rope | None,
    mask: Bool[Tensor, "tokens keys"] | None = None,
    memories: Sequence[Memory] | None = None,
    checkpointing: bool = False,
) -> Float[Tensor, "batch tokens width"]:
    """Return `x` after every block in turn; see `Block.forward` for the arguments.

    Raises:
        ValueError: There is not one memory a block, or there are memories and `checkpointing`.
    """
    blocks = list(blocks)
    if memories is None:
        for block in blocks:
            x = block(x, rope, mask, None, checkpointing)
        return x
    if len(memories) != len(blocks):
        raise ValueError(f"{len(blocks)} blocks need as many memories, got {len(memories)}")
    for block, memory in zip(blocks, memories, strict=True):
        x = block(x, rope, mask, memory, checkpointing)
    return x


def check_heads(width: int, heads: int) -> None:
    """Refuse sizes that no rotary attention can have.

    Raises:
        ValueError: `width / heads` is no even whole number of at least 6.
    """
    if heads < 1 or width % heads or (width // heads) % 2 or width // heads < 6:
        raise ValueError(
            f"width / heads must be an even whole number of at least 6, got {width} / {heads}"
        )


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every layer anew, as V-JEPA does.

    Weights are normal with deviation 0.02, cut at two deviations; those of convolutions of images,
    which nothing normalises, keep the variance of what they are given (He et al., 2015). Biases are
    0, gains 1, learnt tokens 0. The output layers of the i-th block (from 1) are divided by
    sqrt(2 i), so that depth adds no variance.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            else:
                nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm) and layer.elementwise_affine:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        else:
            for token in layer.parameters(recurse=False):
                nn.init.zeros_(token)
    for stack in module.modules():
        if not isinstance(stack, nn.ModuleList):
            continue
        for depth, block in enumerate(stack, start=1):
            if isinstance(block, Block):
                block.attn.proj.weight.data.div_(math.sqrt(2 * depth))
                block.mlp.fc2.weight.data.div_(math.sqrt(2 * depth))
