"""Datasets that others wrote, or changed, or damaged."""

import contextlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from episodes import read_stamp
from lerobot_files import (
    CAMERAS,
    VIEWS,
    edit_info,
    export,
    join_files,
    make_many,
    make_store,
    rewrite_column,
    stamp_of,
)

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.lerobot.conversion import read_lerobot
from vjepa_gym.datasets.lerobot.reader import LeRobotEpisodes
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video
from vjepa_gym.errors import DatasetError

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return DroidEpisodes(make_store(tmp_path_factory.mktemp("droid") / "set").root)


@pytest.fixture(scope="module")
def pristine(original, tmp_path_factory):
    return export(original.root, tmp_path_factory.mktemp("lerobot") / "set")


@pytest.fixture
def exported(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "set")


@pytest.mark.parametrize("keyframes", [True, False])
def test_episodes_that_share_their_files_are_told_apart(original, exported, tmp_path, keyframes):
    join_files(exported, keyframes)
    episodes = LeRobotEpisodes(exported)
    for number, before in enumerate(original):
        folder = tmp_path / str(number)
        folder.mkdir()
        episode, header, videos = episodes.read(number, folder)
        rows = len(before.poses)
        for camera, view in VIEWS.items():
            at_left = original[number].cameras["left"]["extrinsics"][1]
            swapped = at_left < original[number].cameras["right"]["extrinsics"][1]
            shown = {"left": "right", "right": "left"}.get(camera, camera) if swapped else camera
            stamps = [read_stamp(image) for image in episode.images[camera]]
            assert stamps == [stamp_of(shown, row) for row in range(rows)], view
        np.testing.assert_array_equal(episode.poses, before.poses)
        np.testing.assert_allclose(episode.commands, before.commands, atol=1e-7)
        np.testing.assert_allclose(episode.step_seconds, before.step_seconds, atol=1e-5)
        assert (episode.task, episode.success) == (before.task, before.success)
        assert (episode.seed, episode.record_hz, header) == (-1, 4.0, "physical")
        # An episode at whose beginning there is no keyframe cannot be cut out as it is.
        assert set(videos) == (set(CAMERAS) if keyframes or number == 0 else set())
        for camera, video in videos.items():
            np.testing.assert_array_equal(read_video(video), episode.images[camera])


def test_of_anybodys_dataset_the_exterior_camera_further_left_is_left(tmp_path):
    store = EpisodeStore(tmp_path / "droid")
    episode = make_many()
    episode.cameras["left"]["extrinsics"][1] = -0.5
    episode.cameras["right"]["extrinsics"][1] = 0.5
    store.write(0, episode)
    root = export(store.root, tmp_path / "set")
    ours, _, _ = LeRobotEpisodes(root).read(0, tmp_path)
    shutil.rmtree(root / "vjg")
    anybodys, _, _ = LeRobotEpisodes(root).read(0, tmp_path)
    assert read_stamp(ours.images["left"][0]) == stamp_of("left", 0)
    assert read_stamp(anybodys.images["left"][0]) == stamp_of("right", 0)
    assert anybodys.cameras["left"]["extrinsics"][1] == 0.5
    assert "intrinsics" not in anybodys.cameras["left"]


def test_anybodys_dataset_becomes_droids(exported, tmp_path):
    join_files(exported, True)
    read_lerobot(exported, tmp_path / "back")
    store = EpisodeStore(tmp_path / "back")
    assert [entry.index for entry in store.entries()] == [0, 1, 2]
    assert [entry.rows for entry in store.entries()] == [7, 10, 8]
    assert [episode.task for episode in DroidEpisodes(store.root)] == ["lift", "push", "lift"]


def test_rows_that_were_changed_in_lerobot_count(exported, tmp_path):
    """A new instruction and another verdict are what people change."""
    tasks = pq.read_table(exported / "meta/tasks.parquet").column_names
    assert tasks == ["task_index", "task"]
    rewrite_column(exported / "meta/tasks.parquet", "task", ["shove the cup", "raise the cup"])
    table = pq.read_table(exported / DATA)
    rewrite_column(exported / DATA, "is_episode_successful", [False] * table.num_rows)
    velocity = np.array(table["action.cartesian_velocity"].to_pylist(), np.float32)
    rewrite_column(exported / DATA, "action.cartesian_velocity", (velocity * 2).tolist())
    episode, _, _ = LeRobotEpisodes(exported).read(0, tmp_path)
    assert (episode.task, episode.success) == ("shove the cup", False)
    expected = velocity[:-1] * 2 * np.array([0.075] * 3 + [0.15] * 3)
    np.testing.assert_allclose(episode.commands[:, :6], expected, atol=1e-7)


