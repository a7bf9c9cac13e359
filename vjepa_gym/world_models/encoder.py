"""The V-JEPA 2 encoder: a vision transformer over tubelets of video (arXiv 2506.09985)."""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from vjepa_gym.learning.layers import NORM_EPSILON, Block, Rope, RopeForm, grid_positions


class Stem(Enum):
    """What turns pixels into tokens."""

    patch = "patch"
    """One linear map of each tubelet, as published."""
    conv = "conv"
    """Overlapping convolutions with the same grid of tokens: small models then see where within a
    patch a thing is (Xiao et al., Early Convolutions Help Transformers See Better, 2021)."""


@dataclass(kw_only=True)
class EncoderConfig:
    """Sizes of the encoder; the defaults are ViT-L/16."""

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

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size ({self.image_size}) must be a multiple of patch_size"
                f" ({self.patch_size})"
            )
        if self.width % self.heads or self.head_width % 2 or self.head_width < 6:
            raise ValueError(
                f"width / heads must be an even whole number of at least 6, got"
                f" {self.width} / {self.heads}"
            )
        if self.stem is Stem.conv and (self.patch_size < 4 or self.patch_size.bit_count() != 1):
            raise ValueError(
                f"the conv stem needs a patch_size of 4, 8, 16, ..., got {self.patch_size}"
            )

    @property
    def grid_size(self) -> int:
        """Rows, and columns, of tokens in a frame."""
        return self.image_size // self.patch_size

    @property
    def head_width(self) -> int:
        """Features of one attention head."""
        return self.width // self.heads


class PatchStem(nn.Module):
    """Embeds each tubelet by itself: a convolution whose kernel is its stride."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        kernel = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.width, kernel, stride=kernel)

    def forward(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the tokens of a video, only those in `keep` if given."""
        time, rows, columns = self.proj.kernel_size
        patches = (
            video.unflatten(4, (-1, columns)).unflatten(3, (-1, rows)).unflatten(2, (-1, time))
        )
        tokens = patches.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        if keep is not None:
            tokens = take_tokens(tokens, keep)
        # A matrix product of the kept patches only; the convolution would embed them all.
        return nn.functional.linear(tokens, self.proj.weight.flatten(1), self.proj.bias)


class ConvStem(nn.Module):
    """Halves each frame with 3 x 3 convolutions, then joins the frames of a tubelet.

    What is masked is blanked before, since the convolutions would carry it to its neighbours.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.tubelet_size, self.patch_size = config.tubelet_size, config.patch_size
        halvings = config.patch_size.bit_length() - 2
        widths = [3, *(config.width >> i for i in range(halvings, 0, -1))]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.proj = nn.Conv3d(
            widths[-1],
            config.width,
            (config.tubelet_size, 3, 3),
            stride=(config.tubelet_size, 2, 2),
            padding=(0, 1, 1),
        )

    def forward(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the tokens of a video, only those in `keep` if given."""
        if keep is not None:
            video = self._blank(video, keep)
        x = video.transpose(1, 2).flatten(0, 1)
        for conv in self.convs:
            x = gelu(conv(x))
        tokens = self.proj(x.unflatten(0, (len(video), -1)).transpose(1, 2))
        tokens = tokens.flatten(2).transpose(1, 2)
        return tokens if keep is None else take_tokens(tokens, keep)

    def _blank(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"],
    ) -> Float[Tensor, "batch 3 frames height width"]:
        batch, _, frames, height, width = video.shape
        grid = (frames // self.tubelet_size, height // self.patch_size, width // self.patch_size)
        visible = video.new_zeros(batch, grid[0] * grid[1] * grid[2]).scatter(1, keep, 1.0)
        visible = visible.unflatten(1, grid).repeat_interleave(self.tubelet_size, 1)
        visible = visible.repeat_interleave(self.patch_size, 2)
        return video * visible.repeat_interleave(self.patch_size, 3)[:, None]


class VisionTransformer(nn.Module):
    """Encodes video into one token a tubelet; masked tokens are left out, not filled in."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = (PatchStem if config.stem is Stem.patch else ConvStem)(config)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def forward(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the tokens, ordered by time, then row, then column.

        Args:
            video: Normalised pixels, at any resolution that is a multiple of the patch: positions
                count on beyond those seen in training.
            keep: Indices of the tokens that are not masked; all if None.
        """
        config, (frames, height, width) = self.config, video.shape[2:]
        if frames % config.tubelet_size or height % config.patch_size or width % config.patch_size:
            raise ValueError(
                f"video must hold whole tubelets of {config.tubelet_size} frames x"
                f" {config.patch_size} x {config.patch_size} px, got {frames} x {height} x {width}"
            )
        x = self.patch_embed(video, keep)
        positions = grid_positions(
            frames // config.tubelet_size,
            height // config.patch_size,
            width // config.patch_size,
            x.device,
        )
        if keep is not None:
            positions = positions[keep][:, None]
        rope = Rope.at(positions, config.head_width, config.rope)
        for block in self.blocks:
            x = block(x, rope)
        return self.norm(x)


def take_tokens(
    tokens: Float[Tensor, "batch tokens dim"], keep: Int64[Tensor, "batch kept"]
) -> Float[Tensor, "batch kept dim"]:
    """Return the tokens at the indices `keep` of each sample."""
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))


def normalise_tokens(tokens: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Return each token at mean 0 and deviation 1: what predictors are trained to predict."""
    return layer_norm(tokens, tokens.shape[-1:])


def encode_frames(
    encoder: VisionTransformer, images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch tokens dim"]:
    """Return the normalised tokens of single images, each repeated to fill a tubelet."""
    video = images[:, :, None].expand(-1, -1, encoder.config.tubelet_size, -1, -1)
    return normalise_tokens(encoder(video))
