"""A scene that is open: compiled, with its arm, its look and what draws it."""

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import ImageSize
from vjepa_gym.sim.arm import SimulatedArm
from vjepa_gym.sim.looks import Look
from vjepa_gym.sim.osc import OSCArm
from vjepa_gym.sim.panda import HOME
from vjepa_gym.sim.rendering import Renderer
from vjepa_gym.sim.scene import SceneConfig, load_scene, parking

MOST_OPEN = 6
"""Scenes that are kept open; the least recently used is closed."""


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
        self._kept: mujoco.MjData | None = None
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

    def step(self, count: int = 1) -> None:
        """Let time pass; who watches the arm sees every step."""
        if self.arm.on_step is None:
            mujoco.mj_step(self.model, self.data, nstep=count)
            return
        for _ in range(count):
            mujoco.mj_step(self.model, self.data)
            self.arm.on_step()

    @contextmanager
    def caught_up(self) -> Iterator[None]:
        """Inside, everything is known to be where the last step brought it; then as it was."""
        # A step leaves positions behind that it began with, and controllers go by them.
        if self._kept is None:
            self._kept = mujoco.MjData(self.model)
        mujoco.mj_copyData(self._kept, self.model, self.data)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        try:
            yield
        finally:
            mujoco.mj_copyData(self.data, self.model, self._kept)

    def renderer(self, size: ImageSize) -> Renderer:
        """Return what draws this scene; it is opened for the first picture."""
        if self._renderer is None:
            self._renderer = Renderer(self.model, size)
        return self._renderer

    def close(self) -> None:
        """Give the drawing context back."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class OpenScenes:
    """The scenes that were used last, by their configuration."""

    def __init__(self, config: Callable[..., SceneConfig]) -> None:
        """Keep scenes that `config` describes when it is told `objects` and `distractors`."""
        self._config = config
        self._open: OrderedDict[str, OpenScene] = OrderedDict()

    def __call__(self, objects: Any, distractors: int) -> OpenScene:
        """Return the scene with these things in it, opening it if need be.

        Raises:
            UnknownNameError: There is no such object set.
            VariationError: There are not so many distractors.
        """
        key = repr((objects, distractors))
        if key not in self._open:
            self._open[key] = OpenScene(self._config(objects=objects, distractors=distractors))
        self._open.move_to_end(key)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
            give_memory_back()
        return self._open[key]

    def close(self) -> None:
        """Give all drawing contexts back."""
        for scene in self._open.values():
            scene.close()


def give_memory_back() -> None:
    """Have the system take back what closed scenes used.

    The C library keeps it otherwise, in pieces between which the next scene does not fit.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
