import pytest
import torch
from torch.nn.functional import layer_norm

from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.encoder import (
    EncoderConfig,
    Stem,
    VisionTransformer,
    encode_frames,
    normalise_tokens,
    take_tokens,
)

STEMS = pytest.mark.parametrize("stem", Stem)


def small_encoder(stem: Stem = Stem.patch) -> VisionTransformer:
    config = EncoderConfig(image_size=16, patch_size=4, width=24, depth=2, heads=2, stem=stem)
    encoder = VisionTransformer(config)
    initialise(encoder, torch.Generator().manual_seed(0))
    return encoder.eval()


@pytest.fixture
def video() -> torch.Tensor:
    return torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@STEMS
def test_there_is_a_token_a_tubelet_at_any_resolution(stem: Stem, video: torch.Tensor) -> None:
    encoder = small_encoder(stem)
    assert encoder(video).shape == (2, 2 * 4 * 4, 24)
    assert encoder(video.repeat(1, 1, 1, 2, 1)[:, :, :2]).shape == (2, 8 * 4, 24)


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
def test_masked_pixels_have_no_influence(stem: Stem, video: torch.Tensor) -> None:
    encoder = small_encoder(stem)
    keep = torch.tensor([[0, 5, 21, 31], [1, 2, 3, 30]])
    before = encoder(video, keep)
    hidden = torch.ones(2, 32, dtype=torch.bool).scatter(1, keep, False).view(2, 1, 2, 4, 4)
    hidden = hidden.repeat_interleave(2, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    torch.testing.assert_close(encoder(torch.where(hidden, 9.0, video), keep), before)
    assert not torch.allclose(encoder(torch.where(hidden, video, 9.0), keep), before)


@STEMS
def test_keeping_everything_is_no_masking(stem: Stem, video: torch.Tensor) -> None:
    encoder = small_encoder(stem)
    torch.testing.assert_close(encoder(video, torch.arange(32).expand(2, -1)), encoder(video))


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
    ],
)
def test_impossible_sizes_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"patch_size|heads"):
        EncoderConfig(**changes)


def test_the_weights_are_named_as_in_the_public_checkpoints() -> None:
    names = small_encoder().state_dict().keys()
    block = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    parts = {f"blocks.{i}.{name}" for i in range(2) for name in block} | {
        "patch_embed.proj",
        "norm",
    }
    assert names == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
