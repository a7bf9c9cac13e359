"""Which joint angles bring the flange to a pose."""

import mujoco
import numpy as np
from jaxtyping import Float

from vjepa_gym.sim.panda import HOME

ITERATIONS, PATIENCE = 50, 8
"""A search ends after so many iterations, or so many that came no nearer."""
CLOSE, ALIGNED = 1e-4, 5e-4
"""A solution is good enough within this distance [m] and this angle [rad]."""
DAMPING = 1e-4
HOMING = 0.02
"""Share of the way to the home configuration that each iteration goes where the flange is free."""
LARGEST = 0.3
"""Step of one iteration [rad]."""
MARGIN = 0.02
"""Joints stay this far from their stops [rad]."""


class InverseKinematics:
    """Damped least squares, pulled towards the home configuration in the null space.

    Buss, "Introduction to inverse kinematics with Jacobian transpose, pseudoinverse and damped
    least squares methods", 2004.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        """Solve for the arm of a compiled model, whose state is left alone."""
        self._model, self._scratch = model, mujoco.MjData(model)
        joints = [model.joint(f"joint{i}") for i in range(1, 8)]
        self._joints = np.array([joint.id for joint in joints])
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        low, high = np.array([joint.range for joint in joints]).T
        self._low, self._high = low + MARGIN, high - MARGIN
        self._flange = model.site("flange").id

    def solve(
        self,
        start: Float[np.ndarray, "7"],
        position: Float[np.ndarray, "3"],
        rotation: Float[np.ndarray, "3 3"],
    ) -> tuple[Float[np.ndarray, "7"], float]:
        """Return joint angles [rad] that bring the flange to a pose, and how far it is from there.

        Args:
            start: Where the search begins [rad]; nearby solutions are found.
            position: Where the flange is to be [m], in the base frame.
            rotation: How it is to be turned.

        Returns:
            The angles that come nearest, and the distance that is left [m], to which a radian adds
            0.1 m.
        """
        joints = best = np.array(start)
        nearest, since = np.inf, 0
        jacobian, error, solution = np.empty((6, 7)), np.empty(6), np.empty(6)
        for i in range(ITERATIONS):
            there, turned = self.forward(joints)
            error[:3] = position - there
            error[3:] = _rotation_vector(rotation @ turned.T)
            away, askew = np.sqrt(error[:3] @ error[:3]), np.sqrt(error[3:] @ error[3:])
            if away + 0.1 * askew < nearest:
                best, nearest, since = joints, away + 0.1 * askew, i
            if (away < CLOSE and askew < ALIGNED) or i - since > PATIENCE:
                break
            self._write_jacobian(there, jacobian)
            home = HOMING * (HOME - joints)
            square = jacobian @ jacobian.T
            square.flat[::7] += DAMPING
            # Not LAPACK, which may wake threads for six equations.
            mujoco.mju_cholFactor(square, 0.0)
            mujoco.mju_cholSolve(solution, square, error - jacobian @ home)
            step = jacobian.T @ solution + home
            step *= min(1.0, LARGEST / np.abs(step).max())
            joints = np.minimum(np.maximum(joints + step, self._low), self._high)
        return best, float(nearest)

    def forward(
        self, joints: Float[np.ndarray, "7"]
    ) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
        """Return position [m] and rotation of the flange at these joint angles [rad]; views."""
        scratch = self._scratch
        scratch.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self._model, scratch)
        return scratch.site_xpos[self._flange], scratch.site_xmat[self._flange].reshape(3, 3)

    def _write_jacobian(self, position: np.ndarray, jacobian: np.ndarray) -> None:
        """Write the derivative of the flange's pose where `forward` was last asked for."""
        scratch = self._scratch
        axes = scratch.xaxis[self._joints]
        arms = position - scratch.xanchor[self._joints]
        jacobian[0] = axes[:, 1] * arms[:, 2] - axes[:, 2] * arms[:, 1]
        jacobian[1] = axes[:, 2] * arms[:, 0] - axes[:, 0] * arms[:, 2]
        jacobian[2] = axes[:, 0] * arms[:, 1] - axes[:, 1] * arms[:, 0]
        jacobian[3:] = axes.T


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    quaternion, vector = np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector
