import numpy as np
import pytest

from vjepa_gym.errors import UnknownNameError, VariationError
from vjepa_gym.sim.objects import OBJECT_SETS, object_set
from vjepa_gym.sim.shapes import Prop
from vjepa_gym.sim.world import World

SPOTS = [(0.5, 0.15), (0.5, -0.15), (0.7, 0.0), (0.3, 0.3), (0.3, -0.3), (0.75, 0.3)]
PANDA_OPENS = 0.08


@pytest.fixture(scope="module", params=OBJECT_SETS)
def world(request):
    world = World(image_size=32, objects=request.param, distractors=4)
    yield world
    world.close()


def test_each_set_has_a_cup_a_box_and_four_more(world):
    assert list(world.objects) == ["cup", "box", *(f"distractor{i}" for i in range(1, 5))]
    assert all(isinstance(shape, Prop) for shape in world.objects.values())


def test_the_sets_share_no_shape():
    train, unseen = (set(chosen.shapes(4).values()) for chosen in OBJECT_SETS.values())
    assert not train & unseen


def test_everything_stands_upright_where_it_was_put(world):
    world.arrange({name: [*spot, 0.4] for name, spot in zip(world.objects, SPOTS, strict=True)})
    world.settle(1.0)
    for (name, shape), spot in zip(world.objects.items(), SPOTS, strict=True):
        pose = world.object_pose(name)
        np.testing.assert_allclose(pose[:3], [*spot, shape.height / 2], atol=1e-3)
        assert world.tilt(name) < 1e-2
        assert world.object_speed(name) < 1e-3


@pytest.mark.parametrize("name", ["cup", "box"])
def test_an_open_hand_that_is_turned_as_the_object_fits_around_it_and_lifts_it(world, name):
    shape, (x, y, yaw) = world.objects[name], (0.52, 0.1, 0.5)
    assert shape.grip_width <= PANDA_OPENS - 0.012
    world.arrange({name: [x, y, yaw]})
    world.arm.place(world.arm.flange_at(np.array([x, y, shape.grip_height]), yaw=yaw))
    world.settle()
    assert world.touches(name) == (False, False)
    np.testing.assert_allclose(world.object_pose(name)[:2], [x, y], atol=1e-3)
    world.arm.move(np.array([0, 0, 0, 0, 0, 0, 0.75], np.float32))
    assert world.grasped(name)
    width = world.arm.gripper.width(float(world.arm.pose[6]))
    assert width == pytest.approx(shape.grip_width, abs=3e-3)
    world.arm.move(np.array([0, 0, 0.075, 0, 0, 0, 0], np.float32))
    assert world.object_pose(name)[2] - shape.height / 2 == pytest.approx(0.075, abs=5e-3)
    assert world.tilt(name) < 0.05


def test_a_cup_meets_the_table_with_its_bottom_alone(world):
    world.arrange({"cup": [0.5, 0.1, 0.0]})
    world.settle(0.4)
    assert 3 <= world.data.ncon <= 6


def test_unknown_sets_and_too_many_distractors_are_errors_that_tell_what_there_is():
    with pytest.raises(UnknownNameError, match="train, unseen"):
        object_set("toys")
    with pytest.raises(VariationError, match="0 to 4"):
        object_set("train").shapes(5)
