import importlib.metadata
import time
from dataclasses import dataclass, replace

import mujoco
import numpy as np
import pytest

from vjepa_gym.errors import UnknownNameError, VariationError, VJEPAGymError
from vjepa_gym.sim import assets, scene
from vjepa_gym.sim.labs import TEST, TRAIN
from vjepa_gym.sim.objects import ObjectSet
from vjepa_gym.sim.shapes import Box
from vjepa_gym.sim.solids import BOX, FreeBody


@pytest.fixture(scope="module")
def model():
    return scene.load_scene()


@dataclass(frozen=True)
class Brick:
    """An object of a user's own."""

    height: float = 0.05
    grip_width: float = 0.04
    grip_height: float = 0.025

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        body = FreeBody(spec, name, self.height, (0.5, 0.2, 0.2, 1.0))
        body.add(BOX, [0.03, self.grip_width / 2, self.height / 2], mass=0.1)


def test_a_scene_with_an_object_of_ones_own_is_composed_once_and_then_read_from_disk(
    tmp_path, monkeypatch
):
    config = scene.SceneConfig(objects=ObjectSet(box=Brick()))
    monkeypatch.setenv("VJEPA_GYM_CACHE", str(tmp_path))
    first = scene.load_scene(config)
    files = list((tmp_path / "scenes").iterdir())
    monkeypatch.setattr(scene, "compose", lambda _: pytest.fail("composed again"))
    second = scene.load_scene(config)
    assert [file.suffix for file in files] == [".mjb"]
    np.testing.assert_array_equal(first.body_pos, second.body_pos)
    brick = second.body("box").geomadr[0]
    assert second.geom_size[brick, 2] == pytest.approx(0.025)


def test_a_cached_scene_opens_in_a_fraction_of_a_second(model):
    started = time.process_time()
    scene.load_scene()
    assert time.process_time() - started < 0.35


@pytest.mark.parametrize(
    "other",
    [
        scene.SceneConfig(lab=TEST),
        scene.SceneConfig(objects="unseen"),
        scene.SceneConfig(distractors=2),
        scene.SceneConfig(actuation="torque"),
        scene.SceneConfig(lab=replace(TRAIN, floor_rgb=(0.1, 0.1, 0.1))),
        scene.SceneConfig(objects=ObjectSet(box=Box(mass=0.2))),
        scene.SceneConfig(objects=ObjectSet(box=Brick())),
    ],
)
def test_whatever_differs_is_another_cached_scene(other):
    assert scene._key(other) != scene._key(scene.SceneConfig())
    assert scene._key(other) == scene._key(replace(other))


def test_names_and_numbers_that_do_not_exist_are_errors_that_tell_which_do():
    with pytest.raises(UnknownNameError, match="panda"):
        scene.SceneConfig(gripper="tongs")
    with pytest.raises(UnknownNameError, match="unseen"):
        scene.SceneConfig(objects="toys")
    for number in (-1, 5):
        with pytest.raises(VariationError, match=r"0 to 4 distractors"):
            scene.SceneConfig(distractors=number)


def test_the_base_frame_is_the_world_frame_and_the_table_top_is_at_zero(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    table = model.geom("table_collision")
    np.testing.assert_allclose(data.body("link0").xpos, 0.0, atol=1e-9)
    assert data.geom("table_collision").xpos[2] + table.size[2] == pytest.approx(0.0)


def test_few_pieces_are_drawn_besides_the_robot(model):
    drawn = [model.geom(i) for i in range(model.ngeom) if model.geom_group[i] == 1]
    robot = {model.body(f"link{i}").id for i in range(8)} | {
        i for i in range(model.nbody) if model.body_rootid[i] == model.body("link0").id
    }
    assert len([geom for geom in drawn if geom.bodyid[0] not in robot]) <= 10


def test_nothing_is_mirrored_or_transparent_and_one_light_casts_shadows(model):
    assert not model.mat_reflectance.any()
    assert (model.geom_rgba[model.geom_group == 1, 3] == 1.0).all()
    assert model.nlight == 1
    assert model.light_castshadow.all()


def test_contacts_hold_what_is_gripped(model):
    """These were tuned together: softer ones let a gripped cup creep out of the fingers."""
    geom = model.geom("finger1_pad_collision")
    np.testing.assert_allclose(geom.solref, [0.006, 1.0])
    np.testing.assert_allclose(geom.solimp[:3], [0.97, 0.99, 0.001])
    assert geom.condim == 4
    assert model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    assert model.opt.impratio == 10.0
    assert model.opt.timestep == 0.002


def test_without_robosuite_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(VJEPAGymError, match="pip install robosuite"):
        assets.assets()


@pytest.mark.usefixtures("model")  # it is compiled for that
def test_without_robosuite_scenes_that_were_compiled_elsewhere_are_found(monkeypatch):
    known = scene.scene_file(scene.SceneConfig())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert scene.scene_file(scene.SceneConfig()) == known
    assert scene.load_scene().ngeom > 0


def test_the_version_that_is_assumed_is_the_one_that_this_package_asks_for():
    (asked,) = (line for line in importlib.metadata.requires("vjepa-gym") if "robosuite" in line)
    assert asked == f"robosuite=={assets.VERSION}"
    assert assets.version() == importlib.metadata.version("robosuite")
