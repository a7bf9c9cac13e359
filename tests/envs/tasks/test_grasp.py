import numpy as np
import pytest
from acting import follow, hand, lab, solved_by_holding_still

from vjepa_gym.envs.experts import grip_pose
from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW, TABLE_HIGH, TABLE_LOW, Placement
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks import holding
from vjepa_gym.envs.tasks.grasp import LIFTED, Grasp
from vjepa_gym.envs.tasks.starts import HAND_FARTHEST, HAND_NEAREST
from vjepa_gym.errors import PlacementError

THERE = Placement(object_start=(0.52, 0.05, 0.0), arm_start=(0.52, 0.05, 0.2))


@pytest.fixture
def world():
    return lab()


@pytest.fixture(params=["cup", "box"])
def task(request):
    return Grasp(request.param)


def grip(task, world):
    """Begin, and close the hand on the object without lifting it."""
    task.begin(world, np.random.default_rng(0), THERE)
    while not world.grasped(task.target):
        world.arm.move(task.expert(world))


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert task.target in task.description
    assert sum(task.steps) == 12


@pytest.mark.parametrize("distractors", [0, 4])
def test_an_open_hand_begins_eight_to_twenty_centimetres_from_its_grip(task, distractors):
    world = lab("test", distractors=distractors)
    for seed in range(20):
        task.begin(world, np.random.default_rng(seed))
        place = world.object_pose(task.target)
        assert HAND_NEAREST - 3e-3 <= task.distance(world) <= HAND_FARTHEST + 3e-3
        assert np.all((world.arm.tool > REGION_LOW - 2e-3) & (world.arm.tool < REGION_HIGH + 2e-3))
        assert np.all((place[:2] > TABLE_LOW - 1e-3) & (place[:2] < TABLE_HIGH + 1e-3))
        assert world.arm.pose[6] < 0.02
        assert task.stage(world) == 0
        assert not any(any(world.touches(name)) for name in world.objects)


def test_the_expert_ends_where_the_goal_says(task, world):
    task.begin(world, np.random.default_rng(3))
    goal, place = task.goal_poses(world), task.desired_goal(world)
    stages, progress = follow(task, world, steps=7)
    np.testing.assert_allclose(world.arm.pose[:3], goal[0, :3], atol=6e-3)
    np.testing.assert_allclose(world.arm.pose[6], goal[0, 6], atol=0.02)
    assert np.linalg.norm(task.achieved_goal(world) - place) < task.threshold / 2
    assert stages == sorted(stages)
    assert stages[-1] == 1
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


def test_a_closed_hand_has_grasped_before_it_lifts_and_while_it_does(task, world):
    grip(task, world)
    assert task.success(world)
    assert task.stage(world) == 0
    hand(world, z=0.05)
    assert task.success(world)
    assert task.stage(world) == 1


def test_an_open_hand_around_the_object_has_not_grasped(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    world.arm.place(grip_pose(world, task.target))
    assert task.distance(world) < 1e-3
    assert not task.success(world)
    assert 0.4 < task.progress(world) < 1.0


def test_one_finger_is_no_grasp(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    world.arm.place(grip_pose(world, task.target))
    # The fingers close along this diagonal of the table.
    while not any(world.touches(task.target)):
        hand(world, x=-0.007, y=0.007)
    assert sum(world.touches(task.target)) == 1
    assert not task.success(world)


def test_pressing_on_the_object_from_above_is_no_grasp(world):
    task = Grasp("box")
    task.begin(world, np.random.default_rng(0), THERE)
    hand(world, closedness=0.75)
    hand(world, closedness=0.75)
    while not world.grasped("box"):
        hand(world, z=-0.01)
    assert not task.success(world)
    assert task.progress(world) < 1.0


def test_what_was_dropped_is_not_grasped(task, world):
    grip(task, world)
    hand(world, z=0.03)
    assert task.success(world)
    hand(world, closedness=-0.75)
    assert not task.success(world)
    assert world.object_pose(task.target)[2] < task.desired_goal(world)[2] - LIFTED


def test_what_slips_out_of_the_hand_is_not_grasped(task, world):
    grip(task, world)
    hand(world, z=0.05)
    with world.undone():
        world.arm.gripper.command(world.data, 0.0)
        assert not task.success(world)
    assert task.success(world)


def test_judging_changes_nothing(task, world):
    grip(task, world)
    before = world.state
    task.success(world)
    task.progress(world)
    np.testing.assert_array_equal(world.state, before)


def test_holding_still_never_succeeds(task, world):
    assert solved_by_holding_still(task, world) == 0


def test_an_object_that_fell_over_can_be_grasped(world):
    task = Grasp("cup")
    task.begin(world, np.random.default_rng(0), THERE)
    world.put("cup", np.array([0.52, 0.05, 0.09]))
    world.data.joint("cup").qpos[3:] = [np.sqrt(0.5), 0.5, 0.5, 0.0]
    world.settle(0.5)
    assert world.tilt("cup") > 1.5
    follow(task, world)
    assert world.grasped("cup")
    assert holding.lowest(world, "cup") > 0.02


def test_places_can_be_given_but_not_on_top_of_each_other(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    np.testing.assert_allclose(world.arm.tool, THERE.arm_start, atol=1e-3)
    np.testing.assert_allclose(world.object_pose(task.target)[:2], [0.52, 0.05], atol=1e-3)
    near = Placement(object_start=(0.52, 0.05, 0.0), arm_start=(0.52, 0.05, 0.08))
    with pytest.raises(PlacementError, match=r"arm_start must be at least 0\.08 m"):
        task.begin(world, np.random.default_rng(0), near)
    far = Placement(arm_start=(0.4, -0.25, 0.45))
    task.begin(world, np.random.default_rng(0), far)
    np.testing.assert_allclose(world.arm.tool, far.arm_start, atol=1e-3)
