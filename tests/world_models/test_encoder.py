from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm

from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.encoder import (
    EncoderConfig,
    Positions,
    Stem,
    VisionTransformer,
    encode_frames,
    normalise_tokens,
    take_tokens,
)

STEMS = pytest.mark.parametrize("stem", Stem)


def small_encoder(stem: Stem = Stem.patch, **changes: Any) -> VisionTransformer:
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 4, "width": 24, "depth": 2, "heads": 2}
    encoder = VisionTransformer(EncoderConfig(**(sizes | changes), stem=stem))
    generator = torch.Generator().manual_seed(0)
    initialise(encoder, generator)
    for name, weight in encoder.named_parameters():
        if "mod_embed" in name or "norms_block" in name:
            nn.init.normal_(weight, generator=generator)
    return encoder.eval()


@pytest.fixture
def video() -> torch.Tensor:
    return torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def large() -> torch.Tensor:
    """A video of 4 x 4 patches of 8 px, which every stem can take."""
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(2))


def stemmed(stem: Stem, **changes: Any) -> VisionTransformer:
    return small_encoder(stem, image_size=32, patch_size=8, **changes)


@STEMS
def test_there_is_a_token_a_tubelet_at_any_resolution(stem: Stem, large: torch.Tensor) -> None:
    encoder = stemmed(stem)
    assert encoder(large).shape == (2, 2 * 4 * 4, 24)
    assert encoder(large.repeat(1, 1, 1, 2, 1)[:, :, :2]).shape == (2, 8 * 4, 24)


def test_the_patch_stem_is_a_convolution_whose_kernel_is_its_stride(video: torch.Tensor) -> None:
    stem = small_encoder().patch_embed
    torch.testing.assert_close(stem(video), stem.proj(video).flatten(2).transpose(1, 2))


def test_tokens_are_ordered_by_time_then_row_then_column(video: torch.Tensor) -> None:
    stem = small_encoder().patch_embed
    before = stem(video)
    video[:, :, 2:, 4:8, 12:] = 0
    changed = (stem(video) != before).any(-1).any(0).nonzero()[:, 0]
    assert changed.tolist() == [16 + 4 * 1 + 3]


@STEMS
def test_masked_pixels_have_no_influence(stem: Stem, large: torch.Tensor) -> None:
    encoder = stemmed(stem)
    keep = torch.tensor([[0, 5, 21, 31], [1, 2, 3, 30]])
    before = encoder(large, keep)
    hidden = torch.ones(2, 32, dtype=torch.bool).scatter(1, keep, False).view(2, 1, 2, 4, 4)
    hidden = hidden.repeat_interleave(2, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    torch.testing.assert_close(encoder(torch.where(hidden, 9.0, large), keep), before)
    assert not torch.allclose(encoder(torch.where(hidden, large, 9.0), keep), before)


@STEMS
def test_keeping_everything_is_no_masking(stem: Stem, large: torch.Tensor) -> None:
    encoder = stemmed(stem)
    torch.testing.assert_close(encoder(large, torch.arange(32).expand(2, -1)), encoder(large))


def test_a_token_is_a_set_member_that_knows_its_place(video: torch.Tensor) -> None:
    encoder = small_encoder()
    keep = torch.tensor([[3, 8, 20], [0, 9, 30]])
    reverse = encoder(video, keep.flip(1)).flip(1)
    torch.testing.assert_close(reverse, encoder(video, keep))


def test_the_conv_stem_sees_across_the_borders_of_patches(video: torch.Tensor) -> None:
    stem = small_encoder(Stem.conv).patch_embed
    before = stem(video)
    video[:, :, 0, 4:8, 4:8] = 0
    changed = (stem(video) != before).any(-1).any(0).view(2, 4, 4)
    assert changed[0, 1, 1]
    assert changed[0].sum() > 1
    assert not changed[1].any()


def test_single_images_are_repeated_and_normalised(video: torch.Tensor) -> None:
    encoder, images = small_encoder(), video[:, :, 0]
    twice = encoder(torch.stack([images, images], 2))
    latents = encode_frames(encoder, images)
    torch.testing.assert_close(latents, layer_norm(twice, (24,)))
    torch.testing.assert_close(latents.mean(-1), torch.zeros(2, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(-1, correction=0), torch.ones(2, 16), atol=1e-2, rtol=0)


def test_normalised_tokens_have_no_scale() -> None:
    tokens = torch.randn(2, 3, 8)
    torch.testing.assert_close(
        normalise_tokens(3 * tokens + 5), normalise_tokens(tokens), atol=1e-3, rtol=0
    )


def test_tokens_are_taken_for_each_sample_apart() -> None:
    tokens = torch.arange(6.0).view(2, 3, 1)
    taken = take_tokens(tokens, torch.tensor([[0, 2], [1, 1]]))
    assert taken.flatten().tolist() == [0, 2, 4, 4]


@pytest.mark.parametrize("shape", [(3, 16, 16), (4, 18, 16), (4, 16, 10)])
def test_a_video_of_broken_tubelets_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="whole tubelets of 2 frames x 4 x 4 px"):
        small_encoder()(torch.zeros(1, 3, *shape))


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 100},
        {"width": 100, "heads": 3},
        {"width": 96, "heads": 32},
        {"stem": Stem.conv, "patch_size": 2},
        {"stem": Stem.conv, "patch_size": 14, "image_size": 224},
        {"stem": Stem.hierarchical, "patch_size": 4},
        {"stem": Stem.hierarchical, "patch_size": 12, "image_size": 240},
        {"levels": 0},
        {"levels": 25},
        {"levels": 2, "level_blocks": [23]},
        {"levels": 2, "level_blocks": [23, 11]},
        {"levels": 2, "level_blocks": [5, 22]},
        {"rope_grid": -1},
        {"positions": Positions.sincos, "frames": 15},
        {"positions": Positions.sincos_2d, "width": 90, "heads": 3},
    ],
)
def test_impossible_sizes_are_refused(changes: dict) -> None:
    named = r"patch_size|heads|level|rope_grid|frames|multiple of 4"
    with pytest.raises(ValueError, match=named):
        EncoderConfig(**changes)


