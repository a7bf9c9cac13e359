import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vjepa_gym.errors import RenderingError, UnknownNameError, VariationError
from vjepa_gym.sim import rendering
from vjepa_gym.sim.world import World

APART = {"cup": np.array([0.5, 0.15, 0.0]), "box": np.array([0.5, -0.15, 0.3])}
UP = np.array([0, 0, 0.07, 0, 0, 0, 0], np.float32)
CLOSE = np.array([0, 0, 0, 0, 0, 0, 0.75], np.float32)


@pytest.fixture
def world():
    world = World(image_size=64)
    world.arrange(APART)
    yield world
    world.close()


def _hold(world, name):
    """Put an object into the closed hand, in the air."""
    shape, tool = world.objects[name], np.array([0.5, 0.0, 0.25])
    world.arrange({})
    world.arm.place(world.arm.flange_at(tool))
    world.put(name, tool + [0.0, 0.0, shape.height / 2 - shape.grip_height])
    world.arm.grip(shape.grip_width)
    world.settle(0.3)


def test_objects_stand_where_they_were_arranged(world):
    np.testing.assert_allclose(world.object_pose("box")[:2], [0.5, -0.15])
    assert world.object_pose("box")[3] == pytest.approx(np.cos(0.15))


def test_what_is_not_named_is_out_of_sight_and_costs_no_contacts(world):
    world.arrange({"cup": [0.5, 0.1, 0.0]})
    alone = world.image()
    world.settle(0.5)
    contacts = world.data.ncon
    assert np.linalg.norm(world.object_pose("box")[:3]) > 5.0
    assert world.object_speed("box") < 1e-6
    world.arrange({"cup": [0.5, 0.1, 0.0], "box": [0.55, -0.1, 0.0]})
    assert not np.array_equal(world.image(), alone)
    world.settle(0.5)
    assert world.data.ncon > contacts


def test_arranging_puts_the_arm_at_home_with_an_open_hand(world):
    home = world.arm.joints
    world.arm.place(world.arm.flange_at(np.array([0.6, 0.1, 0.2]), closedness=0.6))
    world.arrange(APART)
    np.testing.assert_array_equal(world.arm.joints, home)
    assert world.arm.closedness == 0.0
    assert world.arm.pose[6] == 0.0
    world.settle()
    np.testing.assert_allclose(world.arm.joints, home, atol=1e-3)


@pytest.mark.parametrize("name", ["cup", "box"])
@pytest.mark.parametrize("gripper", ["panda", "robotiq"])
def test_an_object_that_was_put_into_the_hand_is_held_and_lifted(gripper, name):
    world = World(image_size=16, gripper=gripper)
    _hold(world, name)
    assert world.grasped(name)
    before = world.object_pose(name)[2]
    world.arm.move(UP)
    assert world.object_pose(name)[2] - before == pytest.approx(0.07, abs=5e-3)
    assert world.tilt(name) < 0.05


def test_a_finger_that_touches_is_told_from_one_that_does_not(world):
    shape = world.objects["box"]
    world.arrange({})
    world.arm.place(world.arm.flange_at(np.array([0.5, 0.0, 0.25])))
    first, second = (list(geoms) for geoms in world.arm.gripper.finger_geoms)
    assert world.touches("box") == (False, False)
    across = world.data.geom_xpos[first[-1]] - world.data.geom_xpos[second[-1]]
    across[2] = 0.0
    across /= np.linalg.norm(across)
    shift = (world.arm.gripper.width(0.0) - shape.grip_width) / 2 + 0.001
    world.put("box", np.array([0.5, 0.0, 0.25]) + shift * across)
    assert world.touches("box") == (True, False)
    world.put("box", np.array([0.5, 0.0, 0.25]) - shift * across)
    assert world.touches("box") == (False, True)
    assert not world.grasped("box")


def test_speed_and_tilt_are_those_of_a_falling_thing(world):
    world.put("box", [0.5, 0.0, 0.3], 0.4)
    assert world.object_speed("box") == 0.0
    assert world.tilt("box") == pytest.approx(0.0, abs=1e-6)
    world.settle(0.1)
    assert world.object_speed("box") == pytest.approx(0.981, abs=0.02)
    world.data.joint("box").qpos[3:] = [np.cos(0.25), np.sin(0.25), 0.0, 0.0]
    assert world.tilt("box") == pytest.approx(0.5)


