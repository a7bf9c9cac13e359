import numpy as np
import pytest

from vjepa_gym.types import Agent, Camera, Episode, Frames, Goal, Robot


def frames(lengths):
    rows = sum(lengths)
    images = np.arange(rows, dtype=np.uint8)[:, None, None, None]
    return Frames(
        images=np.broadcast_to(images, (rows, 2, 2, 3)),
        poses=np.repeat(np.arange(rows, dtype=np.float32)[:, None], 7, axis=1),
        offsets=np.cumsum([0, *lengths]).astype(np.int64),
    )


def test_splitting_frames_loses_nothing_and_shifts_the_offsets():
    every = frames([3, 2, 4])
    first, rest = every.split(held_out=1)
    assert (first.num_episodes, rest.num_episodes) == (2, 1)
    np.testing.assert_array_equal(first.offsets, [0, 3, 5])
    np.testing.assert_array_equal(rest.offsets, [0, 4])
    np.testing.assert_array_equal(np.concatenate([first.poses, rest.poses]), every.poses)
    np.testing.assert_array_equal(rest.images, every.images[5:])


@pytest.mark.parametrize("held_out", [0, 3, -1])
def test_a_split_that_leaves_nothing_is_refused(held_out):
    with pytest.raises(ValueError, match="between 1 and 2"):
        frames([1, 1, 1]).split(held_out)


def test_a_goal_can_be_shown_without_its_poses():
    goal = Goal(
        images=np.zeros((1, 2, 4, 4, 3), np.uint8),
        poses=np.zeros((1, 2, 7), np.float32),
        steps=(4, 6),
    )
    shown = goal.images_only()
    assert shown.poses is None
    assert shown.steps == (4, 6)
    np.testing.assert_array_equal(shown.images, goal.images)


def episode(steps, observations):
    return Episode(
        commands=np.zeros((steps, 7), np.float32),
        poses=np.zeros((observations, 7), np.float32),
        images={"left": np.zeros((observations, 4, 4, 3), np.uint8)},
        joints=np.zeros((observations, 7), np.float32),
        step_seconds=np.zeros(steps, np.float32),
        cameras={},
        success=True,
        task="reach",
        policy="scripted",
        seed=0,
    )


def test_an_episode_is_as_long_as_its_commands():
    assert len(episode(5, 6)) == 5


def test_an_episode_has_one_observation_more_than_commands():
    with pytest.raises(TypeError, match=r"vjepa_gym\.types\.Episode"):
        episode(5, 5)


class Still:
    """An agent, a robot and a camera that do nothing."""

    pose = np.zeros(7, np.float32)

    def reset(self, goal, which=None):
        pass

    def act(self, observation):
        return np.zeros((1, 7), np.float32)

    def move(self, action):
        return action

    def home(self):
        pass

    def stop(self):
        pass

    def capture(self):
        return np.zeros((2, 2, 3), np.uint8), 0.0


@pytest.mark.parametrize("role", [Agent, Robot, Camera])
def test_whatever_has_the_methods_plays_the_role(role):
    assert isinstance(Still(), role)
    assert not isinstance(object(), role)
