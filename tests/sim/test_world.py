import subprocess
import sys

import numpy as np
import pytest

from vjepa_gym.errors import RenderingError
from vjepa_gym.sim import rendering
from vjepa_gym.sim.world import World

APART = {"cup": np.array([0.5, 0.15, 0.0]), "box": np.array([0.5, -0.15, 0.3])}


@pytest.fixture
def world():
    world = World(image_size=64)
    world.arrange(APART)
    yield world
    world.close()


def test_objects_stand_where_they_were_arranged(world):
    np.testing.assert_allclose(world.object_pose("box")[:2], [0.5, -0.15])
    assert world.object_pose("box")[3] == pytest.approx(np.cos(0.15))


def test_what_is_done_inside_undone_is_taken_back_to_the_last_bit(world):
    before, picture = world.state, world.image()
    with world.undone():
        world.arm.move(np.array([0.05, 0.05, -0.05, 0, 0, 0, 0.75], np.float32))
        assert not np.array_equal(world.image(), picture)
    np.testing.assert_array_equal(world.state, before)
    np.testing.assert_array_equal(world.image(), picture)
    assert world.arm.closedness == 0.0


def test_pictures_show_light_arm_and_dark_table(world):
    picture = world.image()
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert picture[40:].mean() < 60
    assert picture.max() > 200


def test_a_closed_world_can_be_looked_at_again(world):
    picture = world.image()
    world.close()
    np.testing.assert_array_equal(world.image(), picture)


@pytest.mark.parametrize("failure", [AttributeError("eglQueryString"), ImportError("no library")])
def test_without_opengl_the_error_names_the_command_that_installs_it(world, monkeypatch, failure):
    def broken(*_):
        raise failure

    monkeypatch.setattr("mujoco.egl.GLContext", broken)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(RenderingError, match="apt-get install -y libegl1"):
        rendering.Renderer(world.model, 64)


def test_an_interpreter_that_drew_ends_in_silence():
    script = (
        "from vjepa_gym.sim.world import World\n"
        "worlds = [World(image_size=16) for _ in range(2)]\n"
        "[world.image() for world in worlds]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
