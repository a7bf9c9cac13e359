"""The masked predictors of the V-JEPA family: from the visible tokens of a video to the others.

Those of V-JEPA 2 (arXiv 2506.09985), V-JEPA 2.1 (several depths, visible tokens too;
arXiv 2603.14482), V-JEPA and I-JEPA differ in a few fields of `PredictorConfig`.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa_gym.learning.layers import NORM_EPSILON, Block, RopeForm, run_blocks
from vjepa_gym.world_models.positions import Grid, Positions, check_placed, place
from vjepa_gym.world_models.stems import modality_token


@dataclass(kw_only=True)
class PredictorConfig:
    """Sizes of the masked predictor; the defaults are those of V-JEPA 2 (22 M parameters)."""

    width: int = 384
    """Features of a token."""
    depth: int = 12
    """Transformer blocks."""
    heads: int = 12
    """Attention heads; each has an even number of features, at least 6."""
    mlp_ratio: float = 4.0
    """Hidden features of an MLP over `width`."""
    mask_tokens: int = 10
    """Learnable tokens that stand for what is masked: one for each kind of mask, reused in turn."""
    rope: RopeForm = RopeForm.released
    """Layout of the rotary tables."""
    positions: Positions = Positions.rope
    """How tokens are told where they are."""
    rope_grid: int = 0
    """Rows and columns that rotary positions are scaled onto, corner on corner; 0 lets them count
    on."""
    base_grid: list[int] = field(default_factory=lambda: [8, 14, 14])
    """Times, rows and columns of tokens that tables of sines and cosines are made for."""
    levels: int = 1
    """Depths of the encoder whose features it is given and predicts, side by side."""
    dense: bool = False
    """Whether visible tokens are predicted as well, as the dense loss needs (V-JEPA 2.1)."""
    image_tokens: bool = False
    """Whether a learnt token tells images from videos (V-JEPA 2.1)."""
    target_width: int = 0
    """Features that it predicts of each token and depth; those of its own encoder if 0. Smaller
    encoders of V-JEPA 2.1 were distilled from one of 1664."""

    def __post_init__(self) -> None:
        check_placed(self)
        if self.mask_tokens < 1:
            raise ValueError(f"mask_tokens must be positive, got {self.mask_tokens}")
        if self.levels < 1:
            raise ValueError(f"levels must be positive, got {self.levels}")
        if self.target_width < 0:
            raise ValueError(f"target_width must not be negative, got {self.target_width}")


class MaskedPredictor(nn.Module):
    """Predicts masked tokens from visible ones, given only where they are.

    Attributes:
        config: Sizes of everything.
        checkpointing: Whether blocks are computed again in the backward pass, which saves memory.
    """

    def __init__(self, config: PredictorConfig, encoder_width: int) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.predictor_embed = _embedding(config, encoder_width)
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 1, config.width)) for _ in range(config.mask_tokens)
        )
        if config.image_tokens:
            self.img_mod_embed = modality_token(config.width)
            self.video_mod_embed = modality_token(config.width)
        self.predictor_blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        out = config.levels * (config.target_width or encoder_width)
        self.predictor_proj = nn.Linear(config.width, out)
        if config.dense:
            self.predictor_proj_context = nn.Linear(config.width, out)

    def forward(
        self,
        context: Float[Tensor, "batch kept dim"],
        keep: Int64[Tensor, "batch kept"],
        masked: Int64[Tensor, "batch masked"],
        *,
        grid: Grid,
        mask_index: int = 0,
        image: bool = False,
    ) -> Float[Tensor, "batch masked out"]:
        """Return the predicted tokens.

        The published code sorts context and mask tokens by position first; attention does not see
        their order, so that this changes nothing but rounding, and is left out.

        Args:
            context: What the encoder made of the visible tokens; at `levels` depths side by side.
            keep: Indices of the visible tokens.
            masked: Indices of the tokens to predict.
            grid: Times, rows and columns of the whole video [tokens].
            mask_index: Which kind of mask this is; it chooses the mask token.
            image: Whether the tokens are those of a still image; heeded with `image_tokens`.
        """
        x = self._transform(context, keep, masked, grid, mask_index, image)
        return self.predictor_proj(x[:, keep.shape[1] :])

    def dense(
        self,
        context: Float[Tensor, "batch kept dim"],
        keep: Int64[Tensor, "batch kept"],
        masked: Int64[Tensor, "batch masked"],
        *,
        grid: Grid,
        mask_index: int = 0,
        image: bool = False,
    ) -> tuple[Float[Tensor, "batch masked out"], Float[Tensor, "batch kept out"]]:
        """Return the predicted tokens, masked and visible ones; see `forward`.

        Raises:
            ValueError: The predictor was not made to predict visible tokens.
        """
        if not self.config.dense:
            raise ValueError("this predictor predicts masked tokens only; set `dense` to true")
        x = self._transform(context, keep, masked, grid, mask_index, image)
        visible = keep.shape[1]
        return self.predictor_proj(x[:, visible:]), self.predictor_proj_context(x[:, :visible])

    def _transform(
        self,
        context: Float[Tensor, "batch kept dim"],
        keep: Int64[Tensor, "batch kept"],
        masked: Int64[Tensor, "batch masked"],
        grid: Grid,
        mask_index: int,
        image: bool,
    ) -> Float[Tensor, "batch tokens width"]:
        """Return what the blocks make of the visible tokens, then of the masked ones."""
        config, at = self.config, torch.cat([keep, masked], 1)
        token = self.mask_tokens[mask_index % len(self.mask_tokens)]
        visible = self.predictor_embed(context)
        x = torch.cat([visible, token.expand(*masked.shape, -1).to(visible.dtype)], 1)
        if config.image_tokens:
            x = x + (self.img_mod_embed if image else self.video_mod_embed).to(x.dtype)
        x, rope = place(x, grid, at, config)
        x = run_blocks(self.predictor_blocks, x, rope, checkpointing=self.checkpointing)
        return self.predictor_norm(x)


def _embedding(config: PredictorConfig, encoder_width: int) -> nn.Module:
    """Return what takes in visible tokens: a linear map, or an MLP that fuses several depths."""
    if config.levels == 1:
        return nn.Linear(encoder_width, config.width)
    return nn.Sequential(
        nn.Linear(config.levels * encoder_width, encoder_width),
        nn.GELU(),
        nn.Linear(encoder_width, config.width),
    )
