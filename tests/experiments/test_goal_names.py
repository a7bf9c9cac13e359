import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "datasets")]

from episodes import make_episode  # noqa: E402

from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402
from vjepa_gym.errors import DatasetError, GoalError  # noqa: E402
from vjepa_gym.experiments.goals import find_goal  # noqa: E402
from vjepa_gym.goal_file import GoalFile, write_goal  # noqa: E402


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("with:colon") / "data"
    store = EpisodeStore(root)
    for index in range(2):
        store.write(index, make_episode(steps=4, seed=index))
    return root


def test_a_goal_may_be_a_file(tmp_path):
    images = np.zeros((1, 16, 16, 3), np.uint8)
    goal = GoalFile(images=images, steps=(7,), source={"kind": "photograph"})
    write_goal(tmp_path / "a.npz", goal)
    assert find_goal(str(tmp_path / "a.npz")).steps == (7,)


@pytest.mark.parametrize(("frame", "row"), [(0, 0), (2, 2), (-1, 4)])
def test_a_goal_may_be_a_frame_of_an_episode(dataset, frame, row):
    goal = find_goal(f"{dataset}:1:{frame}")
    assert goal.source["index"] == 1
    assert goal.source["frames"] == [row]
    assert goal.images.shape[0] == 1
    assert goal.poses is not None


def test_an_episode_or_a_frame_that_is_not_there_is_told(dataset):
    with pytest.raises(GoalError, match="no episode 7"):
        find_goal(f"{dataset}:7:0")
    with pytest.raises(GoalError, match="frames 0 to 4"):
        find_goal(f"{dataset}:0:9")
    with pytest.raises((GoalError, DatasetError), match="nowhere"):
        find_goal("nowhere:0:0")


@pytest.mark.parametrize("name", ["nonsense", "data/mine:3", "data:x:1"])
def test_what_is_neither_is_told_what_would_do(name):
    with pytest.raises(GoalError, match="<dataset>:<episode>:<frame>"):
        find_goal(name)


def test_a_file_that_is_not_there_is_not_found():
    with pytest.raises(GoalError, match="not found"):
        find_goal("nowhere.npz")
