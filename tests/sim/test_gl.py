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


@pytest.mark.parametrize(
    ("backend", "package"), [("egl", "libegl1"), ("osmesa", "libosmesa6"), (None, "libegl1")]
)
def test_a_machine_without_opengl_is_told_what_to_install(backend, package):
    """MuJoCo fails as it is imported, so this needs an interpreter in which it is not yet."""
    script = (
        "import ctypes, ctypes.util, gymnasium, vjepa_gym\n"
        "class Loader(ctypes.CDLL):\n"
        "    def __init__(self, name, *args, **kwargs):\n"
        "        if name and any(part in str(name) for part in ('EGL', 'OSMesa', 'libGL')):\n"
        "            raise OSError(f'{name}: cannot open shared object file')\n"
        "        super().__init__(name, *args, **kwargs)\n"
        "find = ctypes.util.find_library\n"
        "ctypes.CDLL = ctypes.cdll._dlltype = Loader\n"
        "hidden = lambda name: 'GL' in name or 'OSMesa' in name\n"
        "ctypes.util.find_library = lambda name: None if hidden(name) else find(name)\n"
        "gymnasium.make('vjepa_gym/FrankaReach-v0').reset()\n"
    )
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    if backend:
        environment |= {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RenderingError" in done.stderr
    assert f"apt-get install -y {package}" in done.stderr
