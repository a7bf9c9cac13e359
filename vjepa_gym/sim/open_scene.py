"""A scene that is open: compiled, with its arm, its look and what draws it."""

import ctypes
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.arm import SimulatedArm
from vjepa_gym.sim.looks import Look
from vjepa_gym.sim.osc import OSCArm
from vjepa_gym.sim.panda import HOME
from vjepa_gym.sim.rendering import Renderer
from vjepa_gym.sim.scene import SceneConfig, load_scene, parking


class OpenScene:
    """All that a world needs of one configuration; nothing is drawn until `renderer` is asked."""

    def __init__(self, config: SceneConfig) -> None:
        """Load the scene, or compose it if it is new."""
        self.config, self.shapes = config, config.shapes
        self.model = load_scene(config)
        self.data = mujoco.MjData(self.model)
        kind = SimulatedArm if config.actuation == "servo" else OSCArm
        self.arm = kind(self.model, self.data, config.gripper)
        self.look = Look(self.model, config.lab.light)
        self._renderer: Renderer | None = None
        self._bodies = {name: self.model.body(name).id for name in self.shapes}
        self._joints = {name: self.data.joint(name) for name in self.shapes}
        self._servos = [self.model.actuator(f"joint{i}").id for i in range(1, 8)]
        self._arm = [self.model.joint(f"joint{i}").qposadr[0] for i in range(1, 8)]

    def joint(self, name: str) -> Any:
        """Return where an object is and how it moves: a view with `qpos` and `qvel`.

        Raises:
            UnknownNameError: There is no such object.
        """
        if name not in self._joints:
            raise UnknownNameError("object", name, self._joints)
        return self._joints[name]

    def stand(self, name: str, position: ArrayLike, yaw: float, *, floats: bool = False) -> None:
        """Put an object upright at rest, its centre at `position` [m], turned by `yaw` [rad].

        Raises:
            UnknownNameError: There is no such object.
        """
        joint = self.joint(name)
        joint.qpos[:3] = position
        joint.qpos[3:] = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        joint.qvel[:] = 0.0
        # What floats needs nothing to lie on, so that it costs no contacts.
        self.model.body_gravcomp[self._bodies[name]] = float(floats)

    def rest(self) -> None:
        """Put the arm at home with its hand open, and every object away."""
        self.data.qpos[self._arm] = HOME
        self.data.ctrl[self._servos] = HOME if self.config.actuation == "servo" else 0.0
        self.arm.gripper.place(self.data, 0.0)
        self.arm.closedness = 0.0
        for place, name in zip(parking(), self.shapes, strict=False):
            self.stand(name, place, 0.0, floats=True)

    def renderer(self, size: int) -> Renderer:
        """Return what draws this scene; it is opened for the first picture."""
        if self._renderer is None:
            buffer = self.model.vis.global_
            buffer.offwidth = buffer.offheight = size  # memory is for no larger pictures than these
            self._renderer = Renderer(self.model, size)
        return self._renderer

    def close(self) -> None:
        """Give the drawing context back."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def give_memory_back() -> None:
    """Have the system take back what closed scenes used.

    The C library keeps it otherwise, in pieces between which the next scene does not fit.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
