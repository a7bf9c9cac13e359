import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.images import resize
from vjepa_gym.world_models.preprocessing import Preprocessing, PreprocessingConfig


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
