"""Frames of several datasets are read as those of one."""

import numpy as np
import pytest

from vjepa_gym.datasets.sampling.joining import JoinedImages, join
from vjepa_gym.types import Frames, Images

GIVEN = (
    slice(None),
    slice(2, 6),
    slice(1, 9, 3),
    3,
    -1,
    np.array([8, 0, 4, 4]),
    np.array([[5], [1]]),
)


def parts(*lengths, size=4):
    rng = np.random.default_rng(0)
    return [rng.integers(256, size=(length, size, size, 3), dtype=np.uint8) for length in lengths]


def frames(images, *episodes):
    return Frames(
        images=images,
        poses=np.arange(len(images) * 7, dtype=np.float32).reshape(-1, 7),
        offsets=np.cumsum([0, *episodes]),
    )


@pytest.mark.parametrize("rows", GIVEN, ids=str)
def test_they_are_read_like_one_array(rows):
    both = parts(4, 5)
    joined, whole = JoinedImages(both), np.concatenate(both)
    assert isinstance(joined, Images)
    assert joined.shape == whole.shape
    np.testing.assert_array_equal(np.asarray(joined[rows]), whole[rows])


def test_a_view_of_a_view_is_that_of_the_array():
    both = parts(4, 5, 2)
    view, whole = JoinedImages(both)[2:10], np.concatenate(both)[2:10]
    assert len(view) == 8
    np.testing.assert_array_equal(view[1:7:2].copy(), whole[1:7:2])
    np.testing.assert_array_equal(view[[7, 0]], whole[[7, 0]])
    with pytest.raises(IndexError):
        view[8]


def test_episodes_come_one_dataset_after_another():
    first, second = parts(5, 3)
    both = join([frames(first, 2, 3), frames(second, 3)])
    assert both.num_episodes == 3
    assert both.offsets.tolist() == [0, 2, 5, 8]
    np.testing.assert_array_equal(both.images[5:].copy(), second)
    np.testing.assert_array_equal(both.poses[5:], frames(second, 3).poses)
    known, rest = both.split(1)
    assert len(known.images) == 5
    np.testing.assert_array_equal(rest.images[np.arange(3)], second)


def test_one_dataset_stays_as_it_is():
    alone = frames(parts(5)[0], 5)
    assert join([alone]) is alone


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="must be of one size to be joined"):
        JoinedImages([*parts(2), *parts(2, size=8)])
