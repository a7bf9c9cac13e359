"""Pictures of a scene, drawn off-screen."""

import atexit
import importlib
import weakref
from typing import Any

import mujoco
import numpy as np

from vjepa_gym.images import ImageSize, image_shape
from vjepa_gym.sim import gl
from vjepa_gym.types import Image

MOST_GEOMS = 1000
"""Geoms drawn at most; the scene has about a hundred."""
DRAWN = 1
"""The group of geoms that are drawn; what only collides is in another."""
NOT_DRAWN = (
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
)
GROUND = 0.5
"""What does not move and is larger than this casts no shadow [m]: tables, walls and backdrops lie
behind everything that could receive one."""
NO_SHADOW = int(mujoco.mjtCatBit.mjCAT_DECOR)
"""The category of geoms that MuJoCo's shadow map leaves out."""


class Renderer:
    """Draws images of one scene; what only collides is not drawn.

    MuJoCo's own renderer takes the OpenGL that was chosen when `mujoco` was first imported, by
    whomever; this one chooses when it is made.
    """

    def __init__(self, model: mujoco.MjModel, size: ImageSize) -> None:
        """Open a drawing context for images of `size` px; a camera's field of view is vertical.

        Raises:
            RenderingError: This machine has no working OpenGL.
            ValueError: It is no size of an image.
        """
        self._model = model
        height, width = image_shape(size)
        self._gl, self._context = _open(model, height, width)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=MOST_GEOMS)
        for flag in NOT_DRAWN:
            self._scene.flags[flag] = False
        self._geoms = self._scene.geoms  # views, made once: it is a thousand objects
        self._casts = _casts_shadow(model)
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[DRAWN] = 1
        self._release = weakref.finalize(self, _free, self._context, self._gl)
        # MuJoCo ends EGL at exit, and contexts must be gone by then: what is registered last, here
        # after MuJoCo's own, is done first.
        self._release.atexit = False
        atexit.register(self._release)

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
        for geom in self._geoms[: self._scene.ngeom]:
            if not self._casts[geom.objid]:
                geom.category = NO_SHADOW
        picture = np.empty((self._rectangle.height, self._rectangle.width, 3), np.uint8)
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(picture, None, self._rectangle, self._context)
        # OpenGL counts rows from below.
        return np.ascontiguousarray(picture[::-1])

    def close(self) -> None:
        """Give the drawing context back."""
        self._release()
        atexit.unregister(self._release)


def _casts_shadow(model: mujoco.MjModel) -> list[bool]:
    """Return for each geom whether it casts one: of a body's meshes only the largest does."""
    size = np.where(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE, np.inf, model.geom_rbound)
    still = model.body_weldid[model.geom_bodyid] == 0
    mesh = (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH) & (model.geom_group == DRAWN)
    largest = np.zeros(model.nbody)
    np.maximum.at(largest, model.geom_bodyid[mesh], size[mesh])
    small_part = mesh & (size < largest[model.geom_bodyid])
    robot = mesh & (model.geom_bodyid > 0)
    return (~(still & ~robot & (size > GROUND)) & ~small_part).tolist()


def _open(model: mujoco.MjModel, height: int, width: int) -> tuple[Any, mujoco.MjrContext]:
    chosen = gl.backend()
    # Memory is for no larger pictures than these.
    model.vis.global_.offheight, model.vis.global_.offwidth = height, width
    try:
        context = importlib.import_module(f"mujoco.{chosen}").GLContext(width, height)
        context.make_current()
        return context, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    except (*gl.FAILURES, mujoco.FatalError) as error:
        raise gl.failure(chosen, error) from error


def _free(drawing: mujoco.MjrContext, context: Any) -> None:
    context.make_current()
    drawing.free()
    context.free()
