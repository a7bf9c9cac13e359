"""The simulated arm: joint servos that follow inverse kinematics, one move at a time."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from vjepa_gym import kinematics
from vjepa_gym.errors import InvalidActionError, WorkspaceError
from vjepa_gym.sim.grippers import gripper_named
from vjepa_gym.sim.inverse_kinematics import InverseKinematics
from vjepa_gym.sim.panda import DAMPING, HOME, MAX_TORQUE, STIFFNESS
from vjepa_gym.sim.touching import Touching
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW, clip_action
from vjepa_gym.types import Action, Pose

SPEED, TURN_SPEED, CLOSING_SPEED = 0.5, 1.5, 2.5
"""Mean speed of a move [m/s], of a turn [rad/s] and of the fingers [closedness/s]."""
JOINT_SPEED, EFFORT = 2.1, 0.7
"""No joint turns faster [rad/s], none accelerates with more than this share of its torque."""
PEAK_SPEED, PEAK_ACCELERATION = 1.875, 5.774
"""Of a set-point that goes from 0 to 1 in a second."""
SHORTEST, LONGEST = 0.1, 0.95
"""The set-points travel at least and at most this long [s]."""
SETTLING = 0.05
"""Then it stays, while the arm comes to rest [s]."""
LOOK = 10
"""Every so many steps of the simulation it is seen what is touched."""
MISSED = 1e-3
"""The arm cannot reach what its joints come no nearer to than this [m]."""
DOWN = np.array([np.pi, 0.0, 0.0])
"""Roll, pitch, yaw of the flange [rad] when the hand points straight down, as when DROID's
episodes begin; the fingers then open across the view of the camera `left`."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """What became of an action.

    Attributes:
        command: The displacement that was commanded, within the limits and the workspace; after a
            contact it turns back what that turned.
        achieved: The displacement that was measured at the end.
        clipped: Whether the action had to be changed to become the command: a limit of the action
            or of the workspace.
        contact: Whether the arm, the hand or what it holds touched anything on the way, other than
            what is between the fingers.
        joint_limit: Whether no joint angles lead to where the command does, or none soon enough.
        seconds: How long the move took.
    """

    command: Action
    achieved: Action
    clipped: bool
    contact: bool
    joint_limit: bool
    seconds: float


class SimulatedArm:
    """A Panda in MuJoCo that moves its flange and its fingers."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, gripper: str = "panda") -> None:
        """Drive the arm of a scene made by `scene.load_scene`, which has this gripper.

        Raises:
            UnknownNameError: There is no such gripper.
        """
        self.model, self.data = model, data
        self.gripper = gripper_named(gripper)(model)
        self.closedness = 0.0
        self.on_step: Callable[[], None] | None = None
        self._told: Any = None
        joints = [model.joint(f"joint{i}") for i in range(1, 8)]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._servos = np.array([model.actuator(f"joint{i}").id for i in range(1, 8)])
        self._holds_angles = bool(model.actuator_biastype[self._servos[0]])
        self._lead = (DAMPING + model.dof_damping[self._dof]) / STIFFNESS
        self._flange = model.site("flange").id
        self._inverse = InverseKinematics(model)
        self._touching = Touching(model, self.gripper.finger_geoms)

    @property
    def pose(self) -> Pose:
        """The measured pose of the flange and the measured closedness."""
        return as_pose(*self._measured(), self.gripper.closedness(self.data))

    @property
    def set_point(self) -> Pose:
        """The pose that the servos are led to now; between moves, where the last one ended."""
        joints, closedness = self._told or (self.data.ctrl[self._servos], self.closedness)
        return as_pose(*self._inverse.forward(joints), closedness)

    @property
    def joints(self) -> np.ndarray:
        """Joint angles [rad]."""
        return self.data.qpos[self._qpos].astype(np.float32)

    @property
    def tool(self) -> Float[np.ndarray, "3"]:
        """Where the point between the finger tips is now [m]."""
        position, rotation = self._measured()
        return position + self.gripper.tcp * rotation[:, 2]

    def tool_centre(self, pose: Float[np.ndarray, "*n 7"]) -> Float[np.ndarray, "*n 3"]:
        """Return where the point between the finger tips is [m] when the flange is at `pose`."""
        down = kinematics.rotation_matrix(np.asarray(pose[..., 3:6], np.float64))[..., 2]
        return pose[..., :3] + self.gripper.tcp * down

    def flange_at(
        self, tool: Float[np.ndarray, "3"], closedness: float = 0.0, yaw: float = 0.0
    ) -> Pose:
        """Return the flange pose of a hand that points down with its tool centre at `tool` [m].

        Args:
            tool: Where the point between the finger tips is to be, in the base frame.
            closedness: 0 open, 1 closed.
            yaw: How far the hand is turned about the vertical [rad].
        """
        position = np.asarray(tool) + [0.0, 0.0, self.gripper.tcp]
        return np.concatenate([position, DOWN + [0, 0, yaw], [closedness]]).astype(np.float32)

    @contextmanager
    def watched(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Have `watcher` called after every step of the simulation."""
        self.on_step = watcher
        try:
            yield
        finally:
            self.on_step = self._told = None

    def place(self, pose: Pose) -> None:
        """Put the arm at `pose` without moving there, at rest; for resets only.

        Raises:
            WorkspaceError: No joint configuration has its flange there.
        """
        rotation = kinematics.rotation_matrix(pose[3:6].astype(np.float64))
        joints, error = self._inverse.solve(HOME, pose[:3].astype(np.float64), rotation)
        if error > MISSED:
            raise WorkspaceError(
                f"The arm cannot reach the flange pose {np.round(pose, 3).tolist()}: the closest "
                f"configuration is {1000 * error:.0f} mm away."
            )
        self.closedness = float(pose[6])
        self.data.qpos[self._qpos] = joints
        self.data.qvel[:] = 0.0
        self.data.ctrl[self._servos] = joints if self._holds_angles else 0.0
        self.gripper.place(self.data, self.closedness)
        mujoco.mj_forward(self.model, self.data)

    def grip(self, width: float) -> None:
        """Put the fingers on an object `width` [m] wide and have them close on it; for resets only.

        `place` the arm first and put the object between the fingers; then let it settle.
        """
        self.gripper.place(self.data, self.gripper.closedness_at(width))
        self.closedness = 1.0
        self.gripper.command(self.data, self.closedness)
        mujoco.mj_forward(self.model, self.data)

    def move(self, action: ArrayLike, seconds: float | None = None) -> Move:
        """Displace the flange by `action` from where it is, and say what became of it.

        While something is touched, the rotation goes on from the one that was last commanded.

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
        target, rotation, held_back = self._aim(command)
        before = self.data.ctrl[self._servos]
        joints, error = self._inverse.solve(before, target, rotation)
        # The hand is told where to go, not how far: measured closedness stops at what it holds.
        closedness = float(np.clip(self.closedness + command[6], 0.0, 1.0))
        travel = seconds or self._travel_time(command, joints, closedness)
        hurry = travel / LONGEST if seconds is None else 0.0
        if hurry > 1.0:
            joints, travel = before + (joints - before) / hurry, LONGEST
        steps = math.ceil((seconds or travel + SETTLING) / self.model.opt.timestep - 1e-6)
        contact = self._follow(joints, closedness, travel, steps)
        end, turned = self._measured()
        moved = [*(end - start), *kinematics.euler_angles(turned @ begin.T)]
        return Move(
            command=command,
            achieved=np.array([*moved, self.gripper.closedness(self.data) - closed], np.float32),
            clipped=clipped or held_back,
            contact=contact,
            joint_limit=error > MISSED or hurry > 1.0,
            seconds=steps * self.model.opt.timestep,
        )

    def _aim(self, command: Action) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return where the flange is to go, how turned, and whether the workspace held it back.

        What is really commanded is written to `command`.
        """
        start, begin = self._measured()
        rotation = kinematics.rotation_matrix(command[3:6].astype(np.float64))
        if self._touching(self.data):
            # An arm that presses on something would be tilted further by every move.
            rotation = rotation @ self._inverse.forward(self.data.ctrl[self._servos])[1]
            command[3:6] = kinematics.euler_angles(rotation @ begin.T)
        else:
            rotation = rotation @ begin
        target, held_back = self._within_workspace(start + command[:3], rotation)
        command[:3] = target - start
        return target, rotation, held_back

    def _measured(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position [m] and rotation of the flange."""
        data, flange = self.data, self._flange
        return data.site_xpos[flange].copy(), data.site_xmat[flange].reshape(3, 3).copy()

    def _travel_time(self, command: Action, joints: np.ndarray, closedness: float) -> float:
        """Return how long the set-points travel [s]."""
        path = np.linalg.norm(command[:3]) / SPEED
        turn = np.linalg.norm(command[3:6]) / TURN_SPEED
        fingers = abs(closedness - self.closedness) / CLOSING_SPEED
        way = joints - self.data.ctrl[self._servos]
        joint = PEAK_SPEED * np.abs(way).max() / JOINT_SPEED
        torque = PEAK_ACCELERATION * np.abs(self._inertia() @ way) / (EFFORT * MAX_TORQUE)
        return float(max(path, turn, fingers, joint, np.sqrt(torque.max()), SHORTEST))

    def _inertia(self) -> Float[np.ndarray, "7 7"]:
        """Return the arm's inertia where it was when the simulation was last evaluated [kg m^2]."""
        inertia = np.empty((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, inertia, self.data.qM)
        return inertia[np.ix_(self._dof, self._dof)]

    def _follow(self, joints: np.ndarray, closedness: float, travel: float, steps: int) -> bool:
        """Lead the set-points there and stay; return whether anything was touched on the way."""
        model, data = self.model, self.data
        begin = data.ctrl.copy()
        path, ahead = self._set_points(joints - begin[self._servos], travel, steps)
        self.gripper.command(data, closedness)
        way = data.ctrl - begin
        way[self._servos] = joints - begin[self._servos]
        points = begin + path[:, None] * way
        points[:, self._servos] += ahead
        touched = False
        for i, point in enumerate(points, start=1):
            data.ctrl[:] = point
            mujoco.mj_step(model, data)
            if self.on_step is not None:
                share = path[i - 1]
                fingers = self.closedness + share * (closedness - self.closedness)
                self._told = (begin + share * way)[self._servos], fingers
                self.on_step()
            if not touched and (i % LOOK == 0 or i == len(points)):
                touched = self._touching(data)
        data.ctrl[self._servos] = joints
        self.closedness, self._told = closedness, None
        mujoco.mj_forward(model, data)
        return touched

    def _set_points(
        self, way: np.ndarray, travel: float, steps: int
    ) -> tuple[Float[np.ndarray, " steps"], Float[np.ndarray, "steps 7"]]:
        """Return the share of the way at each step, and what is added for the arm to keep up.

        The servos are led by what their damping and the arm's inertia would hold back.
        """
        time = np.minimum(np.arange(1, steps + 1) * self.model.opt.timestep / travel, 1.0)
        share = time**3 * (10 - 15 * time + 6 * time**2)
        speed = 30 * (time * (1 - time)) ** 2 / travel
        acceleration = 60 * time * (1 - time) * (1 - 2 * time) / travel**2
        pull = self._inertia() @ way / STIFFNESS
        return share, speed[:, None] * (self._lead * way) + acceleration[:, None] * pull

    def _within_workspace(
        self, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, bool]:
        """Return where the flange goes with the tool in the workspace, and if that is elsewhere."""
        tool = position + self.gripper.tcp * rotation[:, 2]
        back = np.minimum(np.maximum(tool, WORKSPACE_LOW), WORKSPACE_HIGH) - tool
        return position + back, bool(np.abs(back).max() > 1e-4)


def as_pose(position: np.ndarray, rotation: np.ndarray, closedness: float) -> Pose:
    """Return position [m], rotation matrix and closedness as a pose."""
    euler = kinematics.euler_angles(rotation)
    return np.concatenate([position, euler, [closedness]]).astype(np.float32)
