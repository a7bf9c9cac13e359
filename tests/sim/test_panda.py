import mujoco
import numpy as np
import pytest

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.panda import HOME, MAX_TORQUE, panda


def without_looks(gripper="panda", actuation="servo"):
    """Return the robot without what is only drawn, which takes most of the time to compile."""
    robot = panda(gripper, actuation)
    for geom in list(robot.geoms):
        if not (geom.contype or geom.conaffinity):
            robot.delete(geom)
    solid = {geom.meshname for geom in robot.geoms}
    for mesh in list(robot.meshes):
        if mesh.name not in solid:
            robot.delete(mesh)
    return robot.compile()


def joints(model, data):
    return np.array([data.joint(f"joint{i}").qpos[0] for i in range(1, 8)])


def at_home(model):
    data = mujoco.MjData(model)
    for i, angle in enumerate(HOME, start=1):
        data.joint(f"joint{i}").qpos[0] = angle
    return data


def test_servos_hold_the_angles_that_they_are_given():
    model = without_looks()
    data = at_home(model)
    for i, angle in enumerate(HOME + 0.1, start=1):
        data.actuator(f"joint{i}").ctrl[0] = angle
    mujoco.mj_step(model, data, nstep=500)
    np.testing.assert_allclose(joints(model, data), HOME + 0.1, atol=1e-3)


def test_an_arm_that_is_driven_by_torques_weighs_nothing_and_follows_them():
    model = without_looks(actuation="torque")
    data = at_home(model)
    mujoco.mj_step(model, data, nstep=500)
    np.testing.assert_allclose(joints(model, data), HOME, atol=1e-6)
    data.actuator("joint4").ctrl[0] = 1.0
    mujoco.mj_step(model, data, nstep=100)
    assert joints(model, data)[3] > HOME[3] + 0.001
    assert data.actuator("joint4").force[0] == pytest.approx(1.0)


@pytest.mark.parametrize("actuation", ["servo", "torque"])
def test_no_joint_gives_more_torque_than_the_real_one(actuation):
    model = without_looks(actuation=actuation)
    data = at_home(model)
    data.ctrl[:] = 1e3
    mujoco.mj_forward(model, data)
    torques = [data.actuator(f"joint{i}").force[0] for i in range(1, 8)]
    np.testing.assert_allclose(torques, MAX_TORQUE)


def test_an_unknown_gripper_is_an_error_that_lists_those_that_there_are():
    with pytest.raises(UnknownNameError, match="panda, robotiq"):
        panda("hook")
