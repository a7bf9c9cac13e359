"""The arm under robosuite's operational-space controller, to compare with our own servos."""

import math
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vjepa_gym import kinematics
from vjepa_gym.errors import InvalidActionError, UnknownNameError
from vjepa_gym.sim.arm import LOOK, MISSED, Move, SimulatedArm, as_pose
from vjepa_gym.sim.panda import HOME, MAX_TORQUE
from vjepa_gym.sim.stock import import_robosuite
from vjepa_gym.spaces import clip_action
from vjepa_gym.types import Pose

STIFFNESS = 600.0
"""Of the controller [1/s^2]; its default of 150 stays centimetres behind."""
SLICE = 0.05
"""The controller is given a new goal this often [s], at 20 Hz, as robosuite's own default."""
SPEED, TURN_SPEED, CLOSING_SPEED = 0.30, 0.75, 2.0
"""Mean speed of its goal [m/s], [rad/s] and of the fingers [closedness/s]."""
LAG = 0.08
"""The arm follows its goal after this time [s], two over the root of the stiffness."""
SETTLING = 0.30
"""Then it comes to rest [s]."""


class OSCArm(SimulatedArm):
    """A Panda that is driven by torques, which robosuite's `OSC_POSE` computes at every step.

    It does what `SimulatedArm` does, and takes several times as long to compute it.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, gripper: str = "panda") -> None:
        """Drive the arm of a scene with `actuation="torque"`.

        Raises:
            UnknownNameError: The joints hold angles in this scene, or there is no such gripper.
            VJEPAGymError: robosuite is not installed.
        """
        super().__init__(model, data, gripper)
        self._motors = np.array([model.actuator(f"joint{i}").id for i in range(1, 8)])
        if model.actuator_biastype[self._motors].any():
            raise UnknownNameError("actuation for this controller", "servo", ["torque"])
        osc = import_robosuite("robosuite.controllers.parts.arm.osc")
        joints = [model.joint(f"joint{i}") for i in range(1, 8)]
        indices = {
            "joints": [joint.id for joint in joints],
            "qpos": [joint.qposadr[0] for joint in joints],
            "qvel": [joint.dofadr[0] for joint in joints],
        }
        self._controller = osc.OperationalSpaceController(
            _as_robosuite_sees(model, data),
            ref_name="flange",
            part_name="arm",
            naming_prefix="",
            joint_indexes=indices,
            actuator_range=(-MAX_TORQUE, MAX_TORQUE),
            kp=STIFFNESS,
            input_type="absolute",
            input_ref_frame="world",
        )
        self._controller.initial_joint = HOME

    @property
    def set_point(self) -> Pose:
        """The pose that the controller is given now; between moves, to stay."""
        position, rotation, closedness = self._told or (*self._measured(), self.closedness)
        return as_pose(position, rotation, closedness)

    def move(self, action: ArrayLike, seconds: float | None = None) -> Move:
        """Displace the flange by `action` from where it is, and say what became of it.

        Args:
            action: The displacement.
            seconds: How long the move takes, whether it has settled or not; by default as long as
                it needs to settle.

        Raises:
            InvalidActionError: Not seven finite numbers, or no time; nothing moves.
        """
        if seconds is not None and not self.model.opt.timestep <= seconds < np.inf:
            raise InvalidActionError(f"A move takes a positive time, got {seconds} s.")
        command, clipped = clip_action(action)
        start, begin = self._measured()
        closed = self.gripper.closedness(self.data)
        turn = kinematics.rotation_matrix(command[3:6].astype(np.float64))
        target, held_back = self._within_workspace(start + command[:3], turn @ begin)
        command[:3] = target - start
        _, error = self._inverse.solve(self.joints.astype(np.float64), target, turn @ begin)
        closedness = float(np.clip(self.closedness + command[6], 0.0, 1.0))
        travel = _travel_time(command, closedness - self.closedness)
        if seconds is not None:
            travel = min(travel, max(seconds - 2 * LAG, SLICE))
        steps = math.ceil((seconds or travel + SETTLING) / self.model.opt.timestep - 1e-6)
        contact = self._pull((start, begin), (command[:3], turn), closedness, travel, steps)
        end, turned = self._measured()
        moved = [*(end - start), *kinematics.euler_angles(turned @ begin.T)]
        return Move(
            command=command,
            achieved=np.array([*moved, self.gripper.closedness(self.data) - closed], np.float32),
            clipped=clipped or held_back,
            contact=contact,
            joint_limit=error > MISSED,
            seconds=steps * self.model.opt.timestep,
        )

    def _pull(
        self,
        start: tuple[np.ndarray, np.ndarray],
        way: tuple[np.ndarray, np.ndarray],
        closedness: float,
        travel: float,
        steps: int,
    ) -> bool:
        """Draw the arm along the way from the start; return whether anything was touched."""
        model, data, controller = self.model, self.data, self._controller
        rotation_vector = _rotation_vector(way[1])
        every = round(SLICE / model.opt.timestep)
        grip, touched, told = self.closedness, False, (*start, self.closedness)
        for i in range(steps):
            if i % every == 0:
                share = min(1.0, (i + every) * model.opt.timestep / travel)
                goal = _rotation(share * rotation_vector) @ start[1]
                position = start[0] + share * way[0]
                controller.set_goal(np.concatenate([position, _rotation_vector(goal)]))
                told = (position, goal, grip + share * (closedness - grip))
                self.gripper.command(data, told[2])
            mujoco.mj_step1(model, data)
            data.ctrl[self._motors] = controller.run_controller()
            mujoco.mj_step2(model, data)
            if self.on_step is not None:
                self._told = told
                self.on_step()
            touched = touched or (i % LOOK == 0 and self._touching(data))
        self.closedness, self._told = closedness, None
        mujoco.mj_forward(model, data)
        self._hold()
        return touched or self._touching(data)

    def _hold(self) -> None:
        """Leave torques under which the arm stays at rest until the controller is asked again."""
        inertia = np.empty((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, inertia, self.data.qM)
        arm = inertia[np.ix_(self._controller.qvel_index, self._controller.qvel_index)]
        self.data.ctrl[self._motors] -= arm @ self.data.qacc[self._controller.qvel_index]
        mujoco.mj_forward(self.model, self.data)


def _travel_time(command: np.ndarray, fingers: float) -> float:
    """Return how long the controller's goal is on its way [s]."""
    path = float(np.linalg.norm(command[:3])) / SPEED
    turn = float(np.linalg.norm(command[3:6])) / TURN_SPEED
    return max(path, turn, abs(fingers) / CLOSING_SPEED, SLICE)


