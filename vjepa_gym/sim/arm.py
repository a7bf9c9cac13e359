"""The simulated arm: joint servos that follow inverse kinematics, one blocking move at a time."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vjepa_gym import kinematics
from vjepa_gym.errors import WorkspaceError
from vjepa_gym.sim.panda import FLANGE_TO_TCP, HOME
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW, clip_action
from vjepa_gym.types import Action, Pose

SPEED, TURN_SPEED = 0.30, 0.75
"""Mean speed of a move [m/s] and of a turn [rad/s]."""
SHORTEST, LONGEST = 0.2, 0.6
"""Duration of a move [s]."""
RAMP = 0.6
"""Share of a move in which the set-point travels; in the rest the arm settles."""
SEGMENT = 0.02
"""The set-point is renewed this often [s]."""
OPEN_WIDTH = 0.04
"""How far each finger is from the middle when the hand is open [m]."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """What became of an action.

    Attributes:
        command: The displacement that was commanded, within the limits and the workspace.
        achieved: The displacement that was measured after settling.
        clipped: Whether the action had to be changed to become the command.
        seconds: How long the move took.
    """

    command: Action
    achieved: Action
    clipped: bool
    seconds: float


class SimulatedArm:
    """A Panda in MuJoCo that makes blocking moves of its flange."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Drive the arm of a scene made by `scene.load_scene`."""
        self.model, self.data = model, data
        self._scratch = mujoco.MjData(model)
        joints = [model.joint(f"joint{i}") for i in range(1, 8)]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._low, self._high = np.array([joint.range for joint in joints]).T
        self._servos = np.array([model.actuator(f"joint{i}").id for i in range(1, 8)])
        self._fingers = np.array([model.joint(f"finger_joint{i}").qposadr[0] for i in (1, 2)])
        self._hand = [model.actuator(f"gripper_finger_joint{i}").id for i in (1, 2)]
        self._flange = model.site("flange").id
        self.closedness = 0.0

    @property
    def pose(self) -> Pose:
        """The measured pose of the flange and the measured closedness."""
        site = self.data.site(self._flange)
        width = self.data.qpos[self._fingers] @ [0.5, -0.5]
        closedness = np.clip(1.0 - width / OPEN_WIDTH, 0.0, 1.0)
        euler = kinematics.euler_angles(site.xmat.reshape(3, 3))
        return np.concatenate([site.xpos, euler, [closedness]]).astype(np.float32)

    @property
    def joints(self) -> np.ndarray:
        """Joint angles [rad]."""
        return self.data.qpos[self._qpos].astype(np.float32)

    def place(self, pose: Pose) -> None:
        """Put the arm at `pose` without moving there, at rest; for resets only.

        Raises:
            WorkspaceError: No joint configuration has its flange there.
        """
        joints, error = self._solve(HOME, pose)
        if error > 2e-3:
            raise WorkspaceError(
                f"The arm cannot reach the flange pose {np.round(pose, 3).tolist()}: the closest "
                f"configuration is {1000 * error:.0f} mm away."
            )
        self.closedness = float(pose[6])
        self.data.qpos[self._qpos] = joints
        self.data.qpos[self._fingers] = np.array([1, -1]) * OPEN_WIDTH * (1 - self.closedness)
        self.data.qvel[:] = 0.0
        self.data.ctrl[self._servos] = joints
        self._command_hand(self.closedness)
        mujoco.mj_forward(self.model, self.data)

    def move(self, action: ArrayLike) -> Move:
        """Displace the flange by `action`, wait until it has settled, and say what became of it.

        Raises:
            InvalidActionError: Not seven finite numbers; nothing moves.
        """
        within, clipped = clip_action(action)
        start = self.pose
        target = kinematics.integrate(start, within)
        target[:3], held_back = _within_workspace(target)
        command = kinematics.difference(start, target)
        # The hand is told where to go, not how far: measured closedness stops at what it holds.
        closedness = float(np.clip(self.closedness + within[6], 0.0, 1.0))
        command[6] = within[6]
        seconds = LONGEST if closedness != self.closedness else _duration(command)
        joints, _ = self._solve(self.data.ctrl[self._servos], target)
        self._travel(joints, closedness, seconds)
        achieved = kinematics.difference(start, self.pose)
        return Move(
            command=command, achieved=achieved, clipped=clipped or held_back, seconds=seconds
        )

    def _travel(self, joints: np.ndarray, closedness: float, seconds: float) -> None:
        segments = round(seconds / SEGMENT)
        substeps = round(SEGMENT / self.model.opt.timestep)
        begin, grip = self.data.ctrl[self._servos].copy(), self.closedness
        for i in range(1, segments + 1):
            share = min(1.0, i / segments / RAMP)
            smooth = share * share * (3.0 - 2.0 * share)
            self.data.ctrl[self._servos] = begin + smooth * (joints - begin)
            self._command_hand(grip + smooth * (closedness - grip))
            mujoco.mj_step(self.model, self.data, nstep=substeps)
        self.closedness = closedness
        mujoco.mj_forward(self.model, self.data)

    def _command_hand(self, closedness: float) -> None:
        self.data.ctrl[self._hand] = np.array([1, -1]) * OPEN_WIDTH * (1 - closedness)

    def _solve(self, start: np.ndarray, pose: Pose) -> tuple[np.ndarray, float]:
        """Return joint angles whose flange is at `pose`, and how far it still is from there [m].

        Damped least squares from `start`, with a pull towards the home configuration in the null
        space (Buss, "Introduction to inverse kinematics", 2004).
        """
        scratch, joints, error = self._scratch, np.array(start), np.zeros(6)
        jacobian = np.zeros((6, self.model.nv))
        target = kinematics.rotation_matrix(pose[3:6].astype(np.float64))
        for _ in range(50):
            scratch.qpos[self._qpos] = joints
            mujoco.mj_kinematics(self.model, scratch)
            mujoco.mj_comPos(self.model, scratch)
            site = scratch.site(self._flange)
            rotation = site.xmat.reshape(3, 3)
            error = np.concatenate([pose[:3] - site.xpos, _rotation_vector(target @ rotation.T)])
            if np.linalg.norm(error[:3]) < 2e-4 and np.linalg.norm(error[3:]) < 1e-3:
                break
            mujoco.mj_jacSite(self.model, scratch, jacobian[:3], jacobian[3:], self._flange)
            arm = jacobian[:, self._dof]
            inverse = arm.T @ np.linalg.inv(arm @ arm.T + 1e-4 * np.eye(6))
            home = (np.eye(7) - inverse @ arm) @ (0.05 * (HOME - joints))
            step = inverse @ error + home
            step *= min(1.0, 0.3 / np.abs(step).max())
            joints = np.clip(joints + step, self._low + 0.02, self._high - 0.02)
        return joints, float(np.linalg.norm(error[:3]) + 0.1 * np.linalg.norm(error[3:]))


def tool_centre(pose: Pose) -> np.ndarray:
    """Return where the point between the finger tips is [m] when the flange is at `pose`."""
    down = kinematics.rotation_matrix(np.asarray(pose[..., 3:6], np.float64))[..., 2]
    return pose[..., :3] + FLANGE_TO_TCP * down


def _duration(command: Action) -> float:
    """Return how long the arm is given for a move [s]."""
    path = np.linalg.norm(command[:3]) / SPEED
    turn = np.linalg.norm(command[3:6]) / TURN_SPEED
    return float(np.clip(max(path, turn) + 0.1, SHORTEST, LONGEST))


def _within_workspace(pose: Pose) -> tuple[np.ndarray, bool]:
    """Return the flange position whose tool centre is in the workspace, and whether that is new."""
    tool = tool_centre(pose)
    inside = np.clip(tool, WORKSPACE_LOW, WORKSPACE_HIGH)
    return (pose[:3] + inside - tool).astype(np.float32), bool(np.abs(inside - tool).max() > 1e-4)


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector
