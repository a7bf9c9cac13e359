"""robosuite's Panda with a gripper, driven by joint position servos or by torques."""

from typing import Literal

import mujoco
import numpy as np

from vjepa_gym.sim.assets import assets
from vjepa_gym.sim.grippers import gripper_named

HOME = np.array([0.0, -np.pi / 5, 0.0, -4 * np.pi / 5, 0.0, 3 * np.pi / 5, 0.0])
"""Joint angles in which DROID's episodes begin [rad] (droid/robot_env.py)."""
LINK7_TO_FLANGE = (0.0, 0.0, 0.107)
"""The flange, panda_link8, in the frame of panda_link7 [m] (Franka's URDF)."""

STIFFNESS = np.array([4500.0, 4500, 3500, 3500, 2000, 2000, 2000])
DAMPING = np.array([225.0, 225, 175, 175, 100, 100, 100])
MAX_TORQUE = np.array([87.0, 87, 87, 87, 12, 12, 12])
"""Joint servos: stiffness [Nm/rad], damping [Nm s/rad] and the Panda's torque limits [Nm]."""


def panda(gripper: str = "panda", actuation: Literal["servo", "torque"] = "servo") -> mujoco.MjSpec:
    """Return robosuite's Panda with a gripper; its weight is compensated.

    Args:
        gripper: One of `grippers.GRIPPERS`.
        actuation: What the controls `joint1` to `joint7` are: the angle that a servo holds [rad],
            or a torque [Nm].

    Raises:
        UnknownNameError: There is no such gripper.
    """
    hand = gripper_named(gripper)
    robot = mujoco.MjSpec.from_file(str(assets() / "robots" / "panda" / "robot.xml"))
    for actuator in list(robot.actuators):
        robot.delete(actuator)
    hand.add_to(robot)
    robot.body("link7").add_site(name="flange", pos=LINK7_TO_FLANGE)
    robot.body("link7").add_site(name="tcp", pos=np.add(LINK7_TO_FLANGE, [0.0, 0.0, hand.tcp]))
    for i in range(7):
        _actuate(robot, i, servo=actuation == "servo")
    for body in robot.bodies:
        body.gravcomp = 1.0
    for site in robot.sites:
        site.group = 4
    return robot


def _actuate(robot: mujoco.MjSpec, i: int, *, servo: bool) -> None:
    """Give joint `i`, counted from 0, its servo or its motor."""
    motor = robot.add_actuator(
        name=f"joint{i + 1}",
        target=f"joint{i + 1}",
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        forcelimited=True,
        forcerange=[-MAX_TORQUE[i], MAX_TORQUE[i]],
    )
    if servo:
        motor.gainprm = [STIFFNESS[i]] + [0.0] * 9
        motor.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        motor.biasprm = [0.0, -STIFFNESS[i], -DAMPING[i]] + [0.0] * 7
