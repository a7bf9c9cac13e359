"""Stems by themselves: each is the convolutions that its weights describe, at less cost."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.utils.flop_counter import FlopCounterMode

from vjepa_gym.learning.layers import initialise
from vjepa_gym.learning.precision import computing_in, lower_precision
from vjepa_gym.world_models.encoder import EncoderConfig, VisionTransformer
from vjepa_gym.world_models.stems import (
    ConvStem,
    HierarchicalStem,
    PatchStem,
    Stem,
    build_stem,
    take_tokens,
)

WIDTH = 24
STEMS = pytest.mark.parametrize("kind", Stem)
PATCHES = pytest.mark.parametrize("patch_size", [8, 16, 32])


def stem_of(kind: Stem, patch_size: int, width: int = WIDTH, tubelet_size: int = 2) -> nn.Module:
    """Return a stem whose weights, biases included, are about as large as trained ones."""
    stem, generator = build_stem(kind, tubelet_size, patch_size, width), torch.Generator()
    for weight in stem.parameters():
        fan_in = weight[0].numel() if weight.ndim > 1 else 1
        nn.init.normal_(weight, std=fan_in**-0.5, generator=generator.manual_seed(weight.numel()))
    return stem


def video_of(patch_size: int, tubelets: int = 2, tubelet_size: int = 2) -> Tensor:
    """Return two videos of 2 x 3 patches."""
    shape = 2, 3, tubelets * tubelet_size, 2 * patch_size, 3 * patch_size
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def convolved(stem: nn.Module, video: Tensor) -> Tensor:
    """Return the tokens by torch's own convolutions, frame by frame, then tubelet by tubelet."""
    x = video.transpose(1, 2).flatten(0, 1)
    for conv in stem.convs:
        x = gelu(conv(x))
    x = x.unflatten(0, (len(video), -1)).transpose(1, 2)
    return stem.proj(x).flatten(2).transpose(1, 2)


