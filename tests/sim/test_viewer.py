import contextlib
import types

import mujoco
import numpy as np
import pytest

from vjepa_gym.errors import RenderingError
from vjepa_gym.sim import viewer
from vjepa_gym.sim.viewer import Viewer


class Window:
    """What MuJoCo hands out for a window, without one."""

    def __init__(self):
        self.opt, self.synced, self.closed = types.SimpleNamespace(geomgroup=np.ones(6)), 0, False

    def lock(self):
        return contextlib.nullcontext()

    def sync(self):
        self.synced += 1

    def close(self):
        self.closed = True


def importer(find):
    return types.SimpleNamespace(import_module=find)


@pytest.fixture
def windows(monkeypatch):
    opened = []

    def launch(model, data, **_):
        opened.append(Window())
        return opened[-1]

    modules = {
        "glfw": types.SimpleNamespace(init=lambda: True),
        "mujoco.viewer": types.SimpleNamespace(launch_passive=launch),
    }
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(viewer, "importlib", importer(modules.__getitem__))
    return opened


def scene():
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    return model, mujoco.MjData(model)


def test_one_window_follows_one_scene(windows):
    window, one = Viewer(), scene()
    window.show(*one)
    window.show(*one)
    assert [window.synced for window in windows] == [2]
    np.testing.assert_array_equal(windows[0].opt.geomgroup, [0, 1, 0, 0, 0, 0])


def test_another_scene_is_another_window(windows):
    window = Viewer()
    window.show(*scene())
    window.show(*scene())
    window.close()
    window.close()
    assert [window.closed for window in windows] == [True, True]


def test_without_a_display_the_error_says_what_else_there_is(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RenderingError, match="xvfb"):
        Viewer().show(*scene())


def test_a_display_that_is_not_there_is_named(windows, monkeypatch):
    no_window = types.SimpleNamespace(init=lambda: False)
    monkeypatch.setattr(viewer, "importlib", importer(lambda _: no_window))
    with pytest.raises(RenderingError, match="':0'"):
        Viewer().show(*scene())


def test_without_glfw_the_error_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name}")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(viewer, "importlib", importer(missing))
    with pytest.raises(RenderingError, match="pip install glfw"):
        Viewer().show(*scene())
