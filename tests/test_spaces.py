import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vjepa_gym import spaces
from vjepa_gym.errors import InvalidActionError

actions = arrays(np.float32, (7,), elements=st.floats(-10.0, 10.0, width=32))


@given(actions)
def test_a_clipped_action_is_in_the_space_and_says_whether_it_was_clipped(action):
    clipped, was_clipped = spaces.clip_action(action)
    assert spaces.action_space().contains(clipped)
    beyond = np.abs(action) > spaces.ACTION_LIMIT + 1e-6
    assert was_clipped == beyond.any()
    np.testing.assert_array_equal(
        clipped[~beyond], action.clip(-spaces.ACTION_LIMIT, spaces.ACTION_LIMIT)[~beyond]
    )


def test_each_axis_is_clipped_alone_and_nothing_is_rescaled():
    action = np.array([1.0, 0.01, 0.0, 0.0, 0.1, 0.0, -2.0], np.float32)
    clipped, _ = spaces.clip_action(action)
    np.testing.assert_allclose(clipped, [0.075, 0.01, 0.0, 0.0, 0.1, 0.0, -0.75], rtol=1e-6)


def test_the_limits_are_those_of_the_paper():
    np.testing.assert_allclose(spaces.ACTION_LIMIT, [0.075] * 3 + [0.25] * 3 + [0.75])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_refused(value):
    action = np.zeros(7, np.float32)
    action[3] = value
    with pytest.raises(InvalidActionError, match="seven finite numbers"):
        spaces.clip_action(action)


def test_observations_of_the_declared_kind_are_in_the_space():
    space = spaces.observation_space(32)
    observation = {
        "image": np.zeros((32, 32, 3), np.uint8),
        "pose": np.array([0.4, 0.0, 0.3, np.pi, 0.0, 0.0, 1.0], np.float32),
    }
    assert space.contains(observation)
    observation["pose"][6] = 1.5
    assert not space.contains(observation)


def test_further_cameras_are_further_pictures():
    space = spaces.observation_space(32, cameras=("left", "wrist"))
    assert set(space.spaces) == {"image", "pose", "wrist"}
    assert space["wrist"].shape == (32, 32, 3)


def test_the_workspace_is_a_box():
    assert np.all(spaces.WORKSPACE_LOW < spaces.WORKSPACE_HIGH)


def test_pictures_need_not_be_square():
    space = spaces.observation_space([180, 320], cameras=("left", "wrist"))
    assert space["image"].shape == space["wrist"].shape == (180, 320, 3)
    with pytest.raises(ValueError, match="at least 16 px"):
        spaces.observation_space(8)
