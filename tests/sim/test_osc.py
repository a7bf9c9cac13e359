import logging

import mujoco
import numpy as np
import pytest

from vjepa_gym import kinematics
from vjepa_gym.errors import InvalidActionError, UnknownNameError, VJEPAGymError
from vjepa_gym.sim import stock
from vjepa_gym.sim.arm import SimulatedArm
from vjepa_gym.sim.osc import OSCArm
from vjepa_gym.sim.world import World

MIDDLE = np.array([0.5, 0.0, 0.25])


@pytest.fixture(scope="module")
def world():
    return World(image_size=32, actuation="torque")


@pytest.fixture
def arm(world):
    world.arrange({})
    world.arm.place(world.arm.flange_at(MIDDLE))
    return world.arm


def test_a_world_with_torques_has_this_arm(world):
    assert isinstance(world.arm, OSCArm)
    assert isinstance(world.arm, SimulatedArm)


def test_both_controllers_make_the_same_moves(arm):
    """Ten moves in a row, within a centimetre of one another at each."""
    servo = World(image_size=32)
    servo.arm.place(servo.arm.flange_at(MIDDLE))
    rng = np.random.default_rng(3)
    for _ in range(10):
        step = np.concatenate([rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.15, 0.15, 3), [0]])
        step[6] = rng.choice([-0.5, 0.0, 0.5])
        one, other = arm.move(step.astype(np.float32)), servo.arm.move(step.astype(np.float32))
        np.testing.assert_allclose(one.command, other.command, atol=0.01)
        np.testing.assert_allclose(arm.pose[:3], servo.arm.pose[:3], atol=0.01)
        apart = kinematics.difference(servo.arm.pose, arm.pose)
        np.testing.assert_allclose(apart[3:], 0.0, atol=0.03)


@pytest.mark.parametrize(("seconds", "tolerance"), [(None, 0.002), (0.2, 0.015)])
def test_a_move_ends_where_it_was_commanded(arm, seconds, tolerance):
    step = np.array([0.03, -0.03, 0.03, 0, 0, 0.1, 0], np.float32)
    move = arm.move(step, seconds)
    np.testing.assert_allclose(move.achieved[:3], step[:3], atol=tolerance)
    np.testing.assert_allclose(move.command[:3], step[:3], atol=1e-6)
    assert [move.clipped, move.contact, move.joint_limit] == [False] * 3
    assert seconds is None or move.seconds == pytest.approx(seconds)


def test_it_stays_at_rest_between_moves(arm, world):
    arm.move(np.array([0.05, 0, 0, 0, 0, 0, 0], np.float32))
    before = arm.pose
    world.settle(0.2)
    np.testing.assert_allclose(kinematics.difference(before, arm.pose), 0.0, atol=5e-3)


def test_what_is_clipped_is_said(arm):
    move = arm.move(np.array([0.2, 0, 0, 0, 0, 0, 0], np.float32))
    assert move.clipped
    assert move.achieved[0] == pytest.approx(0.075, abs=0.003)


def test_what_is_in_the_way_is_felt(arm, world):
    world.arrange({"box": np.array([0.5, 0.0, 0.0])})
    above = world.objects["box"].height + 0.01
    arm.place(arm.flange_at(np.array([0.5, 0.0, above]), closedness=1.0))
    assert arm.move(np.array([0, 0, -0.03, 0, 0, 0, 0], np.float32)).contact


@pytest.mark.parametrize("action", [np.full(7, np.nan), np.zeros(6)])
def test_a_bad_action_moves_nothing(arm, action):
    before = arm.pose
    with pytest.raises(InvalidActionError):
        arm.move(action)
    with pytest.raises(InvalidActionError, match="positive time"):
        arm.move(np.zeros(7), -1.0)
    np.testing.assert_array_equal(arm.pose, before)


def test_the_same_move_gives_the_same_bytes(arm, world):
    step = np.array([0.04, 0.02, 0, 0, 0, 0, 0.5], np.float32)
    with world.undone():
        arm.move(step)
        first = arm.pose
    arm.move(step)
    np.testing.assert_array_equal(arm.pose, first)


def test_servos_are_refused():
    servo = World(image_size=32)
    with pytest.raises(UnknownNameError, match="torque"):
        OSCArm(servo.model, mujoco.MjData(servo.model))


def test_importing_robosuite_says_and_changes_nothing(monkeypatch, capfd):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    stock.import_robosuite("robosuite.utils.binding_utils")
    assert logging.root.manager.disable == logging.NOTSET
    logging.getLogger("robosuite_logs").warning("No private macro file found!")
    assert capfd.readouterr() == ("", "")
    monkeypatch.delenv("MUJOCO_GL")
    stock.import_robosuite()
    assert "MUJOCO_GL" not in stock.os.environ


def test_without_robosuite_the_error_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(stock.importlib, "import_module", missing)
    with pytest.raises(VJEPAGymError, match="pip install robosuite"):
        stock.import_robosuite()
