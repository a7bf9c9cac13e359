import mujoco
import numpy as np
import pytest

from vjepa_gym import kinematics, spaces
from vjepa_gym.errors import InvalidActionError, WorkspaceError
from vjepa_gym.sim.arm import SimulatedArm, tool_centre
from vjepa_gym.sim.panda import FLANGE_TO_TCP
from vjepa_gym.sim.scene import load_scene

MIDDLE = np.array([0.5, 0.0, 0.35, np.pi, 0.0, 0.0, 0.0], np.float32)


@pytest.fixture
def arm():
    model = load_scene()
    data = mujoco.MjData(model)
    data.joint("cup").qpos[:2], data.joint("box").qpos[:2] = [0.7, 0.28], [0.7, -0.28]
    mujoco.mj_forward(model, data)
    arm = SimulatedArm(model, data)
    arm.place(MIDDLE)
    return arm


def action(**axes):
    names = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
    return np.array([axes.get(name, 0.0) for name in names], np.float32)


def test_a_placed_arm_is_at_rest_where_it_was_put(arm):
    np.testing.assert_allclose(kinematics.difference(MIDDLE, arm.pose), 0.0, atol=1e-3)
    before = arm.pose
    arm.move(action())
    np.testing.assert_allclose(arm.pose, before, atol=1e-3)


def test_the_tool_centre_lies_below_a_flange_that_points_down():
    np.testing.assert_allclose(tool_centre(MIDDLE), MIDDLE[:3] - [0, 0, FLANGE_TO_TCP], atol=1e-6)


def test_random_moves_end_within_three_millimetres_of_the_command(arm):
    rng = np.random.default_rng(0)
    for _ in range(20):
        arm.place(MIDDLE)
        move = arm.move(action(**dict(zip("xyz", rng.uniform(-0.075, 0.075, 3), strict=True))))
        np.testing.assert_allclose(move.achieved[:3], move.command[:3], atol=3e-3)
        assert not move.clipped


def test_a_rotation_composes_on_the_left(arm):
    turn = action(roll=0.1, pitch=-0.15, yaw=0.2)
    expected = kinematics.integrate(arm.pose, turn)
    arm.move(turn)
    error = kinematics.difference(expected, arm.pose)
    np.testing.assert_allclose(error[3:6], 0.0, atol=0.01)


def test_a_move_takes_between_a_fifth_and_three_fifths_of_a_second(arm):
    assert arm.move(action(x=0.001)).seconds == pytest.approx(0.2)
    assert arm.move(action(x=-0.075, y=0.075, z=0.075)).seconds == pytest.approx(0.533, abs=0.01)
    assert arm.move(action(closedness=0.75)).seconds == pytest.approx(0.6)


def test_the_hand_closes_and_opens_by_what_it_is_told(arm):
    arm.move(action(closedness=0.5))
    assert arm.pose[6] == pytest.approx(0.5, abs=0.05)
    arm.move(action(closedness=0.75))
    assert arm.pose[6] == pytest.approx(1.0, abs=0.05)
    arm.move(action(closedness=-0.75))
    arm.move(action(closedness=-0.75))
    assert arm.pose[6] == pytest.approx(0.0, abs=0.05)


def test_too_large_an_action_is_clipped_axis_by_axis_and_said_to_be(arm):
    move = arm.move(action(x=0.2, y=0.01))
    assert move.clipped
    np.testing.assert_allclose(move.command[:2], [0.075, 0.01], atol=1e-6)


def test_the_tool_centre_stays_inside_the_workspace(arm):
    clipped = [arm.move(action(z=-0.075)).clipped for _ in range(5)]
    assert tool_centre(arm.pose)[2] > spaces.WORKSPACE_LOW[2] - 3e-3
    assert clipped[0] is False
    assert clipped[-1] is True


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), np.array([np.inf] + [0.0] * 6)])
def test_a_bad_action_is_an_error_and_the_arm_does_not_move(arm, bad):
    before = arm.data.qpos.copy()
    with pytest.raises(InvalidActionError):
        arm.move(bad)
    np.testing.assert_array_equal(arm.data.qpos, before)


def test_a_pose_out_of_reach_is_an_error_that_says_how_far(arm):
    far = MIDDLE.copy()
    far[0] = 1.5
    with pytest.raises(WorkspaceError, match="mm away"):
        arm.place(far)


def test_the_servos_hold_the_robot_against_gravity(arm):
    before = arm.pose
    for _ in range(10):
        arm.move(action())
    np.testing.assert_allclose(arm.pose[:3], before[:3], atol=1e-4)
