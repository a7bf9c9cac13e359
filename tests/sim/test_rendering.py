import mujoco
import numpy as np
import pytest

from vjepa_gym import images
from vjepa_gym.errors import RenderingError
from vjepa_gym.sim import rendering
from vjepa_gym.sim.rendering import Renderer
from vjepa_gym.sim.world import World

SCENE = """
<mujoco>
  <visual><quality shadowsize="256"/><map znear="0.05" zfar="8" shadowclip="1"/></visual>
  <statistic extent="1" center="0 0 0"/>
  <worldbody>
    <light type="directional" pos="0 0 2" dir="0.3 0 -1" castshadow="true"/>
    <camera name="left" pos="0 -1 1" xyaxes="1 0 0 0 0.7 0.7" fovy="60"/>
    <geom name="ground" type="box" size="1 1 0.01" group="1" rgba="0.5 0.5 0.5 1"/>
    <geom name="brick" type="box" size="0.1 0.1 0.1" pos="0.4 0.4 0.1" group="1"/>
    <body name="ball" pos="0 0 0.3"><freejoint/>
      <geom name="seen" type="sphere" size="0.1" group="1" rgba="0.9 0.1 0.1 1"/>
      <geom name="hidden" type="sphere" size="0.3" group="0"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module")
def world():
    world = World(image_size=64)
    yield world
    world.close()


@pytest.fixture
def scene():
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer(model, 64)
    yield model, data, renderer
    renderer.close()


def test_a_picture_has_the_size_that_was_asked_for(scene):
    _, data, renderer = scene
    picture = renderer.render(data)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous


def test_the_same_state_gives_the_same_bytes(world):
    other = World(image_size=64)
    first = world.image()
    world.arrange({"cup": np.array([0.5, 0.1, 0.0])})
    moved = world.image()
    world.arrange({})
    assert not np.array_equal(first, moved)
    np.testing.assert_array_equal(world.image(), first)
    np.testing.assert_array_equal(other.image(), first)
    other.close()


@pytest.mark.parametrize("camera", ["left", "right", "wrist"])
def test_the_centred_square_of_a_wide_picture_is_the_square_picture(camera):
    """Models that were trained on square pictures see in wide ones what they know."""
    seen = []
    for size in (180, [180, 320]):
        world = World(image_size=size)
        world.arrange({"cup": [0.5, 0.1, 0.3], "box": [0.45, -0.1, 0.0]})
        seen.append(world.image(camera))
        world.close()
    square, wide = seen
    assert wide.shape == (180, 320, 3)
    away = np.abs(square.astype(int) - images.crop_to_aspect(wide, (1, 1)))
    # OpenGL rounds where edges lie, which tips a pixel in ten thousand over to its neighbour.
    assert (away > 0).mean() < 5e-4
    assert away.mean() < 1e-3


def test_a_picture_may_be_higher_than_wide():
    world = World(image_size=(64, 32))
    assert world.image().shape == (64, 32, 3)
    world.close()


def lift(data, height):
    data.qpos[2] = height
    mujoco.mj_forward(data.model, data)


def test_row_0_is_at_the_top(scene):
    _, data, renderer = scene
    rows = []
    for height in (0.3, 0.5):
        lift(data, height)
        red = renderer.render(data).astype(int)
        rows.append(np.argwhere(red[..., 0] - red[..., 2] > 60)[:, 0].mean())
    assert rows[1] < rows[0] - 3


def test_a_shadow_tells_how_high_something_is(scene):
    """The light comes from the left: the higher, the farther to the right of the ball it falls."""
    model, data, renderer = scene
    model.geom("seen").rgba[3] = 0.001  # cast still, hardly seen
    columns = []
    for height in (0.2, 0.8):
        lift(data, height)
        lit = renderer.render(data).astype(int)
        lift(data, 5.0)
        darker = renderer.render(data).astype(int) - lit > 20
        columns.append(np.argwhere(darker.any(-1))[:, 1].mean())
    assert columns[1] > columns[0] + 3


def test_only_what_stands_out_casts_shadows(scene, world):
    model, _, _ = scene
    casts = dict(
        zip(["ground", "brick", "seen", "hidden"], rendering._casts_shadow(model), strict=True)
    )
    assert casts == {"ground": False, "brick": True, "seen": True, "hidden": True}
    model = world.model
    casts = np.array(rendering._casts_shadow(model))
    assert not casts[[model.geom(name).id for name in ("floor", "wall_rear", "table_visual")]].any()
    for link in range(8):
        meshes = model.geom_bodyid == model.body(f"link{link}").id
        meshes &= (model.geom_group == 1) & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)
        assert casts[meshes].sum() == 1


def test_a_missing_library_is_named(scene, monkeypatch):
    model, _, _ = scene

    def no_context(*_):
        raise ImportError("no such library")

    for backend, package in (("egl", "libegl1"), ("osmesa", "libosmesa6"), ("glfw", "DISPLAY")):
        monkeypatch.setenv("MUJOCO_GL", backend)
        monkeypatch.setattr(rendering.importlib, "import_module", no_context)
        with pytest.raises(RenderingError, match=package) as caught:
            Renderer(model, 32)
        assert "no such library" in str(caught.value)


def test_mujoco_itself_may_find_no_opengl(scene, monkeypatch):
    model, _, _ = scene

    def no_opengl(*_):
        raise mujoco.FatalError("an OpenGL platform library has not been loaded")

    monkeypatch.setattr(rendering.mujoco, "MjrContext", no_opengl)
    with pytest.raises(RenderingError, match="platform library"):
        Renderer(model, 32)


def test_closing_twice_is_no_matter(scene):
    model, _, _ = scene
    renderer = Renderer(model, 32)
    renderer.close()
    renderer.close()
