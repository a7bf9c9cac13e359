"""Where cameras stand, and what they measure."""

from dataclasses import dataclass

import mujoco
import numpy as np

from vjepa_gym import kinematics

FLIP = np.array([1.0, -1.0, -1.0])
"""Turns axes x right, y down, z forward into those of MuJoCo's cameras, and back."""


@dataclass(frozen=True, kw_only=True)
class CameraPose:
    """A camera that looks at a point of the workspace from an angle and a distance.

    Attributes:
        target: The point it looks at, in the base frame [m].
        azimuth: Where it stands, seen from above [deg]: 0 behind the base, 90 on the robot's left.
        elevation: How far it looks down [deg].
        distance: From the target [m].
        fovy: Vertical field of view [deg].
    """

    target: tuple[float, float, float] = (0.50, 0.0, 0.20)
    azimuth: float = 120.0
    elevation: float = 28.0
    distance: float = 1.15
    fovy: float = 37.0

    def position(self) -> np.ndarray:
        """Return where the camera stands, in the base frame [m]."""
        a, e = np.radians(self.azimuth), np.radians(self.elevation)
        away = np.array([-np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
        return np.array(self.target) + self.distance * away

    def rotation(self) -> np.ndarray:
        """Return the camera's axes in the base frame as columns: x right, y down, z forward."""
        forward = np.array(self.target) - self.position()
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward], axis=1)

    def quaternion(self) -> np.ndarray:
        """Return the orientation (w x y z) of a MuJoCo camera: x right, y up, looking along -z."""
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, (self.rotation() * FLIP).ravel())
        return quaternion


LEFT = CameraPose()
"""The default exterior camera: in front of the robot, to its left."""


def calibration(
    model: mujoco.MjModel, data: mujoco.MjData, name: str, size: int
) -> dict[str, np.ndarray]:
    """Return `extrinsics` and `intrinsics` of a camera that takes square images of `size` px.

    The extrinsics are its pose in the base frame [m, extrinsic xyz rad]: x right, y down,
    z forward.
    """
    camera = model.camera(name)
    axes = data.cam_xmat[camera.id].reshape(3, 3) * FLIP
    extrinsics = np.concatenate([data.cam_xpos[camera.id], kinematics.euler_angles(axes)])
    focal = size / 2 / np.tan(np.radians(model.cam_fovy[camera.id]) / 2)
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    return {"extrinsics": extrinsics.astype(np.float32), "intrinsics": intrinsics}
