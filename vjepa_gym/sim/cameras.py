"""Where cameras stand, and what they measure."""

from dataclasses import dataclass

import mujoco
import numpy as np

from vjepa_gym import kinematics
from vjepa_gym.images import ImageSize, image_shape

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

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add a camera of that name to `spec`."""
        camera = spec.worldbody.add_camera(name=name, fovy=self.fovy)
        camera.pos, camera.quat = self.position(), self.quaternion()


CAMERAS = ("left", "right", "wrist")
"""Two exterior cameras, and one on the hand."""
MOVING = CAMERAS[2:]
"""Those whose pose changes within an episode."""
LEFT = CameraPose()
"""The default exterior camera: in front of the robot, to its left."""
RIGHT = CameraPose(azimuth=-120.0)
"""Its mirror image."""

WRIST_POSITION, WRIST_FOVY = (-0.055, 0.055, 0.045), 70.0
"""Where the wrist's camera sits in the frame of the flange [m], beside the fingers' plane, and its
vertical field of view [deg]."""
WRIST_LOOKS_AT = 0.20
"""How far in front of the flange along its axis the wrist's camera looks [m]: past the tips."""


def add_wrist_camera(spec: mujoco.MjSpec) -> None:
    """Add the camera `wrist` to the hand of a robot that is in `spec`."""
    flange = spec.site("flange")
    position = np.array(WRIST_POSITION)
    forward = np.array([0.0, 0.0, WRIST_LOOKS_AT]) - position
    forward /= np.linalg.norm(forward)
    # The flange's axis points down in the picture's middle; what is far from the hand is on top.
    down = np.array(WRIST_POSITION) * [1.0, 1.0, 0.0]
    down -= down @ forward * forward
    down /= np.linalg.norm(down)
    axes = np.stack([np.cross(down, forward), down, forward], axis=1) * FLIP
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, axes.ravel())
    camera = flange.parent.add_camera(name="wrist", fovy=WRIST_FOVY)
    camera.pos, camera.quat = flange.pos + position, quaternion


def calibration(
    model: mujoco.MjModel, data: mujoco.MjData, name: str, size: ImageSize
) -> dict[str, np.ndarray]:
    """Return `extrinsics` and `intrinsics` of a camera that takes images of `size` px.

    The extrinsics are its pose in the base frame [m, extrinsic xyz rad]: x right, y down,
    z forward. Pixels are square, and the field of view is the vertical one.

    Raises:
        ValueError: It is no size of an image.
    """
    height, width = image_shape(size)
    camera = model.camera(name)
    axes = data.cam_xmat[camera.id].reshape(3, 3) * FLIP
    extrinsics = np.concatenate([data.cam_xpos[camera.id], kinematics.euler_angles(axes)])
    focal = height / 2 / np.tan(np.radians(model.cam_fovy[camera.id]) / 2)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return {"extrinsics": extrinsics.astype(np.float32), "intrinsics": intrinsics}
