"""A window on the lab, for `render_mode="human"`."""

import importlib
import os
import sys
from typing import Any

import mujoco

from vjepa_gym.errors import RenderingError
from vjepa_gym.sim.gl import FAILURES
from vjepa_gym.sim.rendering import DRAWN


class Viewer:
    """MuJoCo's own window: the mouse turns the view. Closed by its user, it stays closed."""

    def __init__(self) -> None:
        """Nothing opens until something is shown."""
        self._window: Any = None
        self._model: mujoco.MjModel | None = None

    def show(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Show the present state; the window opens for the first, and anew for another scene.

        Raises:
            RenderingError: This machine has no display, or no GLFW.
        """
        if model is not self._model:
            self.close()
            self._window, self._model = _open(model, data), model
        self._window.sync()

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()
        self._window = self._model = None


def _open(model: mujoco.MjModel, data: mujoco.MjData) -> Any:
    if sys.platform == "linux" and not _display():
        raise RenderingError(
            'render_mode="human" opens a window, and neither DISPLAY nor WAYLAND_DISPLAY is set: '
            "there is no display. Use `ssh -X`, or `sudo apt-get install -y xvfb` and `xvfb-run`, "
            'or render_mode="rgb_array", which needs none.'
        )
    try:
        # MuJoCo would wait for ever for a window that cannot open.
        if not importlib.import_module("glfw").init():
            raise RenderingError(
                f"GLFW cannot open a window on the display {_display()!r}. Is it yours, and on? "
                'render_mode="rgb_array" needs none.'
            )
        window = importlib.import_module("mujoco.viewer").launch_passive(
            model, data, show_left_ui=False, show_right_ui=False
        )
    except FAILURES as error:
        raise RenderingError(
            f"The window cannot open: {error}. It needs GLFW: `pip install glfw` and "
            '`sudo apt-get install -y libglfw3 libgl1`; render_mode="rgb_array" needs neither.'
        ) from error
    with window.lock():
        window.opt.geomgroup[:] = 0
        window.opt.geomgroup[DRAWN] = 1
    return window


def _display() -> str:
    return os.environ.get("DISPLAY", "") or os.environ.get("WAYLAND_DISPLAY", "")
