"""Every few rows of episodes."""

import numpy as np
import pytest
from post_training_cases import walks

from vjepa_gym.types import Images
from vjepa_gym.world_models.thinning import thinned


@pytest.mark.parametrize(("stride", "kept"), [(2, [0, 2, 4]), (4, [0, 4]), (9, [0])])
def test_rows_are_counted_from_the_first_of_each_episode(stride: int, kept: list[int]) -> None:
    frames = walks(episodes=2, rows=6)
    some = thinned(frames, stride)
    rows = [*kept, *(row + 6 for row in kept)]
    assert some.offsets.tolist() == [0, len(kept), 2 * len(kept)]
    np.testing.assert_array_equal(some.poses, frames.poses[rows])
    assert isinstance(some.images, Images)
    assert some.images.shape == (len(rows), 16, 16, 3)
    assert len(some.images) == len(rows)
    np.testing.assert_array_equal(some.images[:], frames.images[rows])
    np.testing.assert_array_equal(some.images[1:], frames.images[rows[1:]])
    np.testing.assert_array_equal(some.images[np.array([0, -1])], frames.images[[0, rows[-1]]])


def test_with_a_stride_of_one_nothing_is_left_out() -> None:
    frames = walks()
    assert thinned(frames, 1) is frames
