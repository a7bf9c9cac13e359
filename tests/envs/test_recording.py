import gymnasium as gym
import numpy as np
import pytest

from vjepa_gym.envs.behaviours import BEHAVIOURS, ROAM_HIGH, ROAM_LOW
from vjepa_gym.envs.recording import record_episode
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.kinematics import difference
from vjepa_gym.sim.arm import tool_centre
from vjepa_gym.spaces import ACTION_LIMIT


@pytest.fixture(scope="module")
def env():
    env = gym.make("vjepa_gym/FrankaReach-v0", image_size=32)
    yield env
    env.close()


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_moves_within_the_limits(env, behaviour):
    episode = record_episode(env, behaviour, seed=1, steps=12)
    achieved = difference(episode.poses[:-1], episode.poses[1:])
    assert episode.images["left"].shape == (13, 32, 32, 3)
    assert len(episode) == 12
    assert np.all(np.abs(episode.commands) <= ACTION_LIMIT + 1e-6)
    assert np.linalg.norm(achieved[:, :3], axis=1).max() > 0.01
    assert np.isfinite(episode.extras["sim_state"]).all()
    assert episode.extras["object_poses"].shape == (13, 2, 7)


def test_an_episode_is_a_function_of_its_seed(env):
    first = record_episode(env, "noisy", seed=3, steps=4)
    record_episode(env, "random", seed=9, steps=2)
    again = record_episode(env, "noisy", seed=3, steps=4)
    np.testing.assert_array_equal(first.commands, again.commands)
    np.testing.assert_array_equal(first.images["left"], again.images["left"])
    np.testing.assert_array_equal(first.extras["sim_state"], again.extras["sim_state"])


def test_the_script_arrives_at_the_goal_before_it_goes_elsewhere(env):
    episode = record_episode(env, "scripted", seed=2, steps=5)
    goal = tool_centre(np.array(episode.info["goal"][-1], np.float32))
    distances = np.linalg.norm(np.stack([tool_centre(p) for p in episode.poses]) - goal, axis=1)
    assert distances.min() < 0.02


def test_random_moves_stay_near_the_region_where_goals_lie(env):
    episode = record_episode(env, "random", seed=7, steps=40)
    tools = np.stack([tool_centre(pose) for pose in episode.poses])
    assert np.all(tools > ROAM_LOW - 0.08)
    assert np.all(tools < ROAM_HIGH + 0.08)


def test_play_lifts_an_object_now_and_then(env):
    heights = [
        record_episode(env, "play", seed=seed, steps=24).extras["object_poses"][:, :, 2].max()
        for seed in range(4)
    ]
    assert max(heights) > 0.1


def test_an_unknown_behaviour_names_those_that_exist(env):
    with pytest.raises(UnknownNameError, match="play, random, scripted"):
        record_episode(env, "scriptde", seed=0, steps=1)
