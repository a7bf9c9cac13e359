import json

import gymnasium as gym
import numpy as np
import pytest

from vjepa_gym.envs import env_id
from vjepa_gym.envs.behaviours import BEHAVIOURS, ROAM_HIGH, ROAM_LOW
from vjepa_gym.envs.recording import record_episode
from vjepa_gym.errors import EpisodeOverError, UnknownNameError
from vjepa_gym.kinematics import difference
from vjepa_gym.sim.labs import TABLE_TEXTURES
from vjepa_gym.spaces import ACTION_LIMIT

STEPS = 24


def make(task, **kwargs):
    return gym.make(env_id(task), image_size=32, horizon=STEPS, **kwargs)


@pytest.fixture(scope="module")
def env():
    env = make("Reach", cameras=("left", "wrist"))
    yield env
    env.close()


@pytest.fixture(scope="module")
def pick_env():
    env = make("PickPlaceBox")
    yield env
    env.close()


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_moves_within_the_limits(env, behaviour):
    episode = record_episode(env, behaviour, seed=1, steps=12)
    achieved = difference(episode.poses[:-1], episode.poses[1:])
    assert episode.images["left"].shape == episode.images["wrist"].shape == (13, 32, 32, 3)
    assert set(episode.cameras) == {"left", "wrist"}
    assert len(episode) == 12
    assert np.all(np.abs(episode.commands) <= ACTION_LIMIT + 1e-6)
    moved = np.linalg.norm(achieved[:, :3], axis=1).max()
    assert moved < 2e-3 if behaviour == "idle" else moved > 0.01
    assert np.isfinite(episode.extras["sim_state"]).all()
    assert episode.extras["object_poses"].shape == (13, 2, 7)


def test_an_episode_is_a_function_of_its_seed(env):
    first = record_episode(env, "noisy", seed=3, steps=4)
    record_episode(env, "random", seed=9, steps=2)
    again = record_episode(env, "noisy", seed=3, steps=4)
    np.testing.assert_array_equal(first.commands, again.commands)
    np.testing.assert_array_equal(first.images["left"], again.images["left"])
    np.testing.assert_array_equal(first.extras["sim_state"], again.extras["sim_state"])


def test_the_script_wanders_and_ends_at_the_goal(env, pick_env):
    for environment in (env, pick_env):
        episodes = [
            record_episode(environment, "scripted", seed=seed, steps=STEPS) for seed in range(4)
        ]
        assert sum(episode.success for episode in episodes) >= 3
        assert all(episode.info["successes"][-1] == episode.success for episode in episodes)


def test_who_is_disturbed_still_succeeds_now_and_then(pick_env):
    episodes = [record_episode(pick_env, "noisy", seed=seed, steps=STEPS) for seed in range(8)]
    assert sum(episode.success for episode in episodes) >= 1


def test_random_moves_stay_near_the_region_where_goals_lie(env):
    episode = record_episode(env, "random", seed=7, steps=STEPS)
    arm = env.unwrapped.world.arm
    tools = np.stack([arm.tool_centre(pose) for pose in episode.poses])
    assert np.all(tools > ROAM_LOW - 0.08)
    assert np.all(tools < ROAM_HIGH + 0.08)


def test_play_lifts_an_object_now_and_then(env):
    heights = [
        record_episode(env, "play", seed=seed, steps=STEPS).extras["object_poses"][:, :, 2].max()
        for seed in range(4)
    ]
    assert max(heights) > 0.1


def test_what_is_recorded_says_where_how_and_what_differed():
    env = make("GraspCup", lab="test", variation="wide")
    episode = record_episode(env, "scripted", seed=0, steps=2)
    assert episode.info["lab"] == "test"
    assert episode.info["gripper"] == "panda"
    assert episode.info["env"] == env_id("GraspCup")
    assert episode.info["controller"] == "servo"
    assert episode.info["variation_names"]["bump"] == "none"
    texture = episode.info["variation"]["table_texture"]
    assert episode.info["variation_names"]["table_texture"] == TABLE_TEXTURES[texture]
    assert len(episode.info["objects"]) == episode.extras["object_poses"].shape[1]
    assert 0.0 <= episode.info["variation"]["table_colour"][0] <= 1.0
    env.close()


def test_bad_names_and_lengths_are_named(env):
    with pytest.raises(UnknownNameError, match="play, random, scripted"):
        record_episode(env, "scriptde", seed=0, steps=1)
    with pytest.raises(EpisodeOverError, match="24 of 24 steps"):
        record_episode(env, "idle", seed=0, steps=STEPS + 1)


def test_what_became_of_each_move_is_told_as_json(pick_env):
    bumped = {"variation": {"bump": "object", "bump_step": 2}}
    env = make("PickPlaceBox", **bumped)
    info = record_episode(env, "play", seed=1, steps=4).info
    assert json.loads(json.dumps(info, allow_nan=False)) == info
    assert info["bumped"] == [False, True, False, False]
    for name in ("successes", "distances", "contacts", "clipped", "joint_limits"):
        assert len(info[name]) == 4
    assert all(isinstance(distance, float) for distance in info["distances"])
    assert info["move_rows"] == [1, 2, 3, 4]
    env.close()
