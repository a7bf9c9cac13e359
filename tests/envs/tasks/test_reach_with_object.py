import numpy as np
import pytest
from acting import follow, hand, lab, solved_by_holding_still

from vjepa_gym.envs.placement import HAND_SIDE, REGION_HIGH, Placement
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks.reach_with_object import (
    FARTHEST,
    HELD_LOW,
    NEAREST,
    THRESHOLD,
    ReachWithObject,
)
from vjepa_gym.errors import PlacementError

THERE = Placement(arm_start=(0.5, -0.1, 0.25), goal=(0.55, 0.05, 0.3))


@pytest.fixture
def world():
    return lab()


@pytest.fixture(params=["cup", "box"])
def task(request):
    return ReachWithObject(request.param)


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert task.target in task.description
    assert sum(task.steps) == 12


@pytest.mark.parametrize(("name", "gripper"), [("train", "panda"), ("test", "robotiq")])
def test_the_object_begins_at_rest_in_the_closed_hand(task, name, gripper):
    world = lab(name, gripper)
    for seed in range(10):
        task.begin(world, np.random.default_rng(seed))
        assert world.grasped(task.target)
        assert NEAREST - 4e-3 <= task.distance(world) <= FARTHEST + 4e-3
        assert np.all((world.arm.tool > HELD_LOW - 2e-3) & (world.arm.tool < REGION_HIGH + 2e-3))
        before = world.object_pose(task.target)
        hand(world)
        np.testing.assert_allclose(world.object_pose(task.target)[:3], before[:3], atol=1e-3)
        assert world.tilt(task.target) < 0.02
        assert not task.success(world)


def test_nothing_stands_under_the_way_so_that_a_drop_is_no_disaster(task):
    world = lab("test", distractors=4)
    task.begin(world, np.random.default_rng(1))
    start, goal = world.arm.tool[:2], task.desired_goal(world)[:2]
    for name in set(world.objects) - {task.target}:
        place = world.object_pose(name)[:2]
        for share in np.linspace(0, 1, 11):
            assert np.linalg.norm(start + share * (goal - start) - place) > HAND_SIDE


def test_the_expert_ends_where_the_goal_says(task, world):
    task.begin(world, np.random.default_rng(3))
    goal, place = task.goal_poses(world), task.desired_goal(world)
    stages, progress = follow(task, world, steps=5)
    np.testing.assert_allclose(world.arm.pose[:3], goal[0, :3], atol=6e-3)
    np.testing.assert_allclose(world.arm.pose[6], goal[0, 6], atol=0.02)
    np.testing.assert_allclose(task.achieved_goal(world), place, atol=5e-3)
    assert stages == sorted(stages)
    assert stages[-1] == 1
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


def test_success_ends_five_centimetres_from_the_goal(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    follow(task, world, steps=5)
    assert task.success(world)
    hand(world, y=0.8 * THRESHOLD)
    assert task.success(world)
    hand(world, y=0.4 * THRESHOLD)
    assert not task.success(world)


def test_what_is_dropped_at_the_goal_is_lost(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    follow(task, world, steps=5)
    with world.undone():
        world.arm.gripper.command(world.data, 0.0)
        # It still touches both fingers, and it is near the goal.
        assert world.grasped(task.target)
        assert not task.success(world)
    assert task.success(world)
    hand(world, closedness=-0.75)
    hand(world, closedness=-0.75)
    assert not task.success(world)
    assert task.progress(world) < 0.3


def test_what_was_dropped_is_picked_up_again(task, world):
    task.begin(world, np.random.default_rng(4), THERE)
    hand(world, closedness=-0.75)
    hand(world, closedness=-0.75)
    assert not world.grasped(task.target)
    follow(task, world)
    assert task.success(world)


def test_judging_changes_nothing(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    follow(task, world, steps=4)
    before = world.state
    assert task.success(world)
    np.testing.assert_array_equal(world.state, before)


def test_holding_still_never_succeeds(task, world):
    assert solved_by_holding_still(task, world) == 0


def test_places_can_be_given_where_an_object_can_be_held(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    np.testing.assert_allclose(world.arm.tool, THERE.arm_start, atol=1e-3)
    np.testing.assert_allclose(task.desired_goal(world), THERE.goal, atol=1e-6)
    with pytest.raises(PlacementError, match="goal lies outside the workspace"):
        task.begin(world, np.random.default_rng(0), Placement(goal=(0.5, 0.0, 0.012)))
    with pytest.raises(PlacementError, match="arm_start lies outside the workspace"):
        task.begin(world, np.random.default_rng(0), Placement(arm_start=(0.5, 0.0, 0.012)))
    with pytest.raises(PlacementError, match=r"at least 0\.1 m"):
        task.begin(
            world,
            np.random.default_rng(0),
            Placement(arm_start=(0.5, 0.0, 0.3), goal=(0.5, 0.0, 0.3)),
        )
