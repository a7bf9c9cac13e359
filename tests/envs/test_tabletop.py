import gc
import hashlib
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from vjepa_gym.envs import IDS, REACH, TASKS, env_id
from vjepa_gym.envs.factors import factors
from vjepa_gym.envs.making import MAKERS
from vjepa_gym.errors import (
    EpisodeOverError,
    InvalidActionError,
    PlacementError,
    UnknownNameError,
    UnsolvableError,
    VariationError,
)

STILL = np.zeros(7, np.float32)
PICK = env_id("PickPlaceCup")


@pytest.fixture(scope="module")
def env():
    env = gym.make(PICK, image_size=64, expert_actions=True)
    yield env
    env.close()


def bytes_of(env, seed, variation=None, steps=2):
    observation, info = env.reset(seed=seed, options={"variation": variation or {}})
    run = [observation["image"], observation["pose"], info["goal"]["images"]]
    for _ in range(steps):
        observation, *_, info = env.step(np.array([0.02, 0.01, -0.02, 0, 0, 0, 0.1], np.float32))
        run += [observation["image"], observation["pose"]]
    return hashlib.sha256(b"".join(array.tobytes() for array in run)).hexdigest()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_passes_gymnasiums_checker_and_has_its_steps(task):
    env = gym.make(env_id(task), image_size=32, render_mode="rgb_array", goal_images=False)
    assert env.unwrapped.horizon == sum(MAKERS[task]().steps)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_goal_images_show_each_view_and_poses_say_where_they_were_taken(env):
    observation, info = env.reset(seed=0)
    goal = info["goal"]
    assert goal["images"].shape == (3, 64, 64, 3)
    assert goal["steps"].tolist() == [4, 10, 4]
    assert not np.array_equal(goal["images"][0], goal["images"][2])
    assert goal["poses"][0, 6] > 0.1 > goal["poses"][2, 6]
    assert info["rejected"] == 0
    assert not info["is_success"]
    np.testing.assert_array_equal(env.unwrapped.world.image(), observation["image"])


def test_the_expert_of_the_environment_does_what_the_goal_images_show(env):
    _, info = env.reset(seed=1)
    for _ in range(18):
        observation, reward, terminated, truncated, info = env.step(info["expert_action"])
    assert info["is_success"]
    assert reward == 1.0
    assert not terminated
    assert truncated
    with pytest.raises(EpisodeOverError, match=r"18 of 18 steps.*reset"):
        env.unwrapped.step(STILL)
    assert observation["image"].shape == (64, 64, 3)


def test_one_view_instead_of_three_if_wanted():
    env = gym.make(PICK, image_size=32, subgoals=False)
    _, info = env.reset(seed=0)
    assert info["goal"]["images"].shape == (1, 32, 32, 3)
    assert info["goal"]["steps"].tolist() == [18]
    env.close()