def test_frames_need_not_fit_where_positions_are_rotations() -> None:
    assert EncoderConfig(tubelet_size=3).base_grid == (5, 16, 16)


def test_levels_are_what_shallower_encoders_give(video: torch.Tensor) -> None:
    encoder = small_encoder(depth=6, levels=3)
    assert encoder.config.level_ends == [1, 3, 5]
    keep = torch.tensor([[3, 8, 20], [0, 9, 30]])
    for chosen in (None, keep):
        features = encoder.levels(video, chosen).chunk(3, -1)
        for level, end in enumerate(encoder.config.level_ends):
            shallow = small_encoder(depth=end + 1)
            shallow.load_state_dict(encoder.state_dict(), strict=False)
            shallow.norm.load_state_dict(encoder.norms_block[level].state_dict())
            assert torch.equal(features[level], shallow(video, chosen))
        assert torch.equal(features[-1], encoder(video, chosen))


def test_one_level_is_the_encoding(video: torch.Tensor) -> None:
    encoder = small_encoder()
    assert torch.equal(encoder.levels(video), encoder(video))


def test_levels_may_be_named() -> None:
    config = EncoderConfig(depth=48, levels=4, level_blocks=[11, 23, 37, 47])
    assert config.level_ends == [11, 23, 37, 47]
    assert EncoderConfig(depth=40, levels=4).level_ends == [9, 19, 29, 39]


@STEMS
def test_a_single_frame_has_a_stem_of_its_own(stem: Stem, large: torch.Tensor) -> None:
    encoder = stemmed(stem, image_tokens=True)
    image = large[:, :, :1]
    assert encoder.grid(1, 32, 32) == (1, 4, 4)
    assert encoder(image).shape == (2, 16, 24)
    before = encoder(image), encoder(large)
    nn.init.ones_(encoder.img_mod_embed)
    assert not torch.allclose(encoder(image), before[0])
    assert torch.equal(encoder(large), before[1])
    nn.init.ones_(encoder.video_mod_embed)
    assert not torch.allclose(encoder(large), before[1])
    with pytest.raises(ValueError, match="whole tubelets of 2 frames"):
        small_encoder()(image)


@pytest.mark.parametrize(
    "changes", [{"levels": 2}, {"positions": Positions.sincos}, {"rope_grid": 3}]
)
def test_gradients_are_the_same_with_checkpointing(
    changes: dict[str, Any], video: torch.Tensor
) -> None:
    encoder, gradients = small_encoder(**changes), []
    for encoder.checkpointing in (False, True):
        loss = encoder.levels(video, torch.arange(7).expand(2, -1)).square().sum()
        gradients.append(torch.autograd.grad(loss, list(encoder.parameters())))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_weights_of_several_levels_and_images_are_named_as_in_the_public_checkpoints() -> None:
    plain = small_encoder().state_dict().keys()
    names = small_encoder(levels=2, image_tokens=True).state_dict().keys()
    assert plain - names == {"norm.weight", "norm.bias"}
    assert names - plain == {
        "norms_block.0.weight",
        "norms_block.0.bias",
        "norms_block.1.weight",
        "norms_block.1.bias",
        "patch_embed_img.proj.weight",
        "patch_embed_img.proj.bias",
        "img_mod_embed",
        "video_mod_embed",
    }


def test_the_weights_are_named_as_in_the_public_checkpoints() -> None:
    names = small_encoder().state_dict().keys()
    block = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    parts = {f"blocks.{i}.{name}" for i in range(2) for name in block} | {
        "patch_embed.proj",
        "norm",
    }
    assert names == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}


@pytest.mark.gpu
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_gpu_gives_the_same_features(checkpointing: bool, video: torch.Tensor) -> None:
    encoder = small_encoder(levels=2, image_tokens=True, rope_grid=3)
    keep = torch.tensor([[3, 8, 20], [0, 9, 30]])
    expected = encoder.levels(video, keep)
    encoder.checkpointing = checkpointing
    encoder.cuda()
    features = encoder.levels(video.cuda(), keep.cuda())
    torch.testing.assert_close(features.cpu(), expected, atol=1e-3, rtol=0)
    with torch.autocast("cuda", torch.bfloat16):
        half = encoder.levels(video.cuda(), keep.cuda())
    assert (half.float().cpu() - expected).abs().mean() < 0.05


@pytest.mark.parametrize("changes", [{}, {"positions": Positions.sincos}, {"image_tokens": True}])
def test_half_precision_changes_little(changes: dict[str, Any], video: torch.Tensor) -> None:
    encoder = small_encoder(**changes)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(video)
    assert 0 < (half.float() - encoder(video)).abs().mean() < 0.05
