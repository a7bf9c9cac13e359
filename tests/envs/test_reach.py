import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from vjepa_gym import kinematics
from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW
from vjepa_gym.envs.tasks.reach import FARTHEST, NEAREST
from vjepa_gym.errors import InvalidActionError, UnknownNameError
from vjepa_gym.sim.arm import tool_centre

ID = "vjepa_gym/FrankaReach-v0"


@pytest.fixture(scope="module")
def env():
    env = gym.make(ID, image_size=64)
    yield env
    env.close()


def test_gymnasiums_checker_has_nothing_to_say():
    env = gym.make(ID, image_size=64, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_a_seed_gives_the_same_bytes_step_after_step(env):
    runs = []
    for _ in range(2):
        observation, info = env.reset(seed=5)
        run = [observation["image"], observation["pose"], info["goal"]["images"]]
        for x in (0.05, -0.02):
            observation = env.step(np.array([x, 0.01, -x, 0, 0, 0, 0.1], np.float32))[0]
            run += [observation["image"], observation["pose"]]
        runs.append(b"".join(array.tobytes() for array in run))
    assert runs[0] == runs[1]


def test_another_seed_gives_another_episode(env):
    first, second = env.reset(seed=1)[0], env.reset(seed=2)[0]
    assert not np.array_equal(first["image"], second["image"])


def test_goals_lie_ten_to_twenty_five_centimetres_away_so_none_is_solved_at_the_start(env):
    for seed in range(30):
        observation, info = env.reset(seed=seed, options={"goal_images": False})
        start, goal = tool_centre(observation["pose"]), tool_centre(info["goal"]["poses"][0])
        assert NEAREST - 2e-3 <= info["distance"] <= FARTHEST + 2e-3
        assert np.all(start > REGION_LOW - 2e-3)
        assert np.all(start < REGION_HIGH + 2e-3)
        assert np.all((goal > REGION_LOW - 1e-3) & (goal < REGION_HIGH + 1e-3))
        assert "images" not in info["goal"]


def test_the_goal_image_is_what_is_seen_on_arriving(env):
    observation, info = env.reset(seed=3)
    goal = info["goal"]
    for _ in range(6):
        offset = kinematics.difference(observation["pose"], goal["poses"][0])
        observation, reward, terminated, _, info = env.step(np.clip(offset, -0.075, 0.075))
    assert info["distance"] < 2e-3
    assert info["is_success"]
    assert reward == 1.0
    assert not terminated
    difference = observation["image"].astype(int) - goal["images"][0].astype(int)
    assert np.abs(difference).mean() < 0.5


def test_holding_still_changes_nothing_and_earns_nothing(env):
    observation, info = env.reset(seed=4)
    after, reward, _, _, later = env.step(np.zeros(7, np.float32))
    np.testing.assert_allclose(after["pose"], observation["pose"], atol=1e-3)
    assert later["distance"] == pytest.approx(info["distance"], abs=1e-3)
    assert reward == 0.0


def test_an_episode_lasts_ten_steps(env):
    env.reset(seed=0)
    ends = [env.step(np.zeros(7, np.float32))[2:4] for _ in range(10)]
    assert ends == [(False, False)] * 9 + [(False, True)]


def test_bad_actions_names_and_options_are_errors(env):
    env.reset(seed=0)
    with pytest.raises(InvalidActionError):
        env.unwrapped.step(np.full(7, np.nan, np.float32))
    with pytest.raises(UnknownNameError, match="goal_images"):
        env.unwrapped.reset(options={"goal_image": True})
    with pytest.raises(UnknownNameError, match="left"):
        gym.make(ID, cameras=("top",))
    with pytest.raises(UnknownNameError, match="rgb_array"):
        gym.make(ID, render_mode="human")


# Drawing contexts do not survive a fork, hence `spawn`.
@pytest.mark.parametrize(("mode", "how"), [("sync", {}), ("async", {"context": "spawn"})])
def test_it_runs_as_a_vector_environment(env, mode, how):
    envs = gym.make_vec(
        ID,
        num_envs=2,
        vectorization_mode=mode,
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED, **how},
        image_size=64,
    )
    observation, info = envs.reset(seed=[5, 6])
    alone, _ = env.reset(seed=6)
    assert info["goal"]["images"].shape == (2, 1, 64, 64, 3)
    np.testing.assert_array_equal(observation["image"][1], alone["image"])
    np.testing.assert_array_equal(observation["pose"][1], alone["pose"])
    _, reward, _, _, info = envs.step(np.zeros((2, 7), np.float32))
    assert reward.shape == info["distance"].shape == (2,)
    envs.close()
