from functools import cache

import numpy as np
import pytest

from vjepa_gym.envs.experts import grip_pose, holds, let_go, pick, toward, way_to_grip
from vjepa_gym.envs.tasks.grasp import Grasp
from vjepa_gym.envs.tasks.pick_place import PickPlace
from vjepa_gym.envs.tasks.reach import Reach
from vjepa_gym.envs.tasks.reach_with_object import ReachWithObject
from vjepa_gym.kinematics import difference
from vjepa_gym.sim.objects import ObjectSet
from vjepa_gym.sim.shapes import Box
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import ACTION_LIMIT, MAX_TRANSLATION

TASKS = [
    Reach(),
    Grasp("cup"),
    Grasp("box"),
    ReachWithObject("cup"),
    ReachWithObject("box"),
    PickPlace("cup"),
    PickPlace("box"),
]
EVERY_TASK = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.description)


@cache
def lab(name="train", gripper="panda"):
    return World(image_size=16, lab=name, gripper=gripper)


@pytest.fixture
def world():
    return lab()


def begin(task, world, seed):
    rng = np.random.default_rng(seed)
    task.begin(world, rng)
    return rng


def follow(task, world, steps):
    for _ in range(steps):
        world.arm.move(task.expert(world))


def hand(world, **axes):
    names = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
    world.arm.move(np.array([axes.get(name, 0.0) for name in names], np.float32))


def lone(world, name, yaw=0.0, tool=(0.5, 0.0, 0.2)):
    """Stand one object on the table and hold the open hand over it."""
    world.arrange({name: np.array([0.5, 0.0, yaw])})
    world.arm.place(world.arm.flange_at(np.array(tool)))
    world.settle()


@EVERY_TASK
@pytest.mark.parametrize(
    ("name", "gripper"),
    [("train", "panda"), ("test", "panda"), ("train", "robotiq"), ("test", "robotiq")],
)
def test_an_expert_does_its_task_in_time(task, name, gripper):
    world = lab(name, gripper)
    begin(task, world, 100)
    follow(task, world, sum(task.steps))
    assert task.success(world)
    assert task.stage(world) == len(task.steps)


@EVERY_TASK
def test_an_expert_is_a_pure_function_of_the_state_and_keeps_the_limits(task, world):
    begin(task, world, 7)
    for _ in range(sum(task.steps)):
        before = world.state, world.arm.closedness
        action = task.expert(world)
        np.testing.assert_array_equal(task.expert(world), action)
        np.testing.assert_array_equal(world.state, before[0])
        assert world.arm.closedness == before[1]
        assert action.dtype == np.float32
        assert np.all(np.abs(action) <= ACTION_LIMIT)
        world.arm.move(action)


@EVERY_TASK
def test_an_expert_that_is_done_holds_still(task, world):
    begin(task, world, 8)
    follow(task, world, sum(task.steps))
    np.testing.assert_allclose(task.expert(world), 0.0, atol=4e-3)


