import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "datasets")]

from episodes import make_episode, read_stamp  # noqa: E402
from test_terminal import read_until  # noqa: E402

from vjepa_gym import kinematics  # noqa: E402
from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402
from vjepa_gym.envs import REACH, env_id  # noqa: E402
from vjepa_gym.envs.recording import record_episode  # noqa: E402
from vjepa_gym.errors import DatasetError, GoalError, UnknownNameError  # noqa: E402
from vjepa_gym.experiments.jobs.goal import (  # noqa: E402
    BEGINNINGS,
    TOOL_OFFSETS,
    GoalConfig,
    run_goal,
)
from vjepa_gym.experiments.settings import EnvConfig, VariationConfig  # noqa: E402
from vjepa_gym.experiments.terminal import LEAVE_SCREEN  # noqa: E402
from vjepa_gym.goal_file import read_goal  # noqa: E402
from vjepa_gym.sim.grippers import GRIPPERS  # noqa: E402

SMALL = EnvConfig(image_size=32)


def make(tmp_path, env=SMALL, keys=None, **changes):
    """Make a goal in a folder of the test's own; return it as it was read back."""
    config = GoalConfig(**({"file": str(tmp_path / "goal.npz")} | changes))
    made = run_goal(config, env, tmp_path, keys=keys)
    return None if made is None else read_goal(config.file)


def evaluate_in(goal, image_size=32, actions=()):
    """Return what the environment says that a goal file names, after some actions."""
    scene = goal.scene
    env = gym.make(scene.env, image_size=image_size, expert_actions=True, **scene.keywords())
    observation, info = env.reset(seed=scene.seed, options=goal.reset_options(image_size))
    first, told = observation["image"], info
    for _ in range(sum(goal.steps)):
        *_, info = env.step(info["expert_action"])
    env.close()
    return first, told, info


# By keyboard.


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """Two views of a varied lab, the second after a turn and with the hand half closed."""
    env = EnvConfig(
        id=env_id("PickPlaceCup"),
        lab="test",
        image_size=32,
        variation=VariationConfig(camera_azimuth="random", table_colour=[0.2, 0.3, 0.6]),
    )
    folder = tmp_path_factory.mktemp("driven")
    return make(folder, env, keys=[*"nwqgjcag", "enter"], seed=3, steps=[2, 8]), folder


def test_driving_leaves_views_with_their_poses(driven):
    goal, folder = driven
    assert goal.images.shape == (2, 32, 32, 3)
    assert goal.steps == (2, 8)
    assert goal.source == {"kind": "keyboard"}
    moved = kinematics.difference(goal.poses[0], goal.poses[1])
    np.testing.assert_allclose(moved, [0, 0.03, 0, 0, 0, 0.1, 0.5], atol=0.03)
    assert iio.imread(folder / "preview.png").shape == (32, 64, 3)


def test_the_file_names_the_lab_so_that_it_can_be_made_again(driven):
    goal, _ = driven
    assert goal.scene.env == env_id("PickPlaceCup")
    assert goal.scene.seed == 4
    assert goal.scene.options["lab"] == "test"
    assert goal.scene.variation == {"camera_azimuth": "random", "table_colour": [0.2, 0.3, 0.6]}


def test_the_goal_is_what_an_environment_shows_when_its_arm_is_there(driven):
    goal, _ = driven
    _, told, info = evaluate_in(goal)
    np.testing.assert_array_equal(told["goal"]["images"], goal.images)
    assert told["distance"] > 0.04
    assert info["is_success"]
    env = gym.make(goal.scene.env, image_size=32, goal_images=False, **goal.scene.keywords())
    env.reset(seed=goal.scene.seed)
    world = env.unwrapped.world
    world.arm.place(goal.poses[0])
    difference = world.image().astype(int) - goal.images[0]
    env.close()
    assert np.abs(difference).mean() < 1.0


def test_every_gripper_has_its_tool_offset():
    assert {name: gripper.tcp for name, gripper in GRIPPERS.items()} == TOOL_OFFSETS


def test_who_leaves_saves_nothing(tmp_path):
    assert make(tmp_path, keys=["w", "g", "escape"]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]


def test_an_environment_without_an_arm_is_not_driven(tmp_path):
    class Chair(EnvConfig):
        def keywords(self):
            return {}

    with pytest.raises(GoalError, match="CartPole-v1 has no arm"):
        make(tmp_path, Chair(id="CartPole-v1"), keys=["w"])


ON_A_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is for us
from pathlib import Path
from vjepa_gym.experiments.jobs.goal import GoalConfig, run_goal
from vjepa_gym.experiments.settings import EnvConfig
config = GoalConfig(file={file!r}, seed=5)
run_goal(config, EnvConfig(image_size=64), Path({folder!r}))
"""


def test_a_person_drives_in_a_terminal(tmp_path):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    code = ON_A_TERMINAL.format(file=str(tmp_path / "goal.npz"), folder=str(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    shown = read_until(master, b"enter saves").decode()
    assert "seed 5, 30 mm a key, 0 views taken" in shown
    assert shown.count("▀") > 500
    for keys, answer in [(b"w", b"tool   x"), (b"g", b"View 1 taken."), (b"q+", b"50 mm a key")]:
        os.write(master, keys)
        read_until(master, answer)
    os.write(master, b"\r")
    read_until(master, LEAVE_SCREEN.encode())
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
    goal = read_goal(tmp_path / "goal.npz")
    assert goal.images.shape == (1, 64, 64, 3)
    assert goal.scene.seed == 5


# From an episode.


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two episodes that say in each frame which it is."""
    store = EpisodeStore(tmp_path_factory.mktemp("data") / "set")
    for index in (3, 5):
        store.write(index, make_episode(seed=index))
    return store


