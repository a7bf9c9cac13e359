import dataclasses

import numpy as np
import pytest
from episodes import make_episode
from robomimic_reader import read_demos
from robomimic_sets import open_dataset

from vjepa_gym import kinematics
from vjepa_gym.datasets.robomimic.demo import quaternion_xyzw
from vjepa_gym.datasets.robomimic.export import write_robomimic


def demo_of(tmp_path, episode):
    write_robomimic(open_dataset(tmp_path / "set", [episode]), tmp_path / "set.hdf5")
    return read_demos(tmp_path / "set.hdf5")[0]["demo_0"]


def test_an_action_beyond_the_limits_is_clipped_counted_and_kept_in_metres(tmp_path):
    episode = make_episode()
    commands = episode.commands.copy()
    commands[1, 0] = -0.3
    beyond = dataclasses.replace(episode, commands=commands)
    demo = demo_of(tmp_path, beyond)
    assert demo["actions"][1, 0] == -1
    assert demo["actions_metric"][1, 0] == pytest.approx(-0.3)
    assert demo["attrs"]["clipped_actions"] == 1


def test_success_in_the_middle_is_rewarded_and_done(tmp_path):
    episode = make_episode(steps=4)
    info = {"successes": [False, True, False, True]}
    demo = demo_of(tmp_path, dataclasses.replace(episode, info=info))
    assert demo["rewards"].tolist() == demo["dones"].tolist() == [0, 1, 0, 1]


def test_a_move_of_several_rows_is_rewarded_at_its_last(tmp_path):
    episode = make_episode(steps=5, success=False)
    info = {"successes": [True, False], "move_rows": [3, 5]}
    demo = demo_of(tmp_path, dataclasses.replace(episode, info=info))
    assert demo["rewards"].tolist() == [0, 0, 1, 0, 0]
    assert demo["dones"].tolist() == [0, 0, 1, 0, 1]


def test_an_episode_that_says_nothing_of_its_middle_is_rewarded_at_its_end(tmp_path):
    demo = demo_of(tmp_path, make_episode())
    assert demo["rewards"].tolist() == [0, 0, 0, 1]
    assert "object" not in demo["obs"]
    assert demo["states"].shape == (4, 0)


@pytest.mark.parametrize(
    ("euler", "quaternion"),
    [
        ((0, 0, 0), (0, 0, 0, 1)),
        ((np.pi, 0, 0), (1, 0, 0, 0)),
        ((-np.pi, 0, 0), (1, 0, 0, 0)),
        ((0, 0, np.pi / 2), (0, 0, np.sqrt(0.5), np.sqrt(0.5))),
    ],
)
def test_quaternions_have_the_order_x_y_z_w(euler, quaternion):
    found = quaternion_xyzw(np.array([euler], np.float32))
    np.testing.assert_allclose(found[0], quaternion, atol=1e-6)


def test_quaternions_rotate_as_the_angles_do_and_do_not_jump_at_the_wrap_of_roll():
    rng = np.random.default_rng(0)
    euler = rng.uniform(-np.pi, np.pi, (200, 3)).astype(np.float32)
    x, y, z, w = quaternion_xyzw(euler).astype(np.float64).T
    columns = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    rotation = np.moveaxis(np.array(columns), -1, 0)
    expected = kinematics.rotation_matrix(euler.astype(np.float64))
    np.testing.assert_allclose(rotation, expected, atol=1e-6)
    either_side = np.array([[np.pi - 0.01, 0, 0.3], [-np.pi + 0.01, 0, 0.3]], np.float32)
    assert np.abs(np.diff(quaternion_xyzw(either_side), axis=0)).max() < 0.02