def flops(function: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@PATCHES
@pytest.mark.parametrize("tubelet_size", [1, 2, 3])
def test_the_hierarchical_stem_is_the_convolutions_of_its_weights(
    patch_size: int, tubelet_size: int
) -> None:
    stem = stem_of(Stem.hierarchical, patch_size, width=96, tubelet_size=tubelet_size)
    video = video_of(patch_size, tubelet_size=tubelet_size)
    tokens = stem(video)
    assert tokens.shape == (2, 2 * 2 * 3, 96)
    torch.testing.assert_close(tokens, convolved(stem, video), rtol=1e-4, atol=1e-5)


@PATCHES
def test_the_hierarchical_stem_joins_sixteen_squares_by_fours(patch_size: int) -> None:
    stem = HierarchicalStem(2, patch_size, 96)
    assert [conv.kernel_size[0] for conv in stem.convs] == [patch_size // 4, 2]
    assert [conv.out_channels for conv in (*stem.convs, stem.proj)] == [48, 96, 96]
    assert stem.proj.kernel_size == stem.proj.stride == (2, 2, 2)


@PATCHES
@pytest.mark.parametrize("kind", [Stem.patch, Stem.hierarchical])
def test_only_what_is_kept_is_computed_and_it_is_the_same(kind: Stem, patch_size: int) -> None:
    stem, video = stem_of(kind, patch_size), video_of(patch_size)
    keep = torch.tensor([[7, 0, 4], [11, 5, 2]])
    torch.testing.assert_close(stem(video, keep), take_tokens(stem(video), keep))
    assert flops(lambda: stem(video, keep)) == flops(lambda: stem(video)) // 4


@STEMS
def test_nothing_of_a_masked_patch_leaks(kind: Stem) -> None:
    stem, video = stem_of(kind, 16), video_of(16).requires_grad_()
    keep = torch.tensor([[7, 0, 4], [11, 5, 2]])
    stem(video, keep).square().sum().backward()
    assert video.grad is not None
    patches = video.grad.unflatten(4, (3, 16)).unflatten(3, (2, 16)).unflatten(2, (2, 2))
    seen = patches.abs().sum((1, 3, 5, 7)).flatten(1) > 0
    assert seen.nonzero()[:, 1].view(2, 3).tolist() == keep.sort(1).values.tolist()


def test_a_patch_that_is_masked_may_be_no_number() -> None:
    video, keep = video_of(8), torch.arange(6).expand(2, -1)
    video[:, :, 2:] = torch.nan
    assert stem_of(Stem.hierarchical, 8)(video, keep).isfinite().all()


@STEMS
@pytest.mark.parametrize("tubelets", [1, 2])
def test_a_frame_that_was_repeated_is_the_same_as_copies_of_it(kind: Stem, tubelets: int) -> None:
    stem, image = stem_of(kind, 16), video_of(16)[:, :, :1]
    view = image.expand(-1, -1, 2 * tubelets, -1, -1)
    torch.testing.assert_close(stem(view), stem(view.contiguous()))
    keep = torch.tensor([[5, 0], [1, 4]])
    torch.testing.assert_close(stem(view, keep), stem(view.contiguous(), keep))


@pytest.mark.parametrize("kind", [Stem.conv, Stem.hierarchical])
def test_a_frame_that_was_repeated_is_looked_at_once(kind: Stem) -> None:
    stem, image = stem_of(kind, 32), video_of(32)[:, :, :1]
    view = image.expand(-1, -1, 2, -1, -1)
    join = 2 * stem.proj.weight.numel() * 2 * 2 * 3
    each = (flops(lambda: stem(view.contiguous())) - join) // 2
    assert flops(lambda: stem(view)) == join + each


@pytest.mark.parametrize(
    ("patch_size", "strides"), [(4, [2]), (8, [4]), (16, [4, 2]), (32, [4, 2, 2])]
)
def test_the_conv_stem_begins_with_a_stride_of_four_where_the_patch_allows(
    patch_size: int, strides: list[int]
) -> None:
    stem = ConvStem(2, patch_size, WIDTH)
    assert [conv.stride[0] for conv in stem.convs] == strides
    assert stem.convs[0].kernel_size[0] == 2 * strides[0] - 1
    video = video_of(patch_size)
    assert stem(video).shape == (2, 2 * 2 * 3, WIDTH)
    torch.testing.assert_close(stem(video), convolved(stem, video))


@STEMS
def test_a_stem_has_its_kind(kind: Stem) -> None:
    kinds = {Stem.patch: PatchStem, Stem.conv: ConvStem, Stem.hierarchical: HierarchicalStem}
    assert type(build_stem(kind, 2, 8, WIDTH)) is kinds[kind]


@pytest.mark.parametrize(
    ("kind", "patch_size", "said"),
    [
        (Stem.conv, 2, "conv stem needs a patch_size of 4, 8, 16, ..., got 2"),
        (Stem.conv, 12, "conv stem needs a patch_size of 4, 8, 16, ..., got 12"),
        (Stem.hierarchical, 4, "hierarchical stem needs a patch_size of 8, 16, 32, ..., got 4"),
        (Stem.hierarchical, 24, "hierarchical stem needs a patch_size of 8, 16, 32, ..., got 24"),
    ],
)
def test_patches_that_a_stem_cannot_halve_are_refused(
    kind: Stem, patch_size: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        EncoderConfig(stem=kind, patch_size=patch_size, image_size=48)


@STEMS
@pytest.mark.parametrize("patch_size", [8, 64])
def test_patches_of_powers_of_two_suit_every_stem(kind: Stem, patch_size: int) -> None:
    assert EncoderConfig(stem=kind, patch_size=patch_size, image_size=128).stem is kind


def test_patches_of_any_size_suit_the_linear_stem() -> None:
    assert EncoderConfig(patch_size=14, image_size=224).grid_size == 16


def encoder_of(kind: Stem, **changes: bool) -> VisionTransformer:
    sizes = {"image_size": 32, "patch_size": 8, "width": WIDTH, "depth": 2, "heads": 2}
    encoder = VisionTransformer(EncoderConfig(**sizes, stem=kind, **changes))
    initialise(encoder, torch.Generator().manual_seed(0))
    return encoder


@STEMS
@pytest.mark.parametrize("masked", [False, True])
def test_every_weight_of_an_encoder_has_a_gradient(kind: Stem, masked: bool) -> None:
    encoder = encoder_of(kind, image_tokens=True)
    video = torch.randn(2, 3, 4, 32, 32)
    keep = torch.tensor([[3, 8, 20], [0, 9, 30]]) if masked else None
    features = torch.cat([encoder(video, keep), encoder(video[:, :, :1])], 1)
    (features * torch.randn(features.shape)).sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@STEMS
def test_the_weights_of_a_stem_may_be_lowered(kind: Stem) -> None:
    encoder, video = encoder_of(kind).eval(), torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        expected = encoder(video)
        lower_precision(encoder, "bfloat16")
        with computing_in("bfloat16", "cpu"):
            half = encoder(video)
    assert encoder.patch_embed.proj.weight.dtype == torch.bfloat16
    assert 0 < (half.float() - expected).abs().mean() < 0.05


@pytest.mark.gpu
@STEMS
def test_a_gpu_gives_the_same_tokens(kind: Stem) -> None:
    stem, video = stem_of(kind, 16), video_of(16)
    keep = torch.tensor([[7, 0, 4], [11, 5, 2]])
    expected = stem(video), stem(video, keep)
    stem.cuda()
    found = stem(video.cuda()), stem(video.cuda(), keep.cuda())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, atol=1e-2, rtol=0)
