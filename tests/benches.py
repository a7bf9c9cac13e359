"""An arm that is a point, in a lab that is a colour: what driving needs of an environment."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from vjepa_gym import kinematics
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW, clip_action

TCP = 0.1034


class PointArm:
    """Does what it is told, within the workspace."""

    gripper = SimpleNamespace(tcp=TCP)

    def __init__(self) -> None:
        self.pose = np.array([0.5, 0.0, 0.3 + TCP, np.pi, 0.0, 0.0, 0.0], np.float32)

    @property
    def tool(self) -> np.ndarray:
        return self.pose[:3] - [0.0, 0.0, TCP]

    def move(self, action: np.ndarray) -> SimpleNamespace:
        within, clipped = clip_action(action)
        target = kinematics.integrate(self.pose, within)
        tool = target[:3] - [0.0, 0.0, TCP]
        inside = np.clip(tool, WORKSPACE_LOW, WORKSPACE_HIGH)
        target[:3] += (inside - tool).astype(np.float32)
        self.pose = target
        clipped = clipped or bool(np.abs(inside - tool).max() > 1e-6)
        return SimpleNamespace(clipped=clipped, joint_limit=False, contact=bool(tool[2] < 0.02))


class PointWorld:
    """Its picture says where the hand is."""

    def __init__(self) -> None:
        self.arm = PointArm()

    def image(self, camera: str = "left") -> np.ndarray:
        image = np.full((16, 16, 3), 40 if camera == "left" else 90, np.uint8)
        image[0, 0] = np.clip(self.arm.tool * 255, 0, 255)
        return image

    @contextmanager
    def undone(self):
        pose = self.arm.pose
        yield
        self.arm.pose = pose


class PointBench:
    """Every seed begins elsewhere."""

    def __init__(self) -> None:
        self.world, self.resets = PointWorld(), []

    def reset(self, *, seed=None, options=None):
        self.world = PointWorld()
        self.world.arm.pose[1] = 0.01 * seed
        self.resets.append((seed, options))
        return {}, {}