@pytest.mark.parametrize("task", TASKS[1:], ids=lambda task: task.description)
@pytest.mark.parametrize("what", ["object", "arm", "turn"])
def test_an_expert_recovers_from_a_push(task, world, what):
    rng = begin(task, world, 9)
    follow(task, world, 2)
    angle = rng.uniform(-np.pi, np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    if what == "object":
        world.push(task.target, 0.3 * direction, 0.2)
    elif what == "arm":
        hand(world, x=0.06 * direction[0], y=0.06 * direction[1])
    else:
        hand(world, yaw=0.25)
    follow(task, world, sum(task.steps) - 2)
    assert task.success(world)


@pytest.mark.parametrize("name", ["cup", "box"])
def test_what_is_dropped_on_the_way_is_picked_up_again(world, name):
    task = PickPlace(name)
    begin(task, world, 10)
    while task.stage(world) < 1:
        world.arm.move(task.expert(world))
    follow(task, world, 2)
    hand(world, closedness=-0.75)
    assert not world.grasped(name)
    follow(task, world, 18)
    assert task.success(world)


def test_an_expert_copes_with_moves_that_are_a_little_off(world):
    solved = 0
    for seed in range(5):
        task = PickPlace("box")
        rng = begin(task, world, seed)
        for _ in range(18):
            action = task.expert(world)
            action[:3] += rng.normal(0.0, 0.005, 3).astype(np.float32)
            world.arm.move(action)
        solved += task.success(world)
    assert solved >= 4


def test_a_move_towards_a_far_pose_keeps_its_direction(world):
    lone(world, "cup")
    goal = world.arm.flange_at(np.array([0.7, 0.1, 0.15]), closedness=1.0, yaw=0.5)
    action, whole = toward(world, goal), difference(world.arm.pose, goal)
    assert np.abs(action[:3]).max() == pytest.approx(MAX_TRANSLATION)
    np.testing.assert_allclose(action[:3] / action[0], whole[:3] / whole[0], atol=1e-5)
    np.testing.assert_allclose(action[3:], [0, 0, 0.25, 0.75], atol=5e-3)


@pytest.mark.parametrize("yaw", [-2.0, -0.6, 0.3, 1.5])
def test_a_square_box_is_gripped_with_a_turn_of_at_most_an_eighth(world, yaw):
    lone(world, "box", yaw)
    turn = grip_pose(world, "box")[5]
    assert abs(turn) <= np.pi / 4 + 1e-6
    assert np.sin(4 * (turn - yaw)) == pytest.approx(0.0, abs=1e-4)


def test_a_longish_box_is_gripped_by_its_narrow_sides():
    world = lab("test")
    lone(world, "box", 1.2)
    assert grip_pose(world, "box")[5] == pytest.approx(1.2, abs=1e-4)


def test_a_round_cup_needs_no_turn_and_one_with_a_handle_does(world):
    lone(world, "cup", 0.4)
    assert grip_pose(world, "cup")[5] == pytest.approx(0.0)
    lone(lab("test"), "cup", 0.4)
    assert grip_pose(lab("test"), "cup")[5] == pytest.approx(0.4, abs=1e-4)


def test_a_hand_beside_an_object_goes_up_before_it_goes_over_it(world):
    lone(world, "box", tool=(0.5, 0.15, 0.05))
    action = pick(world, "box")
    np.testing.assert_allclose(action[:2], 0.0, atol=1e-3)
    assert action[2] > 0.04


def test_a_closed_hand_opens_before_it_goes_down(world):
    lone(world, "box", tool=(0.5, 0.0, 0.1))
    hand(world, closedness=0.75)
    hand(world, closedness=0.75)
    action = pick(world, "box")
    assert action[6] == pytest.approx(-0.75)
    assert action[2] > -0.01


def test_a_hand_that_closed_on_nothing_opens_again(world):
    lone(world, "box")
    world.arm.place(grip_pose(world, "box"))
    world.put("box", np.array([0.5, 0.2, 0.035]))
    with world.undone():
        hand(world, closedness=0.75)
        hand(world, closedness=0.75)
        world.put("box", np.array([0.5, 0.0, 0.035]))
        assert pick(world, "box")[6] == pytest.approx(-0.75)


def test_what_is_held_at_the_edge_of_the_pads_is_gripped_anew(world):
    lone(world, "box")
    aside = np.array([0.02, 0.02, 0.0])
    world.arm.place(world.arm.flange_at(np.array([0.5, 0.0, 0.04]) + aside))
    hand(world, closedness=0.75)
    assert world.grasped("box")
    assert not holds(world, "box")
    opening = pick(world, "box")
    np.testing.assert_allclose(opening[:6], 0.0, atol=4e-3)
    assert opening[6] == pytest.approx(-0.75)
    while not holds(world, "box"):
        world.arm.move(pick(world, "box"))
    assert np.linalg.norm(way_to_grip(world, "box")) < 0.01


def test_a_thin_thing_is_gripped_in_two_steps():
    thin = ObjectSet(box=Box(size=(0.05, 0.012, 0.07)))
    world = World(image_size=16, objects=thin)
    lone(world, "box")
    world.arm.place(grip_pose(world, "box"))
    closing = []
    while not world.grasped("box"):
        closing.append(pick(world, "box")[6])
        world.arm.move(pick(world, "box"))
    np.testing.assert_allclose(closing, [0.75, 0.25], atol=1e-6)


def test_a_hand_opens_then_goes_up_then_waits(world):
    lone(world, "box")
    world.arm.place(grip_pose(world, "box"))
    hand(world, closedness=0.75)
    actions = []
    for _ in range(3):
        actions.append(let_go(world, "box"))
        world.arm.move(actions[-1])
    opening, rising, waiting = np.round(actions, 3)
    assert opening[6] == -0.75
    assert rising[2] > 0.06
    np.testing.assert_allclose(waiting, 0.0, atol=4e-3)