def test_a_frame_of_an_episode_is_a_goal_with_its_pose(tmp_path, dataset):
    goal = make(tmp_path, source="episode", path=str(dataset.root), index=5)
    assert [read_stamp(image) for image in goal.images] == [4]
    np.testing.assert_array_equal(goal.poses, dataset[1].poses[-1:])
    assert goal.steps == (10,)
    assert goal.source["index"] == 5
    assert goal.source["frames"] == [4]
    assert goal.scene is None


def test_several_frames_are_sub_goals(tmp_path, dataset):
    folder = dataset.folder(dataset.entries()[0])
    goal = make(tmp_path, source="episode", path=str(folder), frames=[1, -2], steps=[7])
    assert [read_stamp(image) for image in goal.images] == [1, 3]
    np.testing.assert_array_equal(goal.poses, dataset[0].poses[[1, 3]])
    assert goal.steps == (7, 7)


def test_the_lab_of_a_recorded_episode_is_found_again(tmp_path):
    env = gym.make(REACH, image_size=64, variation="wide", lab="test", horizon=3)
    episode = record_episode(env, "random", seed=11, steps=3)
    env.close()
    store = EpisodeStore(tmp_path / "set")
    store.write(0, episode)
    goal = make(tmp_path, source="episode", path=str(store.root))
    assert goal.scene.seed == 11
    assert goal.scene.options == {"lab": "test", "gripper": "panda"}
    assert not set(BEGINNINGS) & set(goal.scene.variation)
    first, told, info = evaluate_in(goal, image_size=64)
    assert np.abs(first.astype(int) - episode.images["left"][0]).max() <= 1
    np.testing.assert_array_equal(told["goal"]["poses"], episode.poses[-1:])
    assert info["is_success"]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"index": 4}, GoalError, "no episode 4, only 2 from 3 to 5"),
        ({"index": 3, "frame": 5}, GoalError, "frames 0 to 4"),
        ({"index": 3, "frames": [0, -6]}, GoalError, "frames 0 to 4.*-6"),
        ({"index": 3, "camera": "wrist"}, DatasetError, "no camera 'wrist', only left"),
        ({"index": 3, "frames": [0, 1], "steps": [1, 2, 3]}, GoalError, "2 for 2 views"),
    ],
)
def test_what_an_episode_has_not_is_said(tmp_path, dataset, changes, error, said):
    with pytest.raises(error, match=said):
        make(tmp_path, source="episode", path=str(dataset.root), **changes)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_episodes_is_said_to_be_none(tmp_path):
    with pytest.raises(GoalError, match="neither an episode"):
        make(tmp_path, source="episode", path=str(tmp_path / "nowhere"))


# From photographs.


def photograph(path: Path, shape: tuple[int, ...]) -> str:
    image = np.zeros(shape, np.uint8)
    image[:, : shape[1] // 2] = 200
    iio.imwrite(path, image)
    return str(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("a.jpg", (60, 100, 3)), ("a.png", (90, 50, 3)), ("a.png", (50, 50, 4)), ("a.png", (70, 80))],
)
def test_any_picture_is_cropped_and_scaled(tmp_path, name, shape):
    goal = make(tmp_path, source="photograph", path=photograph(tmp_path / name, shape))
    assert goal.images.shape == (1, 32, 32, 3)
    assert goal.images[0, :, 2].mean() > 190
    assert goal.images[0, :, -3].mean() < 10
    assert goal.poses is None
    assert goal.scene is None


def test_a_phone_that_was_held_upright_is_believed(tmp_path):
    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be turned a quarter to the right
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20] = 200
    Image.fromarray(image).save(tmp_path / "phone.jpg", exif=orientation)
    goal = make(tmp_path, source="photograph", path=str(tmp_path / "phone.jpg"))
    assert goal.images[0, :, -3].mean() > 190
    assert goal.images[0, :, 2].mean() < 10


def test_several_photographs_are_sub_goals(tmp_path):
    paths = [photograph(tmp_path / f"{i}.png", (40, 40, 3)) for i in range(3)]
    goal = make(tmp_path, source="photograph", paths=paths, steps=[4, 10, 4])
    assert goal.images.shape == (3, 32, 32, 3)
    assert goal.steps == (4, 10, 4)
    assert goal.source == {"kind": "photograph", "paths": paths}


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(GoalError, match="no picture that can be read"):
        make(tmp_path, source="photograph", path=str(tmp_path / "notes.jpg"))
    with pytest.raises(GoalError, match="not found, or no file"):
        make(tmp_path, source="photograph", path=str(tmp_path / "nowhere.jpg"))


# The file, and the words.


def test_a_file_that_is_there_is_replaced_only_if_that_was_said(tmp_path):
    picture = {"source": "photograph", "path": photograph(tmp_path / "a.png", (40, 40, 3))}
    make(tmp_path, **picture)
    with pytest.raises(GoalError, match=r"there already.*overwrite=true"):
        make(tmp_path, **picture, steps=[3])
    assert make(tmp_path, **picture, steps=[3], overwrite=True).steps == (3,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "goal.png"}, "end in .npz"),
        ({"steps": [3, 0]}, "steps must be positive"),
        ({"seed": -1}, "seed must not be negative"),
        ({"step": 0.2}, "at most 0.075 m"),
        ({"source": "episode"}, "needs a path"),
        ({"source": "photograph"}, "needs a path"),
        ({"source": "photograph", "path": "a.jpg", "paths": ["b.jpg"]}, "instead of path"),
        ({"paths": ["a.jpg"]}, "of photographs"),
    ],
)
def test_words_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        GoalConfig(**changes)


def test_an_unknown_source_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="episode, keyboard, photograph"):
        GoalConfig(source="photo")