def test_a_push_slides_an_object_along_the_table(world):
    world.push("cup", np.array([0.0, -0.3]), 0.2)
    moved = world.object_pose("cup")[:2] - APART["cup"][:2]
    assert moved[1] == pytest.approx(-0.06, abs=0.01)
    assert world.tilt("cup") < 0.1


def test_what_is_done_inside_undone_is_taken_back_to_the_last_bit(world):
    before, picture = world.state, world.image()
    with world.undone():
        world.arm.move(np.array([0.05, 0.05, -0.05, 0, 0, 0, 0.75], np.float32))
        world.put("cup", [0.6, 0.0, 0.2])
        assert not np.array_equal(world.image(), picture)
    np.testing.assert_array_equal(world.state, before)
    np.testing.assert_array_equal(world.image(), picture)
    assert world.arm.closedness == 0.0


def test_a_held_object_is_still_held_after_undone(world):
    _hold(world, "box")
    before = world.state
    with world.undone():
        world.arm.move(-CLOSE)
        assert not world.grasped("box")
        world.configure(objects="unseen")
        world.arrange({})
    assert world.arm.closedness == 1.0
    assert world.grasped("box")
    np.testing.assert_array_equal(world.state, before)


def test_undone_goes_on_as_if_nothing_had_happened(world):
    """Things that float because they are away must float again, and no others."""
    world.arrange({"cup": [0.5, 0.1, 0.0]})
    with world.undone():
        world.arrange({"box": [0.5, 0.1, 0.0]})
        world.settle()
    with world.undone():
        world.settle(0.3)
        expected = world.state
    world.settle(0.3)
    np.testing.assert_array_equal(world.state, expected)


def test_undone_leaves_the_look_alone(world):
    with world.undone():
        world.set_colour("table", [0.9, 0.2, 0.1])
        changed = world.image()
    np.testing.assert_array_equal(world.image(), changed)


def test_pictures_show_light_arm_and_dark_table(world):
    picture = world.image()
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert np.median(picture[40:]) < 90
    assert picture.max() > 200


def test_the_cameras_see_different_things(world):
    left, right, wrist = (world.image(camera) for camera in ("left", "right", "wrist"))
    assert not np.array_equal(left, right)
    assert not np.array_equal(left, wrist)


@pytest.mark.parametrize("part", ["table", "floor", "wall", "cup", "box"])
def test_a_part_is_painted_and_its_paint_taken_off(world, part):
    camera = "left"
    if part == "floor":
        world.set_camera(camera, replace(world.camera(), elevation=50.0, distance=2.0))
    plain = world.image(camera)
    world.set_colour(part, [0.1, 0.9, 0.1])
    painted = world.image(camera).astype(int)
    assert ((painted[..., 1] - painted[..., 0] > 30) & (painted != plain).any(axis=-1)).sum() > 8
    world.restore_look()
    world.set_camera(camera, replace(world.camera(), elevation=50.0, distance=2.0))
    if part != "floor":
        world.restore_look()
    np.testing.assert_array_equal(world.image(camera), plain)


def test_the_grey_that_mujoco_takes_for_no_colour_is_a_colour_here(world):
    world.set_colour("table", [0.5, 0.5, 0.5])
    grey = world.image()
    world.set_colour("table", [0.501, 0.5, 0.5])
    assert np.abs(grey.astype(int) - world.image()).max() <= 2


def test_table_textures_differ_and_are_changed_at_run_time(world):
    names = ("perforated", "plain", "wood", "speckled", "checked")
    pictures = []
    for name in names:
        world.set_table_texture(name)
        pictures.append(world.image().tobytes())
    assert len(set(pictures)) == len(names)
    world.restore_look()
    assert world.image().tobytes() == pictures[0]


def test_light_is_dimmed_and_turned(world):
    usual = world.image().astype(float)
    world.set_light(brightness=0.5)
    assert world.image().mean() == pytest.approx(usual.mean() / 2, rel=0.05)
    world.set_light(azimuth=120.0)
    turned = world.image().astype(float)
    assert np.abs(turned - usual).max() > 25
    assert turned.mean() == pytest.approx(usual.mean(), rel=0.1)
    world.set_light()
    np.testing.assert_array_equal(world.image(), usual)


def test_a_camera_that_was_moved_sees_something_else_until_the_look_is_restored(world):
    usual = world.image()
    world.set_camera("left", replace(world.camera("left"), azimuth=100.0))
    assert not np.array_equal(world.image(), usual)
    world.restore_look()
    np.testing.assert_array_equal(world.image(), usual)


