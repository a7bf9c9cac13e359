"""Views are scaled, turned and moved about their middle."""

import numpy as np
import pytest

from vjepa_gym.world_models.warping import draw_warps, warp

SIZE = 33


def dot(x: int, y: int) -> np.ndarray:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


def place(image: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(image[..., 0] > 100)
    return np.array([x.mean(), y.mean()])


def test_maps_say_where_each_pixel_goes() -> None:
    maps = draw_warps(np.random.default_rng(0), 20, 0.2, SIZE)
    there = warp(np.stack([dot(20, 14)] * 20), maps)
    for image, by in zip(there, maps, strict=True):
        assert place(image) == pytest.approx(by @ [20, 14, 1], abs=1)


def test_they_stay_within_what_is_wished_and_turn_about_the_middle() -> None:
    maps, middle = draw_warps(np.random.default_rng(1), 500, 0.2, SIZE), (SIZE - 1) / 2
    scale = np.sqrt(np.linalg.det(maps[:, :, :2]))
    assert scale.max() <= 1.2
    assert scale.min() >= 1 / 1.2
    assert scale.max() > 1.1
    turn = np.arctan2(maps[:, 1, 0], maps[:, 0, 0])
    assert 0.05 < np.abs(turn).max() <= 0.1
    moved = maps @ [middle, middle, 1] - middle
    assert 0.05 < np.abs(moved).max() / SIZE <= 0.1


def test_nothing_is_moved_by_nothing() -> None:
    (by,) = draw_warps(np.random.default_rng(2), 1, 0.0, SIZE)
    image = np.random.default_rng(0).integers(256, size=(1, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp(image, by[None]), image)


def test_what_lies_outside_is_a_mirror_image() -> None:
    bright = np.full((1, SIZE, SIZE, 3), 200, np.uint8)
    maps = draw_warps(np.random.default_rng(3), 1, 0.3, SIZE)
    assert warp(bright, maps).min() == 200
