"""What turns pixels into tokens."""

from enum import Enum
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import gelu


class Stem(Enum):
    """What turns pixels into tokens."""

    patch = "patch"
    """One linear map of each tubelet, as published."""
    conv = "conv"
    """Overlapping convolutions with the same grid of tokens: small models then see where within a
    patch a thing is (Xiao et al., Early Convolutions Help Transformers See Better, 2021)."""


class PatchStem(nn.Module):
    """Embeds each tubelet by itself: a convolution whose kernel is its stride."""

    def __init__(self, tubelet_size: int, patch_size: int, width: int) -> None:
        super().__init__()
        kernel = (tubelet_size, patch_size, patch_size)
        self.proj = nn.Conv3d(3, width, kernel, stride=kernel)

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

    def __init__(self, tubelet_size: int, patch_size: int, width: int) -> None:
        super().__init__()
        self.tubelet_size, self.patch_size = tubelet_size, patch_size
        halvings = patch_size.bit_length() - 2
        widths = [3, *(width >> i for i in range(halvings, 0, -1))]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.proj = nn.Conv3d(
            widths[-1],
            width,
            (tubelet_size, 3, 3),
            stride=(tubelet_size, 2, 2),
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


def build_stem(stem: Stem, tubelet_size: int, patch_size: int, width: int) -> PatchStem | ConvStem:
    """Return what embeds tubelets of `tubelet_size` frames and `patch_size` pixels a side."""
    kind = PatchStem if stem is Stem.patch else ConvStem
    return kind(tubelet_size, patch_size, width)


def take_tokens(
    tokens: Float[Tensor, "batch tokens dim"], keep: Int64[Tensor, "batch kept"]
) -> Float[Tensor, "batch kept dim"]:
    """Return the tokens at the indices `keep` of each sample."""
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))


def modality_token(width: int) -> nn.Parameter:
    """Return a learnable token that says whether an image or a video is looked at; zeros."""
    return nn.Parameter(torch.zeros(1, 1, width))
