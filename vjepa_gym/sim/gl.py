"""Which OpenGL draws, and what to say where none does."""

import importlib
import os
import sys
from types import ModuleType

from vjepa_gym.errors import RenderingError, UnknownNameError

BACKENDS = ("egl", "osmesa", "glfw")

EGL = "`sudo apt-get install -y libegl1 libgl1 libgles2 libgl1-mesa-dri`"
OSMESA = "`sudo apt-get install -y libosmesa6`"
REMEDIES = {
    "egl": f"It needs EGL: {EGL}. Where there is no EGL, {OSMESA} and MUJOCO_GL=osmesa.",
    "osmesa": f"It needs OSMesa: {OSMESA}; or EGL: {EGL}, and MUJOCO_GL unset.",
    "glfw": f"It needs a display, named by DISPLAY. Without one: {EGL}, and MUJOCO_GL unset.",
}
FAILURES = (ImportError, AttributeError, TypeError, RuntimeError, OSError)
"""PyOpenGL fails in as many ways as there are ways of not having a library."""


def backend() -> str:
    """Return what draws: `MUJOCO_GL`, else EGL on Linux, since it needs no display.

    Raises:
        UnknownNameError: `MUJOCO_GL` names something else than `BACKENDS`.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen and chosen not in BACKENDS:
        raise UnknownNameError("MUJOCO_GL", chosen, BACKENDS)
    return chosen or ("egl" if sys.platform == "linux" else "glfw")


def failure(chosen: str, reason: object) -> RenderingError:
    """Return an error that says which package the backend `chosen` lacks."""
    return RenderingError(
        f"MuJoCo cannot draw on this machine with MUJOCO_GL={chosen}: {reason}. {REMEDIES[chosen]}"
    )


def import_mujoco() -> ModuleType:
    """Import MuJoCo, which opens OpenGL at once if `MUJOCO_GL` is set.

    Raises:
        RenderingError: That OpenGL is not there.
        UnknownNameError: `MUJOCO_GL` names something else than `BACKENDS`.
    """
    chosen = backend()
    try:
        return importlib.import_module("mujoco")
    except FAILURES as error:
        raise failure(chosen, error) from error
