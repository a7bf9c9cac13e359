"""The torch kinematics is the NumPy one, on any leading axes, and can be differentiated."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vjepa_gym import kinematics
from vjepa_gym.world_models import poses

seeds = st.integers(0, 2**31 - 1)


def random_poses(seed: int, shape: tuple[int, ...] = (4,)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = [-1.0] * 3 + [-3.1, -1.5, -3.1, 0.0], [1.0] * 3 + [3.1, 1.5, 3.1, 1.0]
    return rng.uniform(low, high, (*shape, 7)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_integrate_equals_the_numpy_one(seed: int) -> None:
    pose, action = random_poses(seed, (2, 3)), random_poses(seed + 1, (2, 3))
    ours = poses.integrate(torch.from_numpy(pose), torch.from_numpy(action)).numpy()
    np.testing.assert_allclose(ours, kinematics.integrate(pose, action), atol=2e-6)


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_difference_equals_the_numpy_one(seed: int) -> None:
    start, end = random_poses(seed), random_poses(seed + 1)
    ours = poses.difference(torch.from_numpy(start), torch.from_numpy(end)).numpy()
    np.testing.assert_allclose(ours, kinematics.difference(start, end), atol=2e-6)


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_integrating_a_difference_arrives(seed: int) -> None:
    start, end = (torch.from_numpy(random_poses(s)).double() for s in (seed, seed + 1))
    torch.testing.assert_close(poses.integrate(start, poses.difference(start, end)), end)


@pytest.mark.parametrize("pitch", [math.pi / 2, -math.pi / 2])
def test_a_gimbal_lock_gives_the_same_rotation_with_zero_yaw(pitch: float) -> None:
    rotation = poses.rotation_matrix(torch.tensor([0.3, pitch, 0.2]).double())
    angles = poses.euler_angles(rotation)
    assert angles[2] == 0.0
    torch.testing.assert_close(poses.rotation_matrix(angles), rotation)
    np.testing.assert_allclose(angles, kinematics.euler_angles(rotation.numpy()), atol=1e-12)


def test_the_gripper_stays_between_open_and_closed() -> None:
    pose, action = torch.zeros(2, 7), torch.zeros(2, 7)
    action[:, 6] = torch.tensor([-0.4, 1.7])
    assert poses.integrate(pose, action)[:, 6].tolist() == [0.0, 1.0]


def test_a_pose_can_be_differentiated_by_its_action() -> None:
    action = torch.full((7,), 0.1, requires_grad=True)
    poses.integrate(torch.full((7,), 0.2), action).sum().backward()
    assert action.grad is not None
    assert (action.grad[[0, 1, 2, 6]] == 1.0).all()
    assert action.grad[poses.ANGLES].isfinite().all()


@given(angle=st.floats(-20, 20), turns=st.integers(-3, 3))
def test_wrapping_forgets_whole_turns(angle: float, turns: int) -> None:
    once = poses.wrap_angle(torch.tensor(angle, dtype=torch.float64))
    again = poses.wrap_angle(torch.tensor(angle + turns * 2 * math.pi, dtype=torch.float64))
    assert -math.pi - 1e-9 < once <= math.pi + 1e-9
    assert math.isclose(math.cos(once), math.cos(angle), abs_tol=1e-9)
    assert math.isclose(math.sin(once - again), 0.0, abs_tol=1e-9)


def test_wrapping_leaves_angles_within_half_a_turn_untouched() -> None:
    angles = torch.linspace(-3.14, 3.14, 101)
    assert torch.equal(poses.wrap_angle(angles), angles)
    assert poses.wrap_angle(torch.tensor(-math.pi, dtype=torch.float64)) == math.pi


def test_following_actions_visits_every_pose_on_the_way() -> None:
    start, actions = torch.from_numpy(random_poses(1, (2,))), torch.full((2, 3, 7), 0.1)
    visited = poses.follow(start, actions)
    assert visited.shape == (2, 3, 7)
    second = poses.integrate(poses.integrate(start, actions[:, 0]), actions[:, 1])
    assert torch.equal(visited[:, 1], second)
