"""Pictures of a scene, drawn off-screen."""

import weakref

import mujoco

from vjepa_gym.errors import RenderingError
from vjepa_gym.types import Image

ADVICE = (
    "MuJoCo cannot draw on this machine: {reason}. Off-screen drawing needs EGL: "
    "`sudo apt-get install -y libegl1 libgl1 libgles2 libgl1-mesa-dri`, and MUJOCO_GL=egl in the "
    "environment (or unset). Without EGL, MUJOCO_GL=osmesa with `sudo apt-get install -y libosmesa6`."
)


class Renderer:
    """Draws square images of one scene; what only collides is not drawn."""

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        """Open a drawing context for images of `size` px.

        Raises:
            RenderingError: This machine has no working OpenGL.
        """
        try:
            self._renderer = mujoco.Renderer(model, size, size)
        except AttributeError as error:  # MuJoCo leaves `Renderer` or the context undefined
            raise RenderingError(ADVICE.format(reason="no OpenGL library was found")) from error
        except (ImportError, RuntimeError, mujoco.FatalError) as error:
            raise RenderingError(ADVICE.format(reason=str(error))) from error
        # Drivers complain when a context outlives the interpreter's modules.
        self._release = weakref.finalize(self, self._renderer.close)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[1] = 1

    def render(self, data: mujoco.MjData, camera: str = "left") -> Image:
        """Return what `camera` sees, uint8 RGB."""
        self._renderer.update_scene(data, camera=camera, scene_option=self._option)
        return self._renderer.render()

    def close(self) -> None:
        """Give the drawing context back."""
        self._release()
