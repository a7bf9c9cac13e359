"""robosuite's Panda with a gripper, driven by joint position servos."""

import importlib.util
from pathlib import Path

import mujoco
import numpy as np

from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.sim import objects

HOME = np.array([0.0, -np.pi / 5, 0.0, -4 * np.pi / 5, 0.0, 3 * np.pi / 5, 0.0])
"""Joint angles in which DROID's episodes begin [rad] (droid/robot_env.py)."""
LINK7_TO_FLANGE = (0.0, 0.0, 0.107)
"""The flange, panda_link8, in the frame of panda_link7 [m] (Franka's URDF)."""
FLANGE_TO_TCP = 0.1034
"""From the flange along its z axis to the point between the finger tips [m] (Franka's URDF)."""

STIFFNESS = np.array([4500.0, 4500, 3500, 3500, 2000, 2000, 2000])
DAMPING = np.array([225.0, 225, 175, 175, 100, 100, 100])
MAX_TORQUE = np.array([87.0, 87, 87, 87, 12, 12, 12])
"""Joint servos: stiffness [Nm/rad], damping [Nm s/rad] and the Panda's torque limits [Nm]."""


def panda() -> mujoco.MjSpec:
    """Return robosuite's Panda with its hand, driven by joint position servos."""
    robot = mujoco.MjSpec.from_file(str(assets() / "robots" / "panda" / "robot.xml"))
    hand = mujoco.MjSpec.from_file(str(assets() / "grippers" / "panda_gripper.xml"))
    for actuator in list(robot.actuators):
        robot.delete(actuator)
    robot.body("right_hand").add_frame().attach_body(hand.body("right_gripper"), "", "")
    robot.body("link7").add_site(name="flange", pos=LINK7_TO_FLANGE)
    robot.body("link7").add_site(name="tcp", pos=np.add(LINK7_TO_FLANGE, [0.0, 0.0, FLANGE_TO_TCP]))
    for i in range(7):
        robot.add_actuator(
            name=f"joint{i + 1}",
            target=f"joint{i + 1}",
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gainprm=[STIFFNESS[i]] + [0.0] * 9,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            biasprm=[0.0, -STIFFNESS[i], -DAMPING[i]] + [0.0] * 7,
            forcelimited=True,
            forcerange=[-MAX_TORQUE[i], MAX_TORQUE[i]],
        )
    for body in robot.bodies:
        body.gravcomp = 1.0
    for i in (1, 2):
        finger = robot.joint(f"finger_joint{i}")
        finger.armature, finger.damping = 0.1, [20.0, 0, 0]
        for part in (f"finger{i}_collision", f"finger{i}_pad_collision"):
            geom = robot.geom(part)
            geom.friction, geom.condim = objects.FRICTION, objects.GRIP["condim"]
            geom.solref, geom.solimp = objects.GRIP["solref"], objects.GRIP["solimp"]
    for site in robot.sites:
        site.group = 4
    return robot


def assets() -> Path:
    """Return the folder of robosuite's MJCF files.

    Raises:
        VJEPAGymError: robosuite is not installed.
    """
    found = importlib.util.find_spec("robosuite")
    if found is None or found.origin is None:
        raise VJEPAGymError(
            "The scene is composed from robosuite's models, and robosuite is not installed: "
            "pip install robosuite==1.5.2"
        )
    return Path(found.origin).parent / "models" / "assets"
