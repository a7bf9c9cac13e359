"""The masked predictor of V-JEPA 2: from the visible tokens of a video to those that are masked."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa_gym.learning.layers import NORM_EPSILON, Block, Rope, RopeForm, grid_positions


@dataclass(kw_only=True)
class PredictorConfig:
    """Sizes of the masked predictor; the defaults are the published ones (22 M parameters)."""

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

    def __post_init__(self) -> None:
        head_width = self.width // self.heads
        if self.width % self.heads or head_width % 2 or head_width < 6:
            raise ValueError(
                f"width / heads must be an even whole number of at least 6, got"
                f" {self.width} / {self.heads}"
            )
        if self.mask_tokens < 1:
            raise ValueError(f"mask_tokens must be positive, got {self.mask_tokens}")


class MaskedPredictor(nn.Module):
    """Predicts masked tokens from visible ones, given only where they are."""

    def __init__(self, config: PredictorConfig, encoder_width: int) -> None:
        super().__init__()
        self.config = config
        self.predictor_embed = nn.Linear(encoder_width, config.width)
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 1, config.width)) for _ in range(config.mask_tokens)
        )
        self.predictor_blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.predictor_proj = nn.Linear(config.width, encoder_width)

    def forward(
        self,
        context: Float[Tensor, "batch kept dim"],
        keep: Int64[Tensor, "batch kept"],
        masked: Int64[Tensor, "batch masked"],
        *,
        grid: tuple[int, int, int],
        mask_index: int = 0,
    ) -> Float[Tensor, "batch masked dim"]:
        """Return the predicted tokens.

        The published code sorts context and mask tokens by position first; attention does not see
        their order, so that this changes nothing but rounding, and is left out.

        Args:
            context: What the encoder made of the visible tokens.
            keep: Indices of the visible tokens.
            masked: Indices of the tokens to predict.
            grid: Times, rows and columns of the whole video [tokens].
            mask_index: Which kind of mask this is; it chooses the mask token.
        """
        token = self.mask_tokens[mask_index % len(self.mask_tokens)]
        visible = self.predictor_embed(context)
        x = torch.cat([visible, token.expand(*masked.shape, -1).to(visible.dtype)], 1)
        positions = grid_positions(*grid, device=x.device)[torch.cat([keep, masked], 1)][:, None]
        rope = Rope.at(positions, self.config.width // self.config.heads, self.config.rope)
        for block in self.predictor_blocks:
            x = block(x, rope)
        return self.predictor_proj(self.predictor_norm(x[:, keep.shape[1] :]))