def test_the_same_seed_and_variation_give_the_same_bytes_here_and_in_another_process(env):
    varied = {"camera_azimuth": "random", "actuation_noise": 0.01, "bump": "arm", "bump_step": 1}
    here = bytes_of(env, 5, varied)
    bytes_of(env, 6)
    assert bytes_of(env, 5, varied) == here
    code = (
        "import gymnasium, sys; sys.path.insert(0, 'tests/envs')\n"
        "from test_tabletop import *\n"
        f"env = gym.make(PICK, image_size=64); print(bytes_of(env, 5, {varied!r}))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.split()[-1] == here


def test_an_episode_without_goal_images_begins_as_the_same_one_with_them(env):
    first, with_images = env.reset(seed=2)
    second, without = env.reset(seed=2, options={"goal_images": False})
    np.testing.assert_array_equal(first["image"], second["image"])
    assert "images" not in without["goal"]
    assert with_images["distance"] == without["distance"]


def test_what_differed_is_recorded_and_gives_the_episode_again(env):
    unwrapped = env.unwrapped
    _, info = env.reset(seed=3, options={"goal_images": False, "variation": "wide"})
    recorded = info["variation"]
    assert unwrapped.variation_space.contains(recorded)
    assert set(recorded) == set(factors(unwrapped.world.lab))
    tool, cup = unwrapped.world.arm.tool, unwrapped.world.object_pose("cup")
    env.reset(seed=99, options={"goal_images": False, "variation": recorded})
    np.testing.assert_allclose(unwrapped.world.arm.tool, tool, atol=2e-3)
    np.testing.assert_allclose(unwrapped.world.object_pose("cup")[:3], cup[:3], atol=2e-3)


def test_arm_object_and_goal_begin_where_the_variation_says(env):
    said = {
        "arm_start": [0.5, 0.05, 0.25],
        "object_start": [0.5, -0.05, 0.1],
        "goal": [0.6, 0.15, 0.05],
    }
    env.reset(seed=0, options={"goal_images": False, "variation": said})
    world, task = env.unwrapped.world, env.unwrapped.task
    np.testing.assert_allclose(world.arm.tool, said["arm_start"], atol=5e-3)
    np.testing.assert_allclose(world.object_pose("cup")[:2], said["object_start"][:2], atol=5e-3)
    np.testing.assert_allclose(task.desired_goal(world)[:2], said["goal"][:2], atol=1e-3)


def test_noise_moves_the_arm_elsewhere_than_it_was_told_and_a_bump_moves_it_once(env):
    for variation, bumps in (({"actuation_noise": 0.02}, 0), ({"bump": "arm", "bump_step": 2}, 1)):
        env.reset(seed=4, options={"goal_images": False, "variation": variation})
        infos = [env.step(STILL)[-1] for _ in range(4)]
        assert sum(info["bumped"] for info in infos) == bumps
        if not bumps:
            assert max(np.abs(info["achieved"][:3]).max() for info in infos) > 0.005
            assert all(np.abs(info["command"]).max() < 1e-6 for info in infos)


def test_an_object_that_is_pushed_lies_elsewhere_and_the_expert_goes_after_it(env):
    variation = {"bump": "object", "bump_step": 1}
    _, info = env.reset(seed=7, options={"goal_images": False, "variation": variation})
    world, moved = env.unwrapped.world, 0.0
    for _ in range(18):
        before = world.object_pose("cup")[:2]
        *_, info = env.step(info["expert_action"])
        if info["bumped"]:
            moved = np.linalg.norm(world.object_pose("cup")[:2] - before)
    assert moved > 0.02
    assert info["is_success"]


def test_a_goal_that_somebody_made_replaces_the_tasks_own(env):
    goal = {
        "images": np.zeros((2, 64, 64, 3), np.uint8),
        "steps": [3, 4],
        "poses": np.array([[0.5, 0, 0.35, np.pi, 0, 0, 0]] * 2, np.float32),
    }
    _, info = env.reset(seed=0, options={"goal": goal})
    np.testing.assert_array_equal(info["goal"]["images"], goal["images"])
    for _ in range(7):
        *_, info = env.step(info["expert_action"])
    assert info["is_success"]
    _, info = env.reset(seed=0, options={"goal": goal | {"poses": None}})
    assert np.isnan(info["distance"])
    assert not info["is_success"]
    with pytest.raises(PlacementError, match="as many"):
        env.reset(seed=0, options={"goal": goal | {"steps": [3]}})
    goal["poses"][1, 0] = 3.0
    with pytest.raises(PlacementError, match="workspace"):
        env.reset(seed=0, options={"goal": goal})


def test_several_cameras_rewards_and_ends():
    env = gym.make(
        REACH,
        image_size=32,
        cameras=("wrist", "left", "right"),
        reward="dense",
        terminate_on_success=True,
        expert_actions=True,
    )
    observation, info = env.reset(seed=0)
    assert set(observation) == {"image", "pose", "left", "right"}
    assert not np.array_equal(observation["left"], observation["right"])
    rewards, terminated = [], False
    while not terminated:
        _, reward, terminated, _, info = env.step(info["expert_action"])
        rewards.append(reward)
    assert rewards == sorted(rewards)
    assert rewards[-1] == 1.0 > rewards[0] > 0.0
    env.close()


def test_moves_of_a_fixed_length_do_not_wait_until_the_arm_has_settled():
    env = gym.make(REACH, image_size=32, step_seconds=0.2, goal_images=False)
    env.reset(seed=0)
    *_, info = env.step(np.array([0.07, 0, 0, 0, 0, 0, 0], np.float32))
    assert info["step_seconds"] == 0.2
    env.close()


def test_bad_words_and_numbers_are_answered_with_what_would_have_worked(env):
    env.reset(seed=0)
    with pytest.raises(InvalidActionError):
        env.unwrapped.step(np.full(7, np.nan, np.float32))
    with pytest.raises(UnknownNameError, match="goal_images"):
        env.unwrapped.reset(options={"goal_image": True})
    with pytest.raises(VariationError, match="goal"):
        env.unwrapped.reset(options={"variation": {"goal": [3.0, 0.0, 0.1]}})
    for said, kwargs in {
        "left, right, wrist": {"cameras": ("top",)},
        "test, train": {"lab": "kitchen"},
        "panda, robotiq": {"gripper": "hook"},
        "osc, servo": {"controller": "pid"},
        "dense, sparse": {"reward": "shaped"},
        "human, rgb_array": {"render_mode": "ascii"},
    }.items():
        with pytest.raises(UnknownNameError, match=said):
            gym.make(REACH, **kwargs)
    for said, kwargs in {
        "different ones": {"cameras": ("left", "left")},
        "at least 16 px": {"image_size": 0},
        "such as": {"image_size": [64, 64, 3]},
        "horizon must be at least 1": {"horizon": 0},
        "must be positive": {"step_seconds": 0.0},
    }.items():
        with pytest.raises(ValueError, match=said):
            gym.make(REACH, **kwargs)
    with pytest.raises(VariationError, match="below the 18 steps"):
        env.unwrapped.reset(options={"variation": {"bump": "arm", "bump_step": 18}})
    with pytest.raises(EpisodeOverError, match="No episode has begun"):
        gym.make(REACH, image_size=16).unwrapped.step(STILL)


def test_a_task_that_the_expert_cannot_do_is_not_begun(env, monkeypatch):
    monkeypatch.setattr(env.unwrapped.task, "expert", lambda world: STILL)
    env.unwrapped.reset(seed=50, options={"goal_images": False})
    with pytest.raises(UnsolvableError, match="none of"):
        env.unwrapped.reset(seed=50)


def test_resets_leave_nothing_behind(env):
    def resident():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    seen = []
    for seed in range(150):
        env.unwrapped.reset(seed=seed, options={"goal_images": False})
        if seed % 50 == 49:
            seen.append(resident())
    assert seen[-1] - seen[0] < 5.0  # MB; ten thousand in tests/long


def test_every_id_is_ours_and_bad_ones_are_named():
    assert len(IDS) == 7
    assert all(name in gym.registry for name in IDS)


# Drawing contexts do not survive a fork, hence `spawn`.
@pytest.mark.parametrize(("mode", "how"), [("sync", {}), ("async", {"context": "spawn"})])
def test_it_runs_as_a_vector_environment(env, mode, how):
    envs = gym.make_vec(
        PICK,
        num_envs=2,
        vectorization_mode=mode,
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED, **how},
        image_size=64,
    )
    observation, info = envs.reset(seed=[5, 6])
    alone, _ = env.reset(seed=6)
    assert info["goal"]["images"].shape == (2, 3, 64, 64, 3)
    assert info["variation"]["camera_azimuth"].shape == (2,)
    np.testing.assert_array_equal(observation["image"][1], alone["image"])
    np.testing.assert_array_equal(observation["pose"][1], alone["pose"])
    _, reward, _, _, info = envs.step(np.zeros((2, 7), np.float32))
    assert reward.shape == info["distance"].shape == (2,)
    envs.close()