def _as_robosuite_sees(model: mujoco.MjModel, data: mujoco.MjData) -> Any:
    """Return a simulation with as much of the interface of robosuite's `MjSim` as is asked for."""
    jacobian = np.zeros((2, 3, model.nv))

    def jacobians(site: str) -> np.ndarray:
        mujoco.mj_jacSite(model, data, jacobian[0], jacobian[1], model.site(site).id)
        return jacobian

    def velocity(site: str, part: int) -> np.ndarray:
        # The controller asks for its base as well, which stands still.
        return np.zeros(3) if site == "arm_center" else jacobians(site)[part] @ data.qvel

    class Data:
        """MuJoCo's state under robosuite's names."""

        def __getattr__(self, name: str) -> Any:
            return getattr(data, name)

        @property
        def qfrc_bias(self) -> np.ndarray:
            # The weight, which this scene compensates by itself, would be compensated twice.
            return data.qfrc_bias - data.qfrc_gravcomp

        def get_site_jacp(self, site: str) -> np.ndarray:
            return jacobians(site)[0]

        def get_site_jacr(self, site: str) -> np.ndarray:
            return jacobians(site)[1]

        def get_site_xvelp(self, site: str) -> np.ndarray:
            return velocity(site, 0)

        def get_site_xvelr(self, site: str) -> np.ndarray:
            return velocity(site, 1)

    return SimpleNamespace(
        model=SimpleNamespace(
            _model=model,
            nv=model.nv,
            site_name2id=lambda name: model.site(name).id,
            joint_id2name=lambda joint: model.joint(joint).name,
        ),
        data=Data(),
        forward=lambda: mujoco.mj_forward(model, data),
    )


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector


def _rotation(vector: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(vector))
    quaternion, rotation = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, vector / max(angle, 1e-12), angle)
    mujoco.mju_quat2Mat(rotation, quaternion)
    return rotation.reshape(3, 3)
