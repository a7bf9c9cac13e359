import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.clips import clip_starts, random_crops


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    frames=st.integers(1, 4),
    stride=st.integers(1, 3),
)
def test_clips_begin_wherever_they_fit_and_nowhere_else(
    lengths: list[int], frames: int, stride: int
) -> None:
    offsets = np.cumsum([0, *lengths])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    reach = (frames - 1) * stride
    fits = [
        row
        for row in range(len(episode))
        if row + reach < len(episode) and episode[row] == episode[row + reach]
    ]
    if fits:
        assert clip_starts(offsets, frames, stride).tolist() == fits
    else:
        with pytest.raises(DatasetError):
            clip_starts(offsets, frames, stride)


def test_a_clip_that_fits_nowhere_says_how_long_episodes_must_be() -> None:
    with pytest.raises(DatasetError, match="episode of 7 rows; the longest of 2 has 5"):
        clip_starts(np.array([0, 5, 8]), 3, 3)


def test_a_crop_of_everything_changes_nothing() -> None:
    video = torch.rand(2, 3, 4, 8, 8)
    whole = random_crops(video, [1.0, 1.0], [1.0, 1.0], torch.Generator())
    torch.testing.assert_close(whole, video)


def test_a_crop_is_a_part_of_the_frame_the_same_at_all_times() -> None:
    ramp = torch.linspace(0, 1, 32).expand(4, 3, 2, 32, 32)
    crop = random_crops(ramp, [0.25, 0.25], [1.0, 1.0], torch.Generator().manual_seed(1))
    width = crop[..., -1] - crop[..., 0]
    torch.testing.assert_close(width, torch.full_like(width, 0.5), atol=0.02, rtol=0)
    assert torch.equal(crop[:, :, 0], crop[:, :, 1])
    assert len(crop[:, 0, 0, 0, 0].unique()) == 4
