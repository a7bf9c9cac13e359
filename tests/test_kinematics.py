import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vjepa_gym import kinematics

angles = arrays(np.float64, (3,), elements=st.floats(-3.1, 3.1))
small = arrays(np.float64, (3,), elements=st.floats(-1.2, 1.2))
coordinates = arrays(np.float64, (3,), elements=st.floats(-2.0, 2.0))


def make_pose(position, euler, closedness):
    return np.concatenate([position, euler, [closedness]])


poses = st.builds(make_pose, coordinates, small, st.floats(0.0, 1.0))


@given(angles)
def test_a_rotation_matrix_is_a_rotation(euler):
    rotation = kinematics.rotation_matrix(euler)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(angles)
def test_euler_angles_describe_the_same_rotation(euler):
    rotation = kinematics.rotation_matrix(euler)
    again = kinematics.rotation_matrix(kinematics.euler_angles(rotation))
    np.testing.assert_allclose(again, rotation, atol=1e-6)


@given(small)
def test_euler_angles_invert_the_rotation_matrix_away_from_the_lock(euler):
    rotation = kinematics.rotation_matrix(euler)
    np.testing.assert_allclose(kinematics.euler_angles(rotation), euler, atol=1e-9)


def test_angles_are_extrinsic_xyz():
    # Roll about the fixed x, then yaw about the fixed z: y goes to z and stays there.
    rotation = kinematics.rotation_matrix(np.array([np.pi / 2, 0.0, np.pi / 2]))
    np.testing.assert_allclose(rotation @ [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(rotation @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
@pytest.mark.parametrize("roll", [0.0, 0.7, -2.0])
def test_at_the_gimbal_lock_yaw_is_zero_and_the_rotation_is_kept(pitch, roll):
    rotation = kinematics.rotation_matrix(np.array([roll, pitch, 0.4]))
    euler = kinematics.euler_angles(rotation)
    assert euler[2] == 0.0
    np.testing.assert_allclose(kinematics.rotation_matrix(euler), rotation, atol=1e-6)


@given(poses, poses)
def test_the_difference_of_two_poses_leads_from_one_to_the_other(start, end):
    reached = kinematics.integrate(start, kinematics.difference(start, end))
    np.testing.assert_allclose(reached[[0, 1, 2, 6]], end[[0, 1, 2, 6]], atol=1e-9)
    np.testing.assert_allclose(
        kinematics.rotation_matrix(reached[3:6]), kinematics.rotation_matrix(end[3:6]), atol=1e-6
    )


@given(poses)
def test_nothing_done_is_nothing_changed(pose):
    np.testing.assert_allclose(kinematics.integrate(pose, np.zeros(7)), pose, atol=1e-9)
    np.testing.assert_allclose(kinematics.difference(pose, pose), np.zeros(7), atol=1e-9)


def test_rotations_compose_on_the_left():
    pose = make_pose(np.zeros(3), np.array([0.3, -0.2, 0.5]), 0.0)
    action = make_pose(np.zeros(3), np.array([0.1, 0.2, -0.15]), 0.0)
    expected = kinematics.rotation_matrix(action[3:6]) @ kinematics.rotation_matrix(pose[3:6])
    turned = kinematics.rotation_matrix(kinematics.integrate(pose, action)[3:6])
    np.testing.assert_allclose(turned, expected, atol=1e-9)


@pytest.mark.parametrize(("closedness", "expected"), [(0.5, 1.0), (-0.75, 0.0), (0.25, 0.75)])
def test_the_gripper_neither_opens_nor_closes_beyond_its_ends(closedness, expected):
    pose, action = np.zeros(7, np.float32), np.zeros(7, np.float32)
    pose[6] = 0.5
    action[6] = closedness
    assert kinematics.integrate(pose, action)[6] == expected


def test_many_poses_are_integrated_as_each_alone():
    rng = np.random.default_rng(0)
    many = rng.uniform(-0.5, 0.5, (2, 3, 7))
    actions = rng.uniform(-0.1, 0.1, (2, 3, 7))
    together = kinematics.integrate(many, actions)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(
            together[index], kinematics.integrate(many[index], actions[index])
        )


@pytest.mark.parametrize("function", [kinematics.integrate, kinematics.difference])
def test_the_kind_of_number_and_the_arguments_are_kept(function):
    first, second = np.full(7, 0.1, np.float32), np.full(7, 0.2, np.float32)
    assert function(first, second).dtype == np.float32
    np.testing.assert_array_equal(first, np.full(7, 0.1, np.float32))
    np.testing.assert_array_equal(second, np.full(7, 0.2, np.float32))


def test_displacements_are_the_differences_of_neighbours():
    rng = np.random.default_rng(3)
    poses = rng.normal(size=(9, 7)).astype(np.float32)
    poses[4, 3:6] = [0.1, np.pi / 2, 0.3]  # where roll and yaw turn about the same axis
    found = kinematics.displacements(poses)
    np.testing.assert_array_equal(found, kinematics.difference(poses[:-1], poses[1:]))
