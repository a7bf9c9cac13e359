import os
import subprocess
import sys

import pytest

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim import gl


def test_an_unknown_backend_names_those_that_exist(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    with pytest.raises(UnknownNameError, match="egl, glfw, osmesa"):
        gl.backend()


def test_linux_draws_without_a_display(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert gl.backend() == "egl"


def test_a_machine_without_opengl_is_told_what_to_install():
    """MuJoCo fails as it is imported, so this needs an interpreter in which it is not yet."""
    script = (
        "import ctypes.util, gymnasium, vjepa_gym\n"
        "ctypes.util.find_library = lambda name: None\n"
        "gymnasium.make('vjepa_gym/FrankaReach-v0').reset()\n"
    )
    environment = os.environ | {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RenderingError" in done.stderr
    assert "apt-get install -y libegl1" in done.stderr
