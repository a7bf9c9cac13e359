import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.images import resize
from vjepa_gym.world_models.preprocessing import Framing, Preprocessing, PreprocessingConfig


@given(height=st.integers(4, 40), width=st.integers(4, 40), size=st.integers(2, 20))
def test_pixels_are_those_of_the_training_cache_but_for_rounding(
    height: int, width: int, size: int
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    config = PreprocessingConfig()
    pixels = Preprocessing(config, size)(torch.from_numpy(images))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (config.mean, config.std))
    back = (pixels * std + mean) * 255
    cached = torch.from_numpy(resize(images, size)).permute(0, 3, 1, 2)
    assert (back - cached).abs().max() <= 0.501


def test_black_and_white_are_normalised_as_for_imagenet() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 8, 8, 3)
    black, white = Preprocessing(PreprocessingConfig(), 8)(images)[:, :, 0, 0]
    assert black.tolist() == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-4)
    assert white.tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)


def test_it_has_no_weights_to_save() -> None:
    assert not Preprocessing(PreprocessingConfig(), 8).state_dict()


@pytest.mark.parametrize(
    "changes", [{"mean": [0.5]}, {"std": [0.2, 0.2]}, {"std": [0.2, 0.0, 0.2]}]
)
def test_impossible_statistics_are_refused(changes: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="one number a colour"):
        PreprocessingConfig(**changes)


def pixels_of(images: torch.Tensor, size: int, framing: Framing) -> torch.Tensor:
    """What `Preprocessing` makes of images, normalisation undone: 0 to 255, colours first."""
    config = PreprocessingConfig(framing=framing)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (config.mean, config.std))
    return (Preprocessing(config, size)(images) * std + mean) * 255


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (28, 28), (32, 32)])
def test_the_inner_framing_is_that_of_the_public_processor(shape: tuple[int, int]) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *shape, 3), np.uint8))
    seen = pixels_of(images, 28, Framing.inner)
    # Short side to int(28 * 256 / 224) = 32 on bytes, with antialiasing; 28 from the centre.
    scaled = tuple(int(32 * length / min(shape)) for length in shape)
    bytes_first = torch.nn.functional.interpolate(
        images.permute(0, 3, 1, 2), scaled, mode="bilinear", antialias=True
    )
    top, left = (scaled[0] - 28) // 2, (scaled[1] - 28) // 2
    expected = bytes_first[..., top : top + 28, left : left + 28].float()
    assert (seen - expected).abs().max() < 1.01
    assert (seen - expected).abs().mean() < 0.4


def test_the_inner_framing_leaves_out_the_rim_and_the_others_do_not() -> None:
    images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    images[:, :2] = 255
    rim = {framing: pixels_of(images, 32, framing)[0, 0, 0].mean().item() for framing in Framing}
    assert rim[Framing.inner] == pytest.approx(0, abs=1e-3)
    assert rim[Framing.square] == pytest.approx(255, abs=1e-3)
    assert rim[Framing.square_bilinear] == pytest.approx(255, abs=1e-3)


def test_images_of_the_models_own_size_pass_both_squares_as_they_are() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 9, 9, 3), np.uint8))
    for framing in (Framing.square, Framing.square_bilinear):
        same = pixels_of(images, 9, framing)
        torch.testing.assert_close(same, images.permute(0, 3, 1, 2).float(), atol=1e-3, rtol=0)
