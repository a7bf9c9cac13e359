"""The hands that the arm can have: how each is built, opened, closed and measured.

A gripper's class adds it to a robot that is being composed (`add_to`); an instance drives the one
in a compiled model. The arm knows no more of its hand than the protocol `Gripper` says.
"""

from typing import ClassVar, Protocol, runtime_checkable
from xml.etree import ElementTree

import mujoco
import numpy as np

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.assets import assets
from vjepa_gym.sim.solids import FRICTION, GRIP


@runtime_checkable
class Gripper(Protocol):
    """Two fingers that close on what is between them.

    Attributes:
        finger_geoms: The collision geoms of the one finger, and of the other.
    """

    finger_geoms: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def tcp(self) -> float:
        """From the flange along its z axis to the point between the finger tips [m]."""
        ...

    def closedness(self, data: mujoco.MjData) -> float:
        """Return how far the fingers are closed: 0 open, 1 closed."""
        ...

    def command(self, data: mujoco.MjData, closedness: float) -> None:
        """Tell the fingers where to go."""
        ...

    def place(self, data: mujoco.MjData, closedness: float) -> None:
        """Put the fingers somewhere without moving there, at rest, and tell them to stay."""
        ...

    def width(self, closedness: float) -> float:
        """Return how wide the gap between the pads is [m]."""
        ...

    def closedness_at(self, width: float) -> float:
        """Return the closedness at which the gap between the pads is `width` [m]."""
        ...


@runtime_checkable
class GripperKind(Protocol):
    """What makes grippers of one kind: a class with these members."""

    @property
    def tcp(self) -> float:
        """From the flange along its z axis to the point between the finger tips [m]."""
        ...

    def __call__(self, model: mujoco.MjModel) -> Gripper:
        """Return the gripper of a compiled model."""
        ...

    def add_to(self, robot: mujoco.MjSpec) -> None:
        """Mount the gripper on the flange of a robot that is being composed."""
        ...


class PandaHand:
    """Franka's own hand: two fingers that slide."""

    tcp: ClassVar[float] = 0.1034
    """Franka's URDF."""
    REACH = 0.04
    """How far each finger is from the middle when the hand is open [m]."""
    PAD = 0.0005
    """How far a pad stands out of its finger [m]."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Drive the hand of a compiled model."""
        joints = [model.joint(f"finger_joint{i}") for i in (1, 2)]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._servos = np.array([model.actuator(f"gripper_finger_joint{i}").id for i in (1, 2)])
        first, second = (
            tuple(model.geom(f"finger{i}_{part}").id for part in ("collision", "pad_collision"))
            for i in (1, 2)
        )
        self.finger_geoms = (first, second)

    @classmethod
    def add_to(cls, robot: mujoco.MjSpec) -> None:
        """Mount the hand on the flange of `robot`."""
        hand = mujoco.MjSpec.from_file(str(assets() / "grippers" / "panda_gripper.xml"))
        robot.body("right_hand").add_frame().attach_body(hand.body("right_gripper"), "", "")
        for i in (1, 2):
            finger = robot.joint(f"finger_joint{i}")
            finger.armature, finger.damping = 0.1, [20.0, 0, 0]
            finger.frictionloss = 0.2
            for part in (f"finger{i}_collision", f"finger{i}_pad_collision"):
                _make_grippy(robot.geom(part))
        _couple(robot, "finger_joint2", "finger_joint1", -1.0)

    def closedness(self, data: mujoco.MjData) -> float:
        """Return how far the fingers are closed: 0 open, 1 closed."""
        apart = data.qpos[self._qpos] @ [0.5, -0.5]
        return float(np.clip(1.0 - apart / self.REACH, 0.0, 1.0))

    def command(self, data: mujoco.MjData, closedness: float) -> None:
        """Tell the fingers where to go."""
        data.ctrl[self._servos] = np.array([1, -1]) * self.REACH * (1 - closedness)

    def place(self, data: mujoco.MjData, closedness: float) -> None:
        """Put the fingers somewhere without moving there, at rest, and tell them to stay."""
        data.qpos[self._qpos] = np.array([1, -1]) * self.REACH * (1 - closedness)
        data.qvel[self._dof] = 0.0
        self.command(data, closedness)

    def width(self, closedness: float) -> float:
        """Return how wide the gap between the pads is [m]."""
        return 2 * (self.REACH * (1 - closedness) - self.PAD)

    def closedness_at(self, width: float) -> float:
        """Return the closedness at which the gap between the pads is `width` [m]."""
        return float(np.clip(1 - (width / 2 + self.PAD) / self.REACH, 0.0, 1.0))


