import numpy as np
import pytest
from acting import follow, hand, lab, solved_by_holding_still

from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW, Placement
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks.reach import FARTHEST, NEAREST, THRESHOLD, Reach
from vjepa_gym.errors import PlacementError


@pytest.fixture
def world():
    return lab()


@pytest.fixture
def task():
    return Reach()


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert task.target is None
    assert sum(task.steps) == 10


@pytest.mark.parametrize("distractors", [0, 4])
def test_starts_and_goals_lie_in_the_region_ten_to_twenty_five_centimetres_apart(task, distractors):
    world = lab("test", distractors=distractors)
    for seed in range(30):
        task.begin(world, np.random.default_rng(seed))
        start, goal = world.arm.tool, task.desired_goal(world)
        assert NEAREST - 2e-3 <= task.distance(world) <= FARTHEST + 2e-3
        for place in (start, goal):
            assert np.all((place > REGION_LOW - 2e-3) & (place < REGION_HIGH + 2e-3))
        assert not any(any(world.touches(name)) for name in world.objects)


def test_the_goal_is_the_pose_at_which_the_expert_arrives(task, world):
    task.begin(world, np.random.default_rng(0))
    goal = task.goal_poses(world)
    stages, progress = follow(task, world, steps=5)
    np.testing.assert_allclose(world.arm.pose[:3], goal[0, :3], atol=4e-3)
    assert stages == sorted(stages)
    assert stages[-1] == 1
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


def test_success_ends_four_centimetres_from_the_goal(task, world):
    task.begin(world, np.random.default_rng(1), Placement(goal=(0.5, 0.0, 0.25)))
    for x, near in ((0.5 + 0.9 * THRESHOLD, True), (0.5 + 1.1 * THRESHOLD, False)):
        world.arm.place(world.arm.flange_at(np.array([x, 0.0, 0.25])))
        assert task.success(world) == near
        assert (task.progress(world) == 1.0) == near


def test_holding_still_never_succeeds(task, world):
    assert solved_by_holding_still(task, world) == 0


def test_start_goal_and_cup_can_be_given(task, world):
    given = Placement(
        object_start=(0.6, 0.1, 0.2), arm_start=(0.4, -0.1, 0.3), goal=(0.5, 0.0, 0.2)
    )
    task.begin(world, np.random.default_rng(2), given)
    np.testing.assert_allclose(world.arm.tool, [0.4, -0.1, 0.3], atol=1e-3)
    np.testing.assert_allclose(task.desired_goal(world), [0.5, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(world.object_pose("cup")[:2], [0.6, 0.1], atol=1e-3)


def test_what_cannot_be_had_is_said(task, world):
    rng = np.random.default_rng(0)
    with pytest.raises(PlacementError, match=r"at least 0\.1 m"):
        task.begin(world, rng, Placement(arm_start=(0.5, 0, 0.2), goal=(0.5, 0.05, 0.2)))
    with pytest.raises(PlacementError, match="farther apart"):
        task.begin(world, rng, Placement(object_start=(0.5, 0, 0), arm_start=(0.5, 0, 0.05)))


def test_a_push_of_the_arm_is_made_good(task, world):
    task.begin(world, np.random.default_rng(3))
    follow(task, world, steps=2)
    hand(world, x=0.05, y=-0.05, yaw=0.2)
    follow(task, world, steps=3)
    assert task.stage(world) == 1
    assert abs(world.arm.pose[5]) < 0.02
