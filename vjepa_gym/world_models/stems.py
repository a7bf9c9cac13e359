"""What turns pixels into tokens."""

from enum import Enum
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import gelu

QUARTER = 4
"""A hierarchical stem begins with squares of a quarter of the patch's side."""


class Stem(Enum):
    """What turns pixels into tokens."""

    patch = "patch"
    """One linear map of each tubelet, as published."""
    conv = "conv"
    """Overlapping convolutions with the same grid of tokens: small models then see where within a
    patch a thing is (Xiao et al., Early Convolutions Help Transformers See Better, 2021)."""
    hierarchical = "hierarchical"
    """A small network that joins fours of ever larger squares within each patch: it sees where in a
    large patch a small thing is, costs matrix products alone, and nothing of a masked patch leaks
    (the hMLP of Touvron et al., Three things everyone should know about Vision Transformers,
    arXiv 2203.09795, without its normalisation)."""


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
    """Shrinks each frame with convolutions, then joins the frames of a tubelet.

    The first has a stride of 4, as far as the patch allows: at full resolution, convolutions would
    cost more than the transformer. What is masked is blanked before, since it would be carried to
    its neighbours.
    """

    def __init__(self, tubelet_size: int, patch_size: int, width: int) -> None:
        super().__init__()
        self.tubelet_size, self.patch_size = tubelet_size, patch_size
        first = min(4, patch_size // 2)
        halvings = (patch_size // first).bit_length() - 2
        widths = [width >> i for i in range(halvings, -1, -1)]
        kernel = 2 * first - 1
        self.convs = nn.ModuleList(
            [nn.Conv2d(3, widths[0], kernel, stride=first, padding=first // 2)]
        )
        self.convs.extend(
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
        frames = video.shape[2]
        if keep is not None:
            video = self._blank(video, keep)
        elif video.stride(2) == 0:
            # One frame that was repeated is looked at once.
            video = video[:, :, :1]
        x = video.transpose(1, 2).flatten(0, 1)
        for conv in self.convs:
            x = gelu(conv(x))
        x = x.unflatten(0, (len(video), -1)).transpose(1, 2)
        tokens = self.proj(x.expand(-1, -1, frames, -1, -1))
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


class HierarchicalStem(nn.Module):
    """Embeds sixteen squares of each patch, then fours of these, then fours of those: the patch."""

    def __init__(self, tubelet_size: int, patch_size: int, width: int) -> None:
        super().__init__()
        self.tubelet_size, self.patch_size = tubelet_size, patch_size
        square = patch_size // QUARTER
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(3, width // 2, square, stride=square),
                nn.Conv2d(width // 2, width, 2, stride=2),
            ]
        )
        kernel = (tubelet_size, 2, 2)
        self.proj = nn.Conv3d(width, width, kernel, stride=kernel)

    def forward(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the tokens of a video, only those in `keep` if given."""
        # One frame that was repeated is looked at once.
        frames = 1 if keep is None and video.stride(2) == 0 else self.tubelet_size
        times = video.shape[2] // self.tubelet_size
        video = video[:, :, : times * frames]
        size = self.patch_size
        patches = video.unflatten(4, (-1, size)).unflatten(3, (-1, size)).unflatten(2, (-1, frames))
        patches = patches.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(1, 3)
        if keep is not None:
            index = keep[..., None, None, None, None]
            patches = patches.gather(1, index.expand(-1, -1, *patches.shape[2:]))
        x = patches
        for conv in self.convs:
            x = gelu(_joined(x, conv))
        # Frames come after channels in the weights, as in a convolution.
        x = x.flatten(3, 4).expand(-1, -1, self.tubelet_size, -1, -1)
        weight = self.proj.weight.flatten(3).permute(0, 2, 3, 1).flatten(1)
        return nn.functional.linear(x.flatten(2), weight, self.proj.bias)


def _joined(
    x: Float[Tensor, "batch tokens frames rows columns channels"], conv: nn.Module
) -> Float[Tensor, "batch tokens frames fewer_rows fewer_columns more"]:
    """Return what a convolution makes of squares that do not overlap, as a matrix product."""
    assert isinstance(conv, nn.Conv2d)
    square = conv.kernel_size[0]
    squares = x.unflatten(4, (-1, square)).unflatten(3, (-1, square))
    squares = squares.transpose(4, 5).flatten(5)
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)
    return nn.functional.linear(squares, weight, conv.bias)


def build_stem(
    stem: Stem, tubelet_size: int, patch_size: int, width: int
) -> PatchStem | ConvStem | HierarchicalStem:
    """Return what embeds tubelets of `tubelet_size` frames and `patch_size` pixels a side."""
    kinds = {Stem.patch: PatchStem, Stem.conv: ConvStem, Stem.hierarchical: HierarchicalStem}
    return kinds[stem](tubelet_size, patch_size, width)


def take_tokens(
    tokens: Float[Tensor, "batch tokens dim"], keep: Int64[Tensor, "batch kept"]
) -> Float[Tensor, "batch kept dim"]:
    """Return the tokens at the indices `keep` of each sample."""
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))


def modality_token(width: int) -> nn.Parameter:
    """Return a learnable token that says whether an image or a video is looked at; zeros."""
    return nn.Parameter(torch.zeros(1, 1, width))
