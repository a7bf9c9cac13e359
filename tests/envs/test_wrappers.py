import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from vjepa_gym.envs.wrappers import NormalizedAction, XYZGripper
from vjepa_gym.spaces import ACTION_LIMIT, action_space


class Echo(gym.Env):
    """Answers with the action that it was given."""

    observation_space = Box(-1.0, 1.0, (7,), np.float32)

    def __init__(self, space=None):
        self.action_space = space or action_space()

    def step(self, action):
        assert self.action_space.contains(action)
        return action, 0.0, False, False, {}


def test_a_normalized_action_is_the_share_of_what_a_step_allows():
    env = NormalizedAction(Echo())
    assert env.action_space == Box(-1.0, 1.0, (7,), np.float32)
    np.testing.assert_allclose(env.step(np.full(7, 0.5, np.float32))[0], ACTION_LIMIT / 2)


def test_the_planners_actions_never_turn_the_hand():
    env = XYZGripper(Echo())
    assert env.action_space.shape == (4,)
    done = env.step(np.array([0.01, -0.02, 0.03, 0.5], np.float32))[0]
    np.testing.assert_allclose(done, [0.01, -0.02, 0.03, 0, 0, 0, 0.5])


def test_both_together_make_four_numbers_between_minus_one_and_one():
    env = NormalizedAction(XYZGripper(Echo()))
    done = env.step(np.array([1, 0, 0, -1], np.float32))[0]
    np.testing.assert_allclose(done, [0.075, 0, 0, 0, 0, 0, -0.75])


def test_what_they_cannot_go_around_is_said():
    with pytest.raises(ValueError, match="box"):
        NormalizedAction(Echo(Discrete(3)))
    with pytest.raises(ValueError, match="outside"):
        XYZGripper(NormalizedAction(Echo()))
