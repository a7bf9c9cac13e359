"""One simulated lab: the scene, the arm, what lies on the table, and pictures of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mujoco
import numpy as np
from jaxtyping import Float

from vjepa_gym.sim.arm import SimulatedArm
from vjepa_gym.sim.cameras import calibration
from vjepa_gym.sim.rendering import Renderer
from vjepa_gym.sim.scene import SceneConfig, load_scene
from vjepa_gym.types import Image

OBJECTS = ("cup", "box")
SETTLING = 50
"""Physics steps after objects are put down, in which they come to rest."""


class World:
    """A lab that can be arranged, looked at, and put back as it was."""

    def __init__(self, *, image_size: int, scene: SceneConfig | None = None) -> None:
        """Load the scene; nothing is drawn until a picture is asked for."""
        self.model = load_scene(scene)
        self.data = mujoco.MjData(self.model)
        self.arm = SimulatedArm(self.model, self.data)
        self.image_size = image_size
        self._renderer: Renderer | None = None

    def arrange(self, objects: Mapping[str, Float[np.ndarray, "3"]]) -> None:
        """Clear the lab and put each object at `x y yaw` [m, m, rad], standing on the table."""
        mujoco.mj_resetData(self.model, self.data)
        for name, (x, y, yaw) in objects.items():
            joint = self.data.joint(name)
            height = self.model.body(name).pos[2]
            joint.qpos[:] = [x, y, height, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        mujoco.mj_forward(self.model, self.data)

    def settle(self) -> None:
        """Let everything come to rest."""
        mujoco.mj_step(self.model, self.data, nstep=SETTLING)
        mujoco.mj_forward(self.model, self.data)

    def object_pose(self, name: str) -> Float[np.ndarray, "7"]:
        """Return where an object is: position [m] and quaternion (w x y z), in the base frame."""
        return self.data.joint(name).qpos.copy()

    def image(self, camera: str = "left") -> Image:
        """Return what a camera sees now.

        Raises:
            RenderingError: This machine has no working OpenGL.
        """
        if self._renderer is None:
            self._renderer = Renderer(self.model, self.image_size)
        return self._renderer.render(self.data, camera)

    def calibration(self, camera: str = "left") -> dict[str, np.ndarray]:
        """Return a camera's extrinsics and intrinsics, see `types.Episode.cameras`."""
        return calibration(self.model, self.data, camera, self.image_size)

    @property
    def state(self) -> Float[np.ndarray, " size"]:
        """Everything that the physics goes on from."""
        size = mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION)
        state = np.empty(size)
        mujoco.mj_getState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        return state

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever happens inside is taken back on leaving."""
        state, closedness = self.state, self.arm.closedness
        try:
            yield
        finally:
            mujoco.mj_setState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
            self.arm.closedness = closedness
            mujoco.mj_forward(self.model, self.data)

    def close(self) -> None:
        """Give the drawing context back."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