def test_configure_swaps_what_stands_on_the_table_and_restores_the_look(world):
    before = world.image()
    world.set_colour("table", [0.9, 0.9, 0.9])
    world.configure(objects="unseen", distractors=2)
    assert list(world.objects) == ["cup", "box", "distractor1", "distractor2"]
    world.arrange({name: [0.4, 0.1 * i - 0.2, 0.0] for i, name in enumerate(world.objects)})
    assert not np.array_equal(world.image(), before)
    world.configure(objects="train", distractors=0)
    world.arrange(APART)
    np.testing.assert_array_equal(world.image(), before)


def test_configuring_nothing_new_moves_nothing(world):
    before = world.state
    world.configure(objects="train", distractors=0)
    np.testing.assert_array_equal(world.state, before)


def test_only_a_few_scenes_stay_open(world, monkeypatch):
    monkeypatch.setattr("vjepa_gym.sim.open_scene.MOST_OPEN", 2)
    for distractors in (1, 2, 0):
        first = world._scene
        world.configure(distractors=distractors)
        world.image()
    drawn = [scene for scene in world._opened._open.values() if scene._renderer is not None]
    assert len(world._opened._open) == len(drawn) == 2
    assert first in drawn


def test_a_closed_world_can_be_looked_at_again(world):
    picture = world.image()
    world.close()
    np.testing.assert_array_equal(world.image(), picture)


@pytest.mark.parametrize(
    ("do", "known"),
    [
        (lambda world: world.arrange({"mug": [0.5, 0.0, 0.0]}), "box, cup"),
        (lambda world: world.put("mug", [0.5, 0.0, 0.1]), "box, cup"),
        (lambda world: world.object_pose("mug"), "box, cup"),
        (lambda world: world.touches("mug"), "box, cup"),
        (lambda world: world.configure(objects="toys"), "train, unseen"),
        (lambda world: world.image("top"), "left, right, wrist"),
        (lambda world: world.calibration("top"), "left, right, wrist"),
        (lambda world: world.set_camera("wrist", world.camera("left")), "left, right"),
        (lambda world: world.set_colour("ceiling", [0.5, 0.5, 0.6]), "box, cup, floor, table"),
        (lambda world: world.set_table_texture("marble"), "checked, perforated"),
        (lambda world: World(lab="kitchen"), "test, train"),
        (lambda world: World(gripper="tongs"), "panda, robotiq"),
    ],
)
def test_an_unknown_name_is_an_error_that_tells_the_known_ones(world, do, known):
    before = world.state
    with pytest.raises(UnknownNameError, match=known):
        do(world)
    np.testing.assert_array_equal(world.state, before)


@pytest.mark.parametrize("number", [-1, 5])
def test_too_many_distractors_are_an_error_that_tells_how_many_there_can_be(world, number):
    with pytest.raises(VariationError, match="0 to 4"):
        world.configure(distractors=number)


@pytest.mark.parametrize("failure", [AttributeError("eglQueryString"), ImportError("no library")])
def test_without_opengl_the_error_names_the_command_that_installs_it(world, monkeypatch, failure):
    def broken(*_):
        raise failure

    monkeypatch.setattr("mujoco.egl.GLContext", broken)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(RenderingError, match="apt-get install -y libegl1"):
        rendering.Renderer(world.model, 64)


DIGEST = """
import hashlib
import numpy as np
from vjepa_gym.sim.world import World

def digest():
    world = World(image_size=64, lab="test")
    world.arrange({"cup": [0.5, 0.15, 0.0], "box": [0.55, -0.15, 0.3]})
    world.set_light(1.2, 30.0)
    world.set_table_texture("checked")
    world.settle(0.2)
    world.arm.move(np.array([0.05, 0.02, -0.03, 0.0, 0.0, 0.1, 0.3], np.float32))
    pictures = b"".join(world.image(camera).tobytes() for camera in ("left", "right", "wrist"))
    return hashlib.sha256(pictures + world.state.tobytes()).hexdigest()
"""


def test_the_same_state_is_the_same_bytes_in_another_process_which_ends_in_silence():
    here = {}
    exec(DIGEST, here)
    there = subprocess.run(
        [sys.executable, "-c", DIGEST + "print(digest())"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (there.returncode, there.stderr) == (0, "")
    assert there.stdout.strip() == here["digest"]() == here["digest"]()
