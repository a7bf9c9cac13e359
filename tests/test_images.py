import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym import images

sizes = st.integers(1, 40)


@given(sizes, sizes)
def test_area_weights_are_averages_that_use_every_pixel_alike(source, target):
    weights = images.area_weights(source, target)
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), target / source, rtol=1e-4)


def test_halving_averages_squares_of_four_pixels():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2] = [[[10], [20]], [[30], [40]]]
    np.testing.assert_array_equal(images.resize(image, 2)[..., 0], [[25, 0], [0, 0]])


def test_a_pixel_that_straddles_two_counts_for_both():
    image = np.repeat(np.array([0, 90, 180], np.uint8), 9).reshape(3, 3, 3)
    np.testing.assert_array_equal(images.resize(image, 2)[:, 0, 0], [30, 150])


@given(st.integers(0, 255), st.integers(2, 24), st.integers(1, 24))
def test_a_picture_of_one_colour_keeps_it(value, source, target):
    image = np.full((source, source, 3), value, np.uint8)
    np.testing.assert_array_equal(images.resize(image, target), value)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (6, 4), (4, 4), (5, 8)])
def test_the_crop_is_the_largest_centred_square(height, width):
    rows, columns = np.indices((height, width))
    image = np.stack([rows, columns, rows], -1).astype(np.uint8)
    square = images.crop_to_aspect(image, (1, 1))
    side = min(height, width)
    assert square.shape == (side, side, 3)
    assert tuple(square[0, 0, :2]) == ((height - side) // 2, (width - side) // 2)


def test_many_pictures_are_scaled_as_each_alone():
    batch = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 12, 3), dtype=np.uint8)
    together = images.resize(batch, 5)
    assert together.shape == (2, 3, 5, 5, 3)
    np.testing.assert_array_equal(together[1, 2], images.resize(batch[1, 2], 5))


def test_a_picture_of_the_right_size_is_returned_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(images.resize(image, 6), image)


@pytest.mark.parametrize(
    ("size", "shape"),
    [(256, (256, 256)), ([180, 320], (180, 320)), ((16, 64), (16, 64)), (np.int64(32), (32, 32))],
)
def test_a_side_or_height_and_width_are_a_size(size, shape):
    assert images.image_shape(size) == shape
    assert all(type(side) is int for side in images.image_shape(size))


@pytest.mark.parametrize(
    "size",
    [0, 15, -3, 64.0, True, "256", "ab", None, [], [180], [180, 320, 3], [180, 8], ["a", 32]],
)
def test_what_is_no_size_is_refused_with_what_would_do(size):
    with pytest.raises(ValueError, match=r"such as \[180, 320\].*at least 16 px"):
        images.image_shape(size)


@pytest.mark.parametrize(
    ("source", "target", "shape"),
    [
        ((256, 256), (180, 320), (144, 256)),
        ((180, 320), (64, 64), (180, 180)),
        ((90, 31), (3, 1), (90, 30)),
    ],
)
def test_the_crop_is_the_largest_centred_part_of_that_aspect(source, target, shape):
    rows, columns = np.indices(source)
    image = np.stack([rows % 256, columns % 256, rows // 256], -1).astype(np.uint8)
    part = images.crop_to_aspect(image, target)
    assert part.shape[:2] == shape
    start = [(whole - kept) // 2 for whole, kept in zip(source, shape, strict=True)]
    assert list(part[0, 0, :2]) == start
    assert images.resize(image, target).shape[:2] == target


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_any_picture_can_be_scaled_to_any_shape(height, width, rows, columns):
    image = np.full((height, width, 3), 77, np.uint8)
    scaled = images.resize(image, (rows, columns))
    assert scaled.shape == (rows, columns, 3)
    assert (scaled == 77).all()
    assert images.fit_height(image, (rows, columns)).shape == (rows, columns, 3)


def test_a_narrower_picture_keeps_its_height_between_black_sides():
    image = np.random.default_rng(0).integers(1, 256, (2, 60, 60, 3), dtype=np.uint8)
    wide = images.fit_height(image, (30, 50))
    np.testing.assert_array_equal(images.crop_to_aspect(wide, (1, 1)), images.resize(image, 30))
    assert not wide[:, :, :10].any()
    assert not wide[:, :, 40:].any()
    np.testing.assert_array_equal(images.fit_height(wide, 30), images.resize(image, 30))
