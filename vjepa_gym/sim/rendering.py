"""Pictures of a scene, drawn off-screen."""

import importlib
import os
import sys
import weakref
from typing import Any

import mujoco
import numpy as np

from vjepa_gym.errors import RenderingError, UnknownNameError
from vjepa_gym.types import Image

BACKENDS = ("egl", "osmesa", "glfw")
MOST_GEOMS = 1000

ADVICE = (
    "MuJoCo cannot draw on this machine with MUJOCO_GL={backend}: {reason}. Off-screen drawing needs "
    "EGL: `sudo apt-get install -y libegl1 libgl1 libgles2 libgl1-mesa-dri`, and MUJOCO_GL=egl or "
    "unset. Where there is no EGL, `sudo apt-get install -y libosmesa6` and MUJOCO_GL=osmesa."
)


class Renderer:
    """Draws square images of one scene; what only collides is not drawn.

    MuJoCo's own renderer takes the OpenGL that was chosen when `mujoco` was first imported, by
    whomever; this one chooses when it is made.
    """

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        """Open a drawing context for images of `size` px.

        Raises:
            RenderingError: This machine has no working OpenGL.
        """
        self._model = model
        self._gl = _open_gl(size)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=MOST_GEOMS)
        self._rectangle = mujoco.MjrRect(0, 0, size, size)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[1] = 1
        # Drivers complain when a context outlives the interpreter's modules.
        self._release = weakref.finalize(self, _free, self._context, self._gl)

    def render(self, data: mujoco.MjData, camera: str = "left") -> Image:
        """Return what `camera` sees, uint8 RGB."""
        self._gl.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        picture = np.empty((self._rectangle.height, self._rectangle.width, 3), np.uint8)
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(picture, None, self._rectangle, self._context)
        # OpenGL counts rows from below.
        return np.ascontiguousarray(picture[::-1])

    def close(self) -> None:
        """Give the drawing context back."""
        self._release()


def default_backend() -> str:
    """Return what draws if nobody says otherwise: EGL on Linux, since it needs no display.

    Raises:
        UnknownNameError: `MUJOCO_GL` names something else than `BACKENDS`.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen and chosen not in BACKENDS:
        raise UnknownNameError("MUJOCO_GL", chosen, BACKENDS)
    return chosen or ("egl" if sys.platform == "linux" else "glfw")


def _open_gl(size: int) -> Any:
    backend = default_backend()
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(size, size)
        context.make_current()
    # PyOpenGL fails in as many ways as there are ways of not having a library.
    except (ImportError, AttributeError, TypeError, RuntimeError, OSError) as error:
        raise RenderingError(ADVICE.format(backend=backend, reason=error)) from error
    return context


def _free(context: mujoco.MjrContext, gl: Any) -> None:
    gl.make_current()
    context.free()
    gl.free()
