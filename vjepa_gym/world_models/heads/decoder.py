"""Pictures of latents, to look at: a small decoder that the world model knows nothing of.

V-JEPA 2 shows what its world model imagines by a feed-forward ViT-L that was trained apart (arXiv
2506.09985, section 11.3). This one has under a million parameters: a few transformer blocks over
the tokens, then convolutions that enlarge their grid step by step.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import gelu

from vjepa_gym.learning.layers import (
    Block,
    Rope,
    RopeForm,
    check_heads,
    grid_positions,
    run_blocks,
)
from vjepa_gym.world_models.preprocessing import Preprocessing, PreprocessingConfig
from vjepa_gym.world_models.presets import ModelConfig

DECODED_TOGETHER = 64
"""Latents that pass the decoder at once."""


@dataclass(kw_only=True)
class DecoderConfig:
    """Sizes of the decoder."""

    width: int = 128
    """Features of a token within it."""
    depth: int = 2
    """Transformer blocks over the tokens of a view."""
    heads: int = 4
    """Attention heads; each has an even number of features, at least 6."""
    least_channels: int = 32
    """Fewest channels between two enlargements; each of these halves what there are."""

    def __post_init__(self) -> None:
        if self.depth < 0 or self.least_channels < 1:
            raise ValueError(
                "depth must not be negative and least_channels be positive, got"
                f" {self.depth} and {self.least_channels}"
            )
        check_heads(self.width, self.heads)


class Decoder(nn.Module):
    """Draws the view that latents are of.

    What it learns is the difference from the mean image of what it was trained on, so that a wall
    costs it nothing and the arm has all of its weights.

    Attributes:
        config: Its sizes.
        framing: Takes the part of an image that the encoder sees, at the decoder's size; colours
            from 0 to 1.
        mean_image: Of the images that it was trained on; colours from 0 to 1.
    """

    mean_image: Float[Tensor, "3 height width"]

    def __init__(self, config: DecoderConfig, model: ModelConfig) -> None:
        """Build it with new weights, with which it draws the mean image.

        Args:
            config: Its sizes.
            model: The world model whose latents it draws.
        """
        super().__init__()
        self.config = config
        encoder = model.encoder
        self._grid, self._dim = encoder.grid_size, encoder.width
        plain = PreprocessingConfig(
            mean=[0.0] * 3, std=[1.0] * 3, framing=model.preprocessing.framing
        )
        self.framing = Preprocessing(plain, encoder.image_size)
        self.embed = nn.Linear(encoder.width, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.enlarge = nn.ModuleList(_enlargements(config, encoder.patch_size))
        for last in self.enlarge[-1].parameters():
            nn.init.zeros_(last)
        size = encoder.image_size
        self.register_buffer("mean_image", torch.full((3, size, size), 0.5))

    def forward(self, latents: Float[Tensor, "n tokens dim"]) -> Float[Tensor, "n 3 height width"]:
        """Return the colours of views, from about 0 (black) to about 1.

        Args:
            latents: Of single views: rows, then columns.

        Raises:
            ValueError: They are of another model.
        """
        if latents.shape[1:] != (self._grid**2, self._dim):
            raise ValueError(
                f"this decoder draws {self._grid**2} tokens of {self._dim} features, got"
                f" {latents.shape[1]} of {latents.shape[2]}; they are of another world model"
            )
        x = self.embed(latents)
        positions = grid_positions(1, self._grid, self._grid, device=x.device)
        rope = Rope.at(positions, self.config.width // self.config.heads, RopeForm.interleaved)
        x = self.norm(run_blocks(self.blocks, x, rope))
        x = x.transpose(1, 2).unflatten(2, (self._grid, self._grid))
        for number, stage in enumerate(self.enlarge):
            x = stage(gelu(x) if number else x)
        return self.mean_image + x

    @torch.no_grad()
    def images(self, latents: Float[Tensor, "n tokens dim"]) -> UInt8[Tensor, "n height width 3"]:
        """Return latents as images, some at a time, where the decoder computes.

        Raises:
            ValueError: They are of another model.
        """
        drawn = []
        for part in latents.split(DECODED_TOGETHER):
            colours = self(part.to(self.mean_image.device, torch.float32))
            drawn.append((255 * colours.clamp(0, 1)).round().byte().permute(0, 2, 3, 1))
        return torch.cat(drawn)


def _enlargements(config: DecoderConfig, patch_size: int) -> list[nn.Sequential]:
    """Return what makes a picture from a grid of tokens, each by a prime factor of a patch.

    Channels are spread over pixels (Shi et al. 2016, sub-pixel convolution), so that what is
    computed is computed at the coarser size.
    """
    stages, channels = [], config.width
    factors = _prime_factors(patch_size) or [1]
    for number, factor in enumerate(factors, start=1):
        out = 3 if number == len(factors) else max(config.least_channels, channels // 2)
        convolution = nn.Conv2d(channels, out * factor**2, 3, padding=1)
        stages.append(nn.Sequential(convolution, nn.PixelShuffle(factor)))
        channels = out
    return stages


def _prime_factors(number: int) -> list[int]:
    """Return the prime factors, least first: 2 and 7 for 14."""
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors
