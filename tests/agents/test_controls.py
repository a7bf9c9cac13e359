import numpy as np
import pytest
from toys import picture

from vjepa_gym import kinematics
from vjepa_gym.agents.controls import HoldStill, RandomAgent, ScriptedReach
from vjepa_gym.spaces import ACTION_LIMIT, MAX_TRANSLATION
from vjepa_gym.types import Goal


def observe(poses):
    return {"image": np.stack([picture(pose) for pose in poses]), "pose": poses}


def goal_of(poses, steps=(10,)):
    images = np.stack([[picture(view) for view in views] for views in poses])
    return Goal(images=images, poses=poses, steps=steps)


def some_poses(*shape, seed=0):
    rng = np.random.default_rng(seed)
    poses = rng.uniform(-0.3, 0.3, (*shape, 7)).astype(np.float32)
    poses[..., 6] = rng.uniform(0, 1, shape)
    return poses


def test_hold_still_holds_still():
    agent = HoldStill()
    agent.reset(goal_of(some_poses(3, 1)))
    action = agent.act(observe(some_poses(3)))
    assert action.shape == (3, 7)
    assert action.dtype == np.float32
    assert not action.any()


def test_random_moves_fill_the_box_without_turning_and_repeat_with_the_seed():
    def moves(seed):
        agent = RandomAgent(seed)
        agent.reset(goal_of(some_poses(4, 1)))
        return np.concatenate([agent.act(observe(some_poses(4))) for _ in range(100)])

    drawn = moves(0)
    assert not drawn[:, 3:].any()
    assert np.abs(drawn[:, :3]).max() <= MAX_TRANSLATION
    assert (drawn[:, :3].max(0) > 0.9 * MAX_TRANSLATION).all()
    assert (drawn[:, :3].min(0) < -0.9 * MAX_TRANSLATION).all()
    assert np.array_equal(drawn, moves(0))
    assert not np.array_equal(drawn, moves(1))


def test_the_expert_arrives_and_every_action_is_within_limits():
    poses, goal = some_poses(6), goal_of(some_poses(6, 1, seed=1))
    agent = ScriptedReach()
    agent.reset(goal)
    for _ in range(10):
        action = agent.act(observe(poses))
        assert (np.abs(action) <= ACTION_LIMIT + 1e-6).all()
        poses = kinematics.integrate(poses, action)
    assert np.allclose(poses, goal.poses[:, 0], atol=1e-4)


def test_the_expert_goes_straight():
    goal = goal_of(np.array([[[0.3, 0.1, 0.0, 0, 0, 0, 0]]], np.float32))
    agent = ScriptedReach()
    agent.reset(goal)
    action = agent.act(observe(np.zeros((1, 7), np.float32)))
    assert np.allclose(action[0, :3], [0.075, 0.025, 0.0])


def test_the_expert_passes_the_sub_goals_in_order_and_restarts_robots_apart():
    views = some_poses(2, 2)
    agent = ScriptedReach()
    agent.reset(goal_of(views, steps=(2, 3)))
    first = views[:, 0]

    def wants_to_stay_at(poses):
        return np.abs(agent.act(observe(poses))).max(axis=1) < 1e-6

    assert wants_to_stay_at(first).tolist() == [True, True]
    assert wants_to_stay_at(first).tolist() == [True, True]
    agent.reset(goal_of(views, steps=(2, 3)), np.array([False, True]))
    assert wants_to_stay_at(first).tolist() == [False, True]
    assert wants_to_stay_at(np.stack([views[0, 1], views[1, 0]])).tolist() == [True, True]


def test_the_expert_says_that_it_needs_poses():
    with pytest.raises(ValueError, match=r"goal\.poses is None"):
        ScriptedReach().reset(goal_of(some_poses(1, 1)).images_only())
