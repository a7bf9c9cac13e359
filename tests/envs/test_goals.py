import numpy as np
import pytest

from vjepa_gym.envs.goals import Demonstrator, demonstrate
from vjepa_gym.envs.tasks.pick_place import PickPlace
from vjepa_gym.envs.tasks.reach import Reach
from vjepa_gym.sim.world import World

STILL = np.zeros(7, np.float32)


@pytest.fixture(scope="module")
def world():
    world = World(image_size=48)
    yield world
    world.close()


def begin(task, world, seed):
    task.begin(world, np.random.default_rng(seed))
    return task


def test_views_are_taken_when_they_are_reached_and_nothing_moves(world):
    task = begin(PickPlace("box"), world, 0)
    before, picture = world.state, world.image()
    shown = demonstrate(task, world)
    assert shown.solved
    assert shown.images.shape == (3, 48, 48, 3)
    assert 8 <= shown.steps <= 18
    np.testing.assert_array_equal(world.state, before)
    np.testing.assert_array_equal(world.image(), picture)
    heights = shown.poses[:, 2]
    assert heights[1] > heights[0]
    np.testing.assert_allclose(shown.poses[:, :3], task.goal_poses(world)[:, :3], atol=0.09)


def test_who_does_not_get_there_is_shown_where_he_came_to_and_it_is_not_solved(world, monkeypatch):
    task = begin(Reach(), world, 1)
    monkeypatch.setattr(task, "expert", lambda world: STILL)
    shown = demonstrate(task, world)
    assert not shown.solved
    assert shown.steps == 10
    np.testing.assert_allclose(shown.images[0].astype(int), world.image().astype(int), atol=3)


def test_the_same_beginning_is_shown_once_and_another_anew(world, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "vjepa_gym.envs.goals.demonstrate", lambda *told: calls.append(1) or demonstrate(*told)
    )
    show, task = Demonstrator(kept=2), Reach()
    first = show(begin(task, world, 2), world, {"light_brightness": 1.0})
    again = show(begin(task, world, 2), world, {"light_brightness": 1.0})
    assert first is again
    assert len(calls) == 1
    show(task, world, {"light_brightness": 0.5})
    show(begin(task, world, 3), world, {"light_brightness": 1.0})
    assert len(calls) == 3
    show(begin(task, world, 2), world, {"light_brightness": 1.0})
    assert len(calls) == 4  # it was the oldest of three
