import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from vjepa_gym.envs import TASKS, env_id
from vjepa_gym.envs.wrappers import NormalizedAction
from vjepa_gym.errors import UnknownNameError


@pytest.mark.parametrize("task", TASKS)
def test_both_checkers_have_nothing_to_say(task):
    env = gym.make(env_id(task, state=True))
    check_env(env.unwrapped, skip_render_check=True)
    with pytest.warns(UserWarning, match="normalized Box action space"):
        check_for_sb3(env.unwrapped)
    env.close()


@pytest.mark.parametrize("reward", ["sparse", "distance"])
def test_a_buffer_computes_the_reward_that_the_environment_gave(reward):
    env = gym.make(env_id("Reach", state=True), reward=reward, expert_actions=True)
    _, info = env.reset(seed=0)
    rewards, achieved, desired = [], [], []
    for _ in range(6):
        observation, given, _, _, info = env.step(info["expert_action"])
        rewards.append(given)
        achieved.append(observation["achieved_goal"])
        desired.append(observation["desired_goal"])
    computed = env.unwrapped.compute_reward(np.stack(achieved), np.stack(desired), {})
    np.testing.assert_array_equal(computed, np.array(rewards, np.float32))
    assert computed.dtype == np.float32
    assert rewards[-1] > -0.05
    env.close()


def test_nothing_is_drawn_and_the_share_that_is_done_is_a_reward_too():
    env = gym.make(env_id("PickPlaceBox", state=True), reward="dense", expert_actions=True)
    _, info = env.reset(seed=0)
    assert "images" not in info["goal"]
    rewards = []
    for _ in range(18):
        observation, reward, *_, info = env.step(info["expert_action"])
        rewards.append(reward)
    assert observation["observation"].shape == (19,)
    assert rewards[-1] == 1.0
    assert 0.0 <= min(rewards) < 0.9
    env.close()
    with pytest.raises(UnknownNameError, match="dense, distance, sparse"):
        gym.make(env_id("Reach", state=True), reward="her")


def test_hindsight_replay_learns_from_it_for_a_few_steps():
    env = NormalizedAction(gym.make(env_id("Reach", state=True)))
    model = SAC(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        learning_starts=30,
        batch_size=16,
        policy_kwargs={"net_arch": [16]},
        device="cpu",
    )
    model.learn(40)
    assert model.num_timesteps == 40
    env.close()
