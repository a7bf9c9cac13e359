import mujoco
import numpy as np
import pytest

from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.sim import scene
from vjepa_gym.sim.objects import Box, Cup


@pytest.fixture(scope="module")
def model():
    return scene.load_scene()


def test_a_scene_is_composed_once_and_then_read_from_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("VJEPA_GYM_CACHE", str(tmp_path))
    first = scene.load_scene()
    files = list((tmp_path / "scenes").iterdir())
    monkeypatch.setattr(scene, "compose", lambda _: pytest.fail("composed again"))
    second = scene.load_scene()
    assert [file.suffix for file in files] == [".mjb"]
    np.testing.assert_array_equal(first.body_pos, second.body_pos)


def test_another_object_is_another_cached_scene():
    assert scene._key(scene.SceneConfig()) != scene._key(scene.SceneConfig(box=Box(mass=0.2)))


def test_visual_meshes_keep_less_than_a_fifth_of_their_faces(model):
    stock = mujoco.MjSpec.from_file(str(scene._assets() / "robots" / "panda" / "robot.xml"))
    assert model.nmeshface < 0.2 * stock.compile().nmeshface


def test_decimated_meshes_fill_the_same_space_as_the_stock_ones(model):
    stock = mujoco.MjSpec.from_file(
        str(scene._assets() / "robots" / "panda" / "robot.xml")
    ).compile()
    for name in ("link1_vis", "link2_vis"):
        before, after = _extent(stock, name), _extent(model, f"{name}_light")
        np.testing.assert_allclose(after, before, atol=5e-3)


def _extent(model, name):
    from vjepa_gym.sim.meshes import _vertices

    vertices = _vertices(model, name)
    return np.stack([vertices.min(0), vertices.max(0)])


def test_the_base_frame_is_the_world_frame_and_the_table_top_is_at_zero(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    table = model.geom("table_collision")
    np.testing.assert_allclose(data.body("link0").xpos, 0.0, atol=1e-9)
    assert data.geom("table_collision").xpos[2] + table.size[2] == pytest.approx(0.0)


def test_objects_come_to_rest_upright_where_they_were_put(model):
    data = mujoco.MjData(model)
    data.joint("cup").qpos[:2], data.joint("box").qpos[:2] = [0.5, 0.1], [0.5, -0.1]
    mujoco.mj_step(model, data, nstep=500)
    for name, height in (("cup", Cup().height), ("box", Box().height)):
        pose = data.joint(name).qpos
        assert pose[2] == pytest.approx(height / 2, abs=1e-3)
        assert pose[3] == pytest.approx(1.0, abs=1e-3)
        assert np.abs(data.joint(name).qvel).max() < 1e-2


def test_a_cup_meets_the_table_with_its_bottom_alone(model):
    data = mujoco.MjData(model)
    data.joint("box").qpos[:2] = [0.6, -0.2]
    mujoco.mj_step(model, data, nstep=200)
    touching = [contact for contact in data.contact if "cup" in _bodies(model, contact)]
    assert 3 <= len(touching) <= 6


def _bodies(model, contact):
    return {model.body(model.geom_bodyid[geom]).name for geom in contact.geom}


def test_without_robosuite_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(VJEPAGymError, match="pip install robosuite"):
        scene._assets()