def test_what_was_kept_of_other_rows_is_refused(exported, tmp_path):
    shutil.rmtree(exported / "vjg/episode_000000")
    (exported / "vjg/episode_000001").rename(exported / "vjg/episode_000000")
    with pytest.raises(DatasetError, match="belongs to 10 rows, but the episode has 7"):
        LeRobotEpisodes(exported).read(0, tmp_path)


def test_a_conversion_that_was_stopped_goes_on(exported, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_lerobot(exported, tmp_path / "back", on_episode=stop)
    store = EpisodeStore(tmp_path / "back")
    assert len(store) == 1
    read_lerobot(exported, tmp_path / "back")
    assert len(store) == 3


def test_other_episodes_in_the_target_are_not_mistaken_for_the_same(exported, tmp_path):
    EpisodeStore(tmp_path / "back").write(3, make_many(steps=9, seed=7, success=False))
    with pytest.raises(DatasetError, match="another episode 3 already"):
        read_lerobot(exported, tmp_path / "back")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v2.1"}, "convert_dataset_v21_to_v30"),
        ({"codebase_version": "v4.0"}, r"expected LeRobot's format v3\.0, found v4\.0"),
        ({"fps": 0}, "fps missing or not as it should be"),
        ({"fps": "15"}, "fps missing or not as it should be"),
        ({"total_episodes": 4}, "speaks of 4 episodes, but .* describes 3"),
        ({"data_path": "data/{chunk}.parquet"}, "data_path .* is no template"),
        ({"features": {}}, r"without the features observation\.state\.cartesian_position, "),
    ],
)
def test_a_description_that_cannot_be_read_says_why(exported, changes, message):
    edit_info(exported, **changes)
    with pytest.raises(DatasetError, match=message):
        LeRobotEpisodes(exported)


def test_features_that_are_missing_are_named(exported):
    features = json.loads((exported / "meta/info.json").read_text())["features"]
    for name in ("action.gripper_velocity", "camera_extrinsics.wrist_left"):
        del features[name]
    edit_info(exported, features=features)
    message = r"features action\.gripper_velocity, camera_extrinsics\.wrist_left of LeRobot's"
    with pytest.raises(DatasetError, match=message):
        LeRobotEpisodes(exported)


def test_a_folder_that_is_no_dataset_says_so(tmp_path):
    with pytest.raises(DatasetError, match="is no LeRobot dataset"):
        read_lerobot(tmp_path, tmp_path / "back")


FILES = (
    "meta/info.json",
    "meta/tasks.parquet",
    EPISODES,
    DATA,
    "videos/observation.images.wrist_left/chunk-000/file-000.mp4",
    "vjg/episode_000000/episode.json",
    "vjg/episode_000000/arrays.npz",
)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_short_is_named(exported, tmp_path, name, share):
    path = exported / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DatasetError, match=name.replace(".", r"\.")):
        LeRobotEpisodes(exported).read(0, tmp_path)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("episode.json")])
def test_a_file_that_is_missing_is_named(exported, tmp_path, name):
    (exported / name).unlink()
    with pytest.raises(DatasetError, match=name.replace(".", r"\.") + "|meta/episodes"):
        LeRobotEpisodes(exported).read(0, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_bytes_that_were_changed_are_never_a_traceback(exported, tmp_path, name):
    path, rng = exported / name, np.random.default_rng(0)
    whole = bytearray(path.read_bytes())
    for _ in range(8):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(DatasetError):
            LeRobotEpisodes(exported).read(0, tmp_path)


def test_a_column_of_another_kind_is_named(exported, tmp_path):
    table = pq.read_table(exported / DATA)
    name = "observation.state.joint_position"
    place = table.column_names.index(name)
    for column in (pa.array(["text"] * 7), pa.array([[1.0]] * 7), pa.array([None] * 7)):
        pq.write_table(table.set_column(place, name, column), exported / DATA)
        with pytest.raises(DatasetError, match="joint_position"):
            LeRobotEpisodes(exported).read(0, tmp_path)
    pq.write_table(table.drop_columns([name]), exported / DATA)
    with pytest.raises(DatasetError, match=r"no column 'observation\.state\.joint_position'"):
        LeRobotEpisodes(exported).read(0, tmp_path)


def test_a_video_whose_frames_are_elsewhere_is_refused(exported, tmp_path):
    records = pq.read_table(exported / EPISODES).to_pylist()
    key = "videos/observation.images.wrist_left/from_timestamp"
    for start, message in ((0.125, "away from where it should be"), (1.0, "expected 7 frames")):
        records[0][key] = start
        pq.write_table(pa.Table.from_pylist(records), exported / EPISODES)
        with pytest.raises(DatasetError, match=message):
            LeRobotEpisodes(exported).read(0, tmp_path)
