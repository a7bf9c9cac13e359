import numpy as np
import pytest
from toys import picture

from vjepa_gym.agents.controls import Expert, HoldStill, RandomAgent
from vjepa_gym.spaces import MAX_TRANSLATION
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


def test_the_expert_does_what_the_environment_says_and_says_that_it_must_be_told():
    agent, told = Expert(), some_poses(3)
    agent.reset(goal_of(some_poses(3, 1)))
    action = agent.act(observe(some_poses(3)) | {"expert_action": told})
    np.testing.assert_array_equal(action, told)
    with pytest.raises(ValueError, match="expert_actions=True"):
        agent.act(observe(some_poses(3)))