class Robotiq85:
    """Robotiq's 2F-85, the gripper of DROID: parallelograms whose pads stay parallel.

    robosuite holds its linkage together with weak tendons, under which the finger tips give way;
    here each joint follows the one that is driven.
    """

    tcp: ClassVar[float] = 0.153
    """5 mm short of the tips when they hold something, 10 mm when they are closed."""
    RANGE = 0.8
    """How far the driven joint turns from open to closed [rad]."""
    KNUCKLE, LINK = 0.0306011, (0.0376, 0.043)
    """From the middle to the outer knuckle's joint, and from there to the inner finger's [m]."""
    PAD = 0.0251953
    """How far a pad's face lies inwards of the inner finger's joint [m]."""
    TORQUE, STIFFNESS, DAMPING, ARMATURE = 1.2, 8.0, 0.15, 1e-3
    """Of a finger's servo [Nm], [Nm/rad], [Nm s/rad], [kg m^2]; about 25 N at the pads."""
    FOLLOWS: ClassVar = {
        "right_outer_knuckle_joint": 1.0,
        "left_inner_knuckle_joint": 1.0,
        "right_inner_knuckle_joint": 1.0,
        "left_inner_finger_joint": -1.0,
        "right_inner_finger_joint": -1.0,
    }
    """Every joint but the one that is driven, and how far it turns for each radian of that."""

    SOLID = ("fingertip", "inner_finger")
    """What touches things, of each finger."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Drive the gripper of a compiled model."""
        joints = {name: model.joint(name) for name in ("finger_joint", *self.FOLLOWS)}
        self._qpos = np.array([joint.qposadr[0] for joint in joints.values()])
        self._dof = np.array([joint.dofadr[0] for joint in joints.values()])
        self._ratios = np.array([1.0, *self.FOLLOWS.values()])
        self._servos = np.array([model.actuator(f"finger_{i}").id for i in (1, 2)])
        first, second = (
            tuple(model.geom(f"{side}_{part}_collision").id for part in self.SOLID)
            for side in ("left", "right")
        )
        self.finger_geoms = (first, second)

    @classmethod
    def add_to(cls, robot: mujoco.MjSpec) -> None:
        """Mount the gripper on the flange of `robot`."""
        hand = _robotiq_85()
        base = hand.body("robotiq_85_adapter_link")
        robot.body("right_hand").add_frame().attach_body(base, "", "")
        for name in ("finger_joint", *cls.FOLLOWS):
            joint = robot.joint(name)
            joint.armature, joint.damping = cls.ARMATURE, [0.0, 0, 0]
            joint.range = np.array([-1, 1]) * 2
            joint.limited = False
        for i, name in enumerate(("finger_joint", "right_outer_knuckle_joint"), start=1):
            robot.joint(name).damping = [cls.DAMPING, 0, 0]
            servo = robot.actuator(f"finger_{i}")
            servo.gainprm[0], servo.biasprm[1] = cls.STIFFNESS, -cls.STIFFNESS
            servo.forcelimited, servo.forcerange = True, [-cls.TORQUE, cls.TORQUE]
        for name, ratio in cls.FOLLOWS.items():
            _couple(robot, name, "finger_joint", ratio)
        for side in ("left", "right"):
            for part in cls.SOLID:
                _make_grippy(robot.geom(f"{side}_{part}_collision"))

    def closedness(self, data: mujoco.MjData) -> float:
        """Return how far the fingers are closed: 0 open, 1 closed."""
        return float(np.clip(data.qpos[self._qpos[:2]].mean() / self.RANGE, 0.0, 1.0))

    def command(self, data: mujoco.MjData, closedness: float) -> None:
        """Tell the fingers where to go."""
        data.ctrl[self._servos] = self.RANGE * closedness

    def place(self, data: mujoco.MjData, closedness: float) -> None:
        """Put the fingers somewhere without moving there, at rest, and tell them to stay."""
        data.qpos[self._qpos] = self._ratios * self.RANGE * closedness
        data.qvel[self._dof] = 0.0
        self.command(data, closedness)

    def width(self, closedness: float) -> float:
        """Return how wide the gap between the pads is [m]."""
        out, along = self.LINK
        angle = self.RANGE * closedness
        return 2 * (self.KNUCKLE - self.PAD + out * np.cos(angle) - along * np.sin(angle))

    def closedness_at(self, width: float) -> float:
        """Return the closedness at which the gap between the pads is `width` [m]."""
        out, along = self.LINK
        length, lean = np.hypot(out, along), np.arctan2(along, out)
        reach = (width / 2 - self.KNUCKLE + self.PAD) / length
        angle = np.arccos(np.clip(reach, -1.0, 1.0)) - lean
        return float(np.clip(angle / self.RANGE, 0.0, 1.0))


GRIPPERS: dict[str, GripperKind] = {"panda": PandaHand, "robotiq": Robotiq85}


def gripper_named(name: str) -> GripperKind:
    """Return the class of a gripper.

    Raises:
        UnknownNameError: There is none of this name.
    """
    if name not in GRIPPERS:
        raise UnknownNameError("gripper", name, GRIPPERS)
    return GRIPPERS[name]


def _robotiq_85() -> mujoco.MjSpec:
    """Return robosuite's model without its tendons, and with few solid parts."""
    file = assets() / "grippers" / "robotiq_gripper_85.xml"
    root = ElementTree.parse(file).getroot()
    meshes = next(root.iter("asset"))
    for mesh in list(meshes):
        source = file.parent / mesh.attrib["file"]
        if source.is_file():
            mesh.set("file", str(source))
        else:  # one name is there twice, the second time for a file that robosuite does not ship
            meshes.remove(mesh)
    hand = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    for tendon in list(hand.tendons):
        hand.delete(tendon)
    for geom in list(hand.geoms):
        part = geom.name.partition("_")[2]
        if part in ("outer_knuckle_collision", "inner_knuckle_collision", "fingerpad_collision"):
            hand.delete(geom)
        elif part.endswith("finger_collision") or part == "fingertip_collision":
            geom.contype = 0  # touches everything but what is of the hand itself
    return hand


def _make_grippy(geom: mujoco.MjsGeom) -> None:
    geom.friction, geom.condim = FRICTION, GRIP["condim"]
    geom.solref, geom.solimp = GRIP["solref"], GRIP["solimp"]


def _couple(robot: mujoco.MjSpec, joint: str, leader: str, ratio: float) -> None:
    """Have a joint be where `ratio` times the leading joint is."""
    robot.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=joint,
        name2=leader,
        data=[0.0, ratio] + [0.0] * 9,
        solref=[0.004, 1.0],
        solimp=[0.99, 0.999, 0.001, 0.5, 2.0],
    )
