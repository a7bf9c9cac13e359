"""The encoders of the V-JEPA family: vision transformers over tubelets of video.

V-JEPA 2 (arXiv 2506.09985), V-JEPA 2.1 (arXiv 2603.14482), V-JEPA (arXiv 2404.08471) and I-JEPA
(arXiv 2301.08243) differ in a few fields of `EncoderConfig`. Weights are named as in their public
checkpoints.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from vjepa_gym.learning.layers import NORM_EPSILON, Block, Rope, RopeForm, run_blocks
from vjepa_gym.world_models.positions import Grid, Positions, check_placed, place
from vjepa_gym.world_models.stems import Stem, build_stem, modality_token, take_tokens

__all__ = [
    "EncoderConfig",
    "Positions",
    "Stem",
    "VisionTransformer",
    "encode_frames",
    "normalise_tokens",
    "take_tokens",
]


@dataclass(kw_only=True)
class EncoderConfig:
    """Sizes of the encoder; the defaults are ViT-L/16 of V-JEPA 2."""

    image_size: int = 256
    """Height and width that it is trained at [px]."""
    patch_size: int = 16
    """Height and width of a token [px]."""
    tubelet_size: int = 2
    """Frames in a token."""
    width: int = 1024
    """Features of a token."""
    depth: int = 24
    """Transformer blocks."""
    heads: int = 16
    """Attention heads; each has an even number of features, at least 6."""
    mlp_ratio: float = 4.0
    """Hidden features of an MLP over `width`."""
    stem: Stem = Stem.patch
    """What turns pixels into tokens."""
    rope: RopeForm = RopeForm.released
    """Layout of the rotary tables."""
    positions: Positions = Positions.rope
    """How tokens are told where they are."""
    rope_grid: int = 0
    """Rows and columns that rotary positions are scaled onto, corner on corner, at any resolution
    (16 in V-JEPA 2.1); 0 lets them count on (V-JEPA 2)."""
    frames: int = 16
    """Frames of the clips that tables of sines and cosines are made for (nothing else needs it)."""
    levels: int = 1
    """Depths at which the features are taken in training, the last block always one (4 in
    V-JEPA 2.1); each has a LayerNorm of its own."""
    level_blocks: list[int] = field(default_factory=list)
    """Number of the block, from 0, that each level ends with; the ends of equal parts of the depth
    if empty."""
    image_tokens: bool = False
    """Whether a single frame has a stem of its own, and a learnt token tells images from videos
    (V-JEPA 2.1)."""

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size ({self.image_size}) must be a multiple of patch_size"
                f" ({self.patch_size})"
            )
        check_placed(self)
        if self.positions is not Positions.rope and self.frames % self.tubelet_size:
            raise ValueError(
                f"frames ({self.frames}) must be a multiple of tubelet_size ({self.tubelet_size})"
            )
        least = {Stem.patch: 1, Stem.conv: 4, Stem.hierarchical: 8}[self.stem]
        if least > 1 and (self.patch_size < least or self.patch_size.bit_count() != 1):
            raise ValueError(
                f"the {self.stem.value} stem needs a patch_size of {least}, {2 * least},"
                f" {4 * least}, ..., got {self.patch_size}"
            )
        self._check_levels()

    def _check_levels(self) -> None:
        if not 1 <= self.levels <= self.depth:
            raise ValueError(f"levels must lie between 1 and {self.depth}, got {self.levels}")
        ends = self.level_ends
        rising = all(before < after for before, after in pairwise([-1, *ends]))
        if len(ends) != self.levels or not rising or ends[-1] != self.depth - 1:
            raise ValueError(
                f"level_blocks must be {self.levels} rising numbers of blocks, the last"
                f" {self.depth - 1}; got {self.level_blocks}"
            )

    @property
    def grid_size(self) -> int:
        """Rows, and columns, of tokens in a frame."""
        return self.image_size // self.patch_size

    @property
    def head_width(self) -> int:
        """Features of one attention head."""
        return self.width // self.heads

    @property
    def level_ends(self) -> list[int]:
        """Number of the block, from 0, that each level ends with."""
        equal = [self.depth * (i + 1) // self.levels - 1 for i in range(self.levels)]
        return list(self.level_blocks) or equal

    @property
    def base_grid(self) -> Grid:
        """Times, rows and columns of tokens that tables of sines and cosines are made for."""
        times = max(1, self.frames // self.tubelet_size)
        return times, self.grid_size, self.grid_size


class VisionTransformer(nn.Module):
    """Encodes video into one token a tubelet; masked tokens are left out, not filled in.

    Attributes:
        config: Sizes of everything.
        checkpointing: Whether blocks are computed again in the backward pass, which saves memory.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        pixels = config.patch_size, config.width
        self.patch_embed = build_stem(config.stem, config.tubelet_size, *pixels)
        if config.image_tokens:
            self.patch_embed_img = build_stem(config.stem, 1, *pixels)
            self.img_mod_embed = modality_token(config.width)
            self.video_mod_embed = modality_token(config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        norms = [nn.LayerNorm(config.width, eps=NORM_EPSILON) for _ in range(config.levels)]
        if config.levels == 1:
            self.norm = norms[0]
        else:
            self.norms_block = nn.ModuleList(norms)

    @property
    def norms(self) -> list[nn.Module]:
        """The LayerNorm of each level, the deepest last."""
        return [self.norm] if self.config.levels == 1 else list(self.norms_block)

    def forward(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the tokens, ordered by time, then row, then column.

        Args:
            video: Normalised pixels of any number of tubelets, at any height and width that are
                multiples of the patch. With `image_tokens`, a single frame is an image.
            keep: Indices of the tokens that are not masked; all if None.
        """
        x, rope = self._embed(video, keep)
        x = run_blocks(self.blocks, x, rope, checkpointing=self.checkpointing)
        return self.norms[-1](x)

    def levels(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens levels_dim"]:
        """Return the tokens of every level side by side, the deepest last; see `forward`."""
        x, rope = self._embed(video, keep)
        blocks, features = list(self.blocks), []
        bounds = [0, *(end + 1 for end in self.config.level_ends)]
        for (start, stop), norm in zip(pairwise(bounds), self.norms, strict=True):
            x = run_blocks(blocks[start:stop], x, rope, checkpointing=self.checkpointing)
            features.append(norm(x))
        return torch.cat(features, -1)

    def grid(self, frames: int, height: int, width: int) -> Grid:
        """Return the times, rows and columns of tokens that a video of this size has.

        Raises:
            ValueError: It does not hold whole tubelets.
        """
        config = self.config
        tubelet = 1 if self._is_image(frames) else config.tubelet_size
        if frames % tubelet or height % config.patch_size or width % config.patch_size:
            raise ValueError(
                f"video must hold whole tubelets of {tubelet} frames x"
                f" {config.patch_size} x {config.patch_size} px, got {frames} x {height} x {width}"
            )
        return frames // tubelet, height // config.patch_size, width // config.patch_size

    def _is_image(self, frames: int) -> bool:
        return self.config.image_tokens and frames == 1

    def _embed(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Rope | None]:
        """Return the tokens before the first block, and how each block is told where they are."""
        config, grid = self.config, self.grid(*video.shape[2:])
        image = self._is_image(video.shape[2])
        x = (self.patch_embed_img if image else self.patch_embed)(video, keep)
        if config.image_tokens:
            x = x + (self.img_mod_embed if image else self.video_mod_embed).to(x.dtype)
        return place(x, grid, keep, config)


def normalise_tokens(tokens: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Return each token at mean 0 and deviation 1: what predictors are trained to predict."""
    return layer_norm(tokens, tokens.shape[-1:])


def encode_frames(
    encoder: nn.Module, images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch tokens dim"]:
    """Return the normalised tokens of single images, each repeated to fill a tubelet.

    Args:
        encoder: A `VisionTransformer`, or whatever else has a `config` and maps videos to tokens.
        images: As the model's preprocessing leaves them.
    """
    config = encoder.config
    assert isinstance(config, EncoderConfig)
    video = images[:, :, None].expand(-1, -1, config.tubelet_size, -1, -1)
    return normalise_tokens(encoder(video))
