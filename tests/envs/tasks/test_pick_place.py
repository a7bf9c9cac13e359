import numpy as np
import pytest
from acting import follow, hand, lab, solved_by_holding_still

from vjepa_gym.envs.placement import APART, TABLE_HIGH, TABLE_LOW, Placement
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks.pick_place import FARTHEST, NEAREST, THRESHOLD, PickPlace
from vjepa_gym.errors import PlacementError

THERE = Placement(object_start=(0.5, 0.12, 0.0), arm_start=(0.5, 0.1, 0.2), goal=(0.5, -0.1, 0.1))


@pytest.fixture
def world():
    return lab()


@pytest.fixture(params=["cup", "box"])
def task(request):
    return PickPlace(request.param)


@pytest.fixture
def placed(task, world):
    """An episode that the expert has just ended."""
    task.begin(world, np.random.default_rng(0), THERE)
    follow(task, world)
    return task


def stand(task, world, place, height=0.0):
    """Put the object down somewhere, the hand being out of the way."""
    world.arm.place(world.arm.flange_at(np.array([0.5, 0.0, 0.4])))
    world.put(task.target, np.array([*place, world.objects[task.target].height / 2 + height]))
    world.settle()


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert task.target in task.description
    assert task.steps == (4, 10, 4)
    assert PickPlace("cup", subgoals=False).steps == (18,)


@pytest.mark.parametrize("distractors", [0, 4])
def test_the_place_is_free_and_fifteen_to_thirty_centimetres_away(task, distractors):
    world = lab("test", distractors=distractors)
    for seed in range(20):
        task.begin(world, np.random.default_rng(seed))
        goal, start = task.desired_goal(world), task.achieved_goal(world)
        away = np.linalg.norm((goal - start)[:2])
        assert NEAREST - 1e-3 <= away <= FARTHEST + 1e-3
        assert np.all((goal[:2] > TABLE_LOW) & (goal[:2] < TABLE_HIGH))
        other = {"cup": "box", "box": "cup"}[task.target]
        assert np.linalg.norm(world.object_pose(other)[:2] - goal[:2]) >= APART - 1e-3
        assert task.stage(world) == 0


def test_the_expert_passes_the_views_in_order_within_the_papers_schedule(task, world):
    for seed in range(3):
        task.begin(world, np.random.default_rng(seed))
        stages, _ = follow(task, world)
        assert stages == sorted(stages)
        assert set(stages) == {0, 1, 2, 3}
        assert stages.index(2) <= 4 + 10
        assert stages.index(3) <= 18 - 4
        assert task.success(world)


def test_the_views_are_where_the_goal_says(task, world):
    task.begin(world, np.random.default_rng(1))
    goals, seen = task.goal_poses(world), []
    for _ in range(18):
        world.arm.move(task.expert(world))
        if task.stage(world) > len(seen):
            seen.append(world.arm.pose)
    np.testing.assert_allclose(np.stack(seen)[:, :3], goals[:, :3], atol=0.02)
    np.testing.assert_allclose(np.stack(seen)[:, 6], goals[:, 6], atol=0.03)


def test_without_subgoals_there_is_one_view_and_that_is_the_last(world):
    task, whole = PickPlace("box", subgoals=False), PickPlace("box")
    whole.begin(world, np.random.default_rng(2))
    goals = whole.goal_poses(world)
    task.begin(world, np.random.default_rng(2))
    np.testing.assert_array_equal(task.goal_poses(world), goals[2:])
    stages, _ = follow(task, world)
    assert set(stages) == {0, 1}
    assert task.success(world)


def test_progress_grows_and_reaches_one_with_success_alone(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    _, progress = follow(task, world)
    assert np.diff(progress).min() > -1e-3
    assert progress[0] < 0.3
    assert progress[-1] == 1.0


def test_standing_within_five_centimetres_of_the_place_is_success(placed, world):
    assert placed.success(world)
    x, y = placed.desired_goal(world)[:2]
    stand(placed, world, (x, y + 0.9 * THRESHOLD))
    assert placed.success(world)
    stand(placed, world, (x, y + 1.1 * THRESHOLD))
    assert not placed.success(world)
    assert placed.progress(world) < 1.0


def test_what_is_still_in_the_hand_is_not_placed(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    while task.stage(world) < 2:
        world.arm.move(task.expert(world))
    assert not task.success(world)
    while abs(task.distance(world)) > 0.01:
        world.arm.move(task.expert(world))
    # It stands at its place, and the hand is closed on it.
    assert world.grasped(task.target)
    assert not task.success(world)
    assert task.progress(world) == 0.8
    assert task.stage(world) == 2


def test_a_finger_that_leans_on_it_has_not_let_go(placed, world):
    hand(world, z=-0.07)
    while not any(world.touches(placed.target)):
        hand(world, x=-0.006, y=0.006)
    assert sum(world.touches(placed.target)) == 1
    assert not placed.success(world)


def test_what_fell_over_does_not_stand(placed, world):
    stand(placed, world, placed.desired_goal(world)[:2])
    assert placed.success(world)
    joint = world.data.joint(placed.target)
    joint.qpos[3:] = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
    world.settle(0.5)
    assert world.tilt(placed.target) > 1.5
    assert placed.distance(world) < THRESHOLD
    assert not placed.success(world)
    assert placed.stage(world) < 3


def test_what_stands_on_something_else_is_not_on_the_table(world):
    task = PickPlace("box")
    task.begin(world, np.random.default_rng(0), THERE)
    x, y = task.desired_goal(world)[:2]
    stand(task, world, (0.65, 0.2))
    world.put("cup", np.array([x, y, world.objects["cup"].height / 2]))
    world.put(
        "box", np.array([x, y, world.objects["cup"].height + world.objects["box"].height / 2])
    )
    world.settle(0.5)
    assert world.object_pose("box")[2] > 0.1
    assert not task.success(world)


def test_what_still_falls_is_judged_when_it_has_landed(placed, world):
    stand(placed, world, placed.desired_goal(world)[:2], height=0.02)
    assert placed.success(world)


def test_what_slides_away_is_judged_when_it_has_stopped(placed, world):
    stand(placed, world, placed.desired_goal(world)[:2])
    world.data.joint(placed.target).qvel[:2] = [0.0, 1.5]
    assert placed.distance(world) < THRESHOLD
    assert not placed.success(world)


def test_judging_changes_nothing(placed, world):
    before = world.state
    assert placed.success(world)
    np.testing.assert_array_equal(world.state, before)


def test_holding_still_never_succeeds(task, world):
    assert solved_by_holding_still(task, world) == 0


def test_places_can_be_given_on_the_table(task, world):
    task.begin(world, np.random.default_rng(0), THERE)
    np.testing.assert_allclose(world.object_pose(task.target)[:2], [0.5, 0.12], atol=1e-3)
    # How high a thing stands is the table's affair.
    height = world.objects[task.target].height / 2
    np.testing.assert_allclose(task.desired_goal(world), [0.5, -0.1, height], atol=1e-6)
    with pytest.raises(PlacementError, match=r"goal .* between \[0.42, -0.22\]"):
        task.begin(world, np.random.default_rng(0), Placement(goal=(0.74, 0.0, 0.05)))
    near = Placement(object_start=(0.5, 0.0, 0.0), goal=(0.5, 0.1, 0.1))
    with pytest.raises(PlacementError, match=r"at least 0\.15 m"):
        task.begin(world, np.random.default_rng(0), near)
