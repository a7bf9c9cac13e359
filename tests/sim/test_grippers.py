import mujoco
import numpy as np
import pytest

from vjepa_gym import kinematics
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.grippers import GRIPPERS, Gripper, gripper_named
from vjepa_gym.sim.world import World

PADS = {
    "panda": ("finger1_pad_collision", "finger2_pad_collision"),
    "robotiq": ("left_fingertip_collision", "right_fingertip_collision"),
}
MIDDLE = np.array([0.5, 0.0, 0.25])


@pytest.fixture(scope="module", params=list(GRIPPERS))
def world(request):
    return World(image_size=16, gripper=request.param)


@pytest.fixture
def hand(world):
    """An open hand in the air, with nothing near it."""
    world.arrange({})
    world.arm.place(world.arm.flange_at(MIDDLE))
    return world


def action(**axes):
    names = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
    return np.array([axes.get(name, 0.0) for name in names], np.float32)


def gap(world):
    """Return how far the pads are from one another [m]."""
    first, second = (world.model.geom(name).id for name in PADS[world.gripper])
    return mujoco.mj_geomDistance(world.model, world.data, first, second, 1.0, None)


def in_hand(world, name):
    """Return where an object is and how it is turned, seen from the flange."""
    site, body = world.data.site("flange"), world.data.body(name)
    rotation = site.xmat.reshape(3, 3).T
    return rotation @ (body.xpos - site.xpos), rotation @ body.xmat.reshape(3, 3)


def slip(before, after):
    """Return how far and by what angle an object was displaced in the hand [m, rad]."""
    turned = before[1].T @ after[1]
    angle = np.arccos(np.clip((np.trace(turned) - 1.0) / 2.0, -1.0, 1.0))
    return float(np.linalg.norm(after[0] - before[0])), float(angle)


def above(world, name):
    """Return where the tool centre goes to grip an object that stands on the table."""
    shape, place = world.objects[name], world.object_pose(name)[:3]
    return place + [0.0, 0.0, shape.grip_height - shape.height / 2]


def go_down_and_close(world, name):
    goal = world.arm.flange_at(above(world, name))
    for _ in range(4):
        world.arm.move(kinematics.difference(world.arm.pose, goal))
    world.arm.move(action(closedness=0.75))


def test_every_gripper_plays_the_role(hand):
    assert isinstance(hand.arm.gripper, Gripper)


@pytest.mark.parametrize("closedness", [0.0, 0.3, 0.7, 0.95])
def test_the_width_is_the_gap_between_the_pads(hand, closedness):
    gripper = hand.arm.gripper
    gripper.place(hand.data, closedness)
    mujoco.mj_forward(hand.model, hand.data)
    assert gripper.width(closedness) == pytest.approx(gap(hand), abs=1e-4)
    assert gripper.closedness_at(gripper.width(closedness)) == pytest.approx(closedness)
    assert gripper.closedness(hand.data) == pytest.approx(closedness)


def test_an_open_hand_takes_eight_centimetres_less_than_nine_and_a_closed_one_nothing(hand):
    gripper = hand.arm.gripper
    assert 0.078 < gripper.width(0.0) < 0.09
    assert -2e-3 < gripper.width(1.0) < 2e-3
    assert gripper.closedness_at(1.0) == 0.0
    assert gripper.closedness_at(-1.0) == 1.0


def test_the_fingers_go_where_they_are_told_and_both_alike(hand):
    for change, expected in ((0.5, 0.5), (0.75, 1.0), (-0.75, 0.25), (-0.75, 0.0)):
        hand.arm.move(action(closedness=change))
        assert hand.arm.pose[6] == pytest.approx(expected, abs=0.02)
        middle = np.mean([hand.data.geom(name).xpos for name in PADS[hand.gripper]], axis=0)
        np.testing.assert_allclose(middle[:2], hand.arm.tool[:2], atol=1e-3)


@pytest.mark.parametrize("name", ["cup", "box"])
def test_what_stands_on_the_table_is_gripped_lifted_and_held_over_ten_moves(world, name):
    world.arrange({name: [0.5, 0.02, 0.0]})
    world.arm.place(world.arm.flange_at(np.array([0.5, 0.02, 0.2])))
    go_down_and_close(world, name)
    assert world.grasped(name)
    begin = in_hand(world, name)
    world.arm.move(action(z=0.075))
    world.arm.move(action(z=0.025))
    assert world.object_pose(name)[2] - world.objects[name].height / 2 > 0.095
    assert slip(begin, in_hand(world, name))[0] < 1e-3
    rng = np.random.default_rng(0)
    for _ in range(10):
        world.arm.move(action(**dict(zip("xyz", rng.uniform(-0.05, 0.05, 3), strict=True))))
        assert world.grasped(name)
    distance, angle = slip(begin, in_hand(world, name))
    assert distance < 3e-3
    assert angle < 0.02


@pytest.mark.parametrize("name", ["cup", "box"])
def test_finger_tips_stay_parallel_under_load_and_press_alike(hand, name):
    hand.put(name, above_in_air(hand, name))
    hand.arm.grip(hand.objects[name].grip_width)
    hand.settle(0.2)
    normals = [hand.data.geom(pad).xmat.reshape(3, 3)[:, 1] for pad in PADS[hand.gripper]]
    assert abs(normals[0] @ normals[1]) > np.cos(0.01)
    forces = [pressing(hand, geoms) for geoms in hand.arm.gripper.finger_geoms]
    assert min(forces) > 15.0
    assert forces[0] == pytest.approx(forces[1], rel=0.1)


@pytest.mark.parametrize("name", ["cup", "box"])
def test_an_object_that_is_put_between_the_fingers_is_held_from_the_first_moment(hand, name):
    hand.put(name, above_in_air(hand, name))
    hand.arm.grip(hand.objects[name].grip_width)
    begin = in_hand(hand, name)
    hand.settle(0.1)
    assert hand.grasped(name)
    held = in_hand(hand, name)
    assert slip(begin, held)[0] < 1e-3
    hand.settle(1.0)
    assert slip(held, in_hand(hand, name))[0] < 1e-4
    assert hand.arm.closedness == 1.0


def test_a_tilted_hand_keeps_what_it_holds_in_its_middle(hand):
    hand.put("box", above_in_air(hand, "box"))
    hand.arm.grip(hand.objects["box"].grip_width)
    hand.settle(0.1)
    begin = in_hand(hand, "box")
    for _ in range(4):
        hand.arm.move(action(roll=0.2, pitch=0.1))
    hand.settle(2.0)
    assert slip(begin, in_hand(hand, "box"))[0] < 2e-3


def test_an_unknown_gripper_is_an_error_that_suggests_the_one_that_was_meant():
    with pytest.raises(UnknownNameError, match="Did you mean 'robotiq'"):
        gripper_named("robotic")


def above_in_air(world, name):
    """Return where an object's centre is when the hand at `MIDDLE` grips it."""
    shape = world.objects[name]
    return MIDDLE + [0.0, 0.0, shape.height / 2 - shape.grip_height]


def pressing(world, geoms):
    """Return the force with which geoms press on what they touch [N]."""
    total, force = 0.0, np.zeros(6)
    for i, pair in enumerate(world.data.contact.geom):
        if np.isin(pair, geoms).any():
            mujoco.mj_contactForce(world.model, world.data, i, force)
            total += force[0]
    return total
