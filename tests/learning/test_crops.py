import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.learning.crops import crop, crop_box, draw_crops

sides = st.integers(8, 400)


@given(height=sides, width=sides, seed=st.integers(0, 99))
def test_boxes_lie_within_the_frame_and_are_as_large_as_asked(
    height: int, width: int, seed: int
) -> None:
    (drawn,) = draw_crops(1, torch.Generator().manual_seed(seed))
    top, left, down, across = crop_box(drawn, (height, width), [0.3, 1.0], [0.75, 1.35])
    assert 0 <= top <= height - down
    assert 0 <= left <= width - across
    assert 0.6 < across / down < 1.7 or max(height, width) / min(height, width) > 1.35
    if 0.75 < width / height < 1.35:
        assert 0.25 < down * across / (height * width) <= 1


def test_areas_are_even_and_aspects_are_so_in_the_logarithm() -> None:
    boxes = np.array(
        [
            crop_box(drawn, (1000, 1000), [0.2, 0.4], [0.5, 2.0])
            for drawn in draw_crops(4000, torch.Generator().manual_seed(0))
        ]
    )
    top, left, height, width = boxes.T
    assert np.mean(height * width) / 1e6 == pytest.approx(0.3, abs=0.005)
    assert np.std(height * width) / 1e6 == pytest.approx(0.2 / 12**0.5, abs=0.003)
    assert np.mean(np.log(width / height)) == pytest.approx(0, abs=0.03)
    assert np.mean(top / (1000 - height)) == pytest.approx(0.5, abs=0.02)
    assert np.mean(left / (1000 - width)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("shape", "box"),
    [((100, 1000), (0, 432, 100, 135)), ((1000, 100), (433, 0, 133, 100))],
)
def test_where_no_box_fits_the_centre_is_taken(
    shape: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    (drawn,) = draw_crops(1, torch.Generator())
    assert crop_box(drawn, shape, [0.9, 1.0], [0.75, 1.35]) == box


def test_a_crop_of_everything_changes_nothing() -> None:
    clip = torch.randint(256, (3, 8, 8, 3), dtype=torch.uint8)
    whole = crop(clip, (0, 0, 8, 8), 8)
    assert torch.equal(whole, clip.permute(0, 3, 1, 2).float())


def test_a_crop_is_stretched_as_the_public_code_does() -> None:
    ramp = torch.arange(32, dtype=torch.uint8)[None, None, :, None].expand(2, 32, 32, 3)
    half = crop(ramp, (4, 8, 20, 16), 32)
    assert half.shape == (2, 3, 32, 32)
    # Twice as large: halfway between two pixels, and no further out than the outermost.
    expected = (8 + (torch.arange(32) + 0.5) / 2 - 0.5).clamp(8, 23)
    torch.testing.assert_close(half, expected.expand_as(half))
