import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from episodes import read_stamp
from lerobot_files import (
    TASKS,
    VIEWS,
    assert_same,
    encode,
    export,
    make_many,
    make_store,
    stamp_of,
)

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.lerobot.conversion import read_lerobot, write_lerobot
from vjepa_gym.datasets.storage.staging import Staging
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video
from vjepa_gym.errors import DatasetError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("droid") / "set")


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    return export(store.root, tmp_path_factory.mktemp("lerobot") / "set")


def folder_with(store, episode):
    return DroidEpisodes(store.root).folders[episode]


def data(root, episode):
    return pq.read_table(root / f"data/chunk-000/file-{episode:03d}.parquet")


def test_there_and_back_every_row_and_every_frame_is_the_same(store, exported, tmp_path):
    seen = []
    read_lerobot(exported, tmp_path / "back", on_episode=lambda *count: seen.append(count))
    back = EpisodeStore(tmp_path / "back")
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for one, other in zip(store, back, strict=True):
        assert_same(one, other)
    for one, other in zip(store.entries(), back.entries(), strict=True):
        assert (one.index, one.path, one.rows, one.success) == (
            (other.index, other.path, other.rows, other.success)
        )
        rows = [
            (place.folder(entry) / "trajectory.h5")
            for place, entry in ((store, one), (back, other))
        ]
        assert rows[0].read_bytes() == rows[1].read_bytes()
    assert back.recover().damaged == {}


def test_what_changes_in_the_index_is_the_digest_of_the_decoded_pixels(store, exported, tmp_path):
    read_lerobot(exported, tmp_path / "back")
    back = EpisodeStore(tmp_path / "back")
    sidecars = [
        json.loads((place.folder(place.entries()[0]) / "vjg/episode.json").read_text())
        for place in (store, back)
    ]
    digests = [sidecar.pop("pixels_sha256") for sidecar in sidecars]
    assert sidecars[0] == sidecars[1]
    assert digests[0] != digests[1]


def test_features_are_columns_of_the_trajectory(store, exported):
    for number in range(3):
        columns = data(exported, number)
        with h5py.File(folder_with(store, number) / "trajectory.h5") as file:
            state = "observation/robot_state"
            for feature, path in {
                "observation.state.cartesian_position": f"{state}/cartesian_position",
                "observation.state.joint_position": f"{state}/joint_positions",
                "observation.state.gripper_position": f"{state}/gripper_position",
                "action.cartesian_velocity": "action/cartesian_velocity",
                "action.joint_position": "action/joint_position",
                "action.gripper_velocity": "action/gripper_velocity",
                "camera_extrinsics.wrist_left": "observation/camera_extrinsics/90000003_left",
                "camera_extrinsics.exterior_2_left": "observation/camera_extrinsics/90000002_left",
            }.items():
                stored = np.array(file[path]).astype(np.float32)
                np.testing.assert_array_equal(
                    np.array(columns[feature].to_pylist()), stored, feature
                )
    state = np.array(columns["observation.state"].to_pylist())
    np.testing.assert_array_equal(
        state[:, :7], columns["observation.state.joint_position"].to_pylist()
    )
    np.testing.assert_array_equal(state[:, 7], columns["observation.state.gripper_position"])
    action = np.array(columns["action"].to_pylist())
    np.testing.assert_array_equal(action[:, :7], columns["action.joint_position"].to_pylist())
    np.testing.assert_array_equal(action[:, 7], columns["action.gripper_position"])


def test_rows_say_where_they_are_and_how_the_episode_ended(store, exported):
    episodes, first = DroidEpisodes(store.root), 0
    for number, episode in enumerate(episodes):
        columns, rows = data(exported, number).to_pydict(), len(episode.poses)
        assert columns["frame_index"] == list(range(rows))
        assert columns["index"] == list(range(first, first + rows))
        assert columns["episode_index"] == [number] * rows
        assert columns["timestamp"] == [row / 4 for row in range(rows)]
        np.testing.assert_allclose(columns["observation.time"], episode.times, rtol=1e-6)
        assert columns["is_first"] == [True] + [False] * (rows - 1)
        assert columns["is_last"] == [False] * (rows - 1) + [True]
        assert columns["is_episode_successful"] == [episode.success] * rows
        assert columns["reward"] == [0] * (rows - 1) + [float(episode.success)]
        assert columns["language_instruction"] == [episode.task] * rows
        assert columns["date"] == ["2026-01-01"] * rows
        first += rows


def test_the_description_is_lerobots(store, exported):
    info = json.loads((exported / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 4, "Franka")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 25, 2)
    assert info["splits"] == {"train": "0:3"}
    schema = data(exported, 0).schema
    for name, feature in info["features"].items():
        if feature["dtype"] == "video":
            assert feature["shape"] == [64, 64, 3]
            assert feature["info"]["video.codec"] == "h264"
            continue
        kind = str(schema.field(name).type).replace("float[", "float32[")
        kind = {"float": "float32"}.get(kind, kind)
        (width,) = feature["shape"]
        if width > 1:
            assert kind == f"fixed_size_list<element: float>[{width}]", name
            assert len(feature["names"]["axes"]) == width
        else:
            assert kind == feature["dtype"], name
    assert set(schema.names) == {
        name for name, feature in info["features"].items() if feature["dtype"] != "video"
    }


def test_tasks_are_a_frame_indexed_by_their_texts(exported):
    tasks = pd.read_parquet(exported / "meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert tasks["task_index"].to_dict() == {"lift": 0, "push": 1}


def test_episodes_say_where_their_parts_lie(exported):
    records = pq.read_table(exported / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    lengths = [record["length"] for record in records]
    assert lengths == [7, 10, 8]
    for number, record in enumerate(records):
        assert record["tasks"] == [TASKS[number]]
        assert record["dataset_from_index"] == sum(lengths[:number])
        assert record["dataset_to_index"] == sum(lengths[: number + 1])
        for view in VIEWS.values():
            name = f"videos/observation.images.{view}"
            assert record[f"{name}/file_index"] == record["data/file_index"] == number
            assert record[f"{name}/from_timestamp"] == 0
            assert record[f"{name}/to_timestamp"] == lengths[number] / 4


def test_statistics_are_those_of_all_rows_and_pixels(store, exported):
    stats = json.loads((exported / "meta/stats.json").read_text())
    rows = np.concatenate([data(exported, number)["action"].to_pylist() for number in range(3)])
    for name, expected in {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
    }.items():
        np.testing.assert_allclose(stats["action"][name], expected, atol=1e-6)
    assert stats["action"]["count"] == [25]
    pixels = np.concatenate([episode.images["wrist"] for episode in store]) / 255
    told = stats["observation.images.wrist_left"]
    np.testing.assert_allclose(told["mean"], pixels.mean((0, 1, 2)).reshape(3, 1, 1), atol=1e-6)
    np.testing.assert_allclose(told["std"], pixels.std((0, 1, 2)).reshape(3, 1, 1), atol=1e-6)
    assert np.shape(told["q50"]) == (3, 1, 1)
    record = pq.read_table(exported / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    own = np.array(data(exported, 1)["action"].to_pylist())
    np.testing.assert_allclose(record["stats/action/q90"], np.quantile(own, 0.9, axis=0), atol=1e-6)


def test_videos_are_copied_not_encoded_anew(store, exported):
    for number, episode in enumerate(DroidEpisodes(store.root)):
        for camera, view in VIEWS.items():
            path = exported / f"videos/observation.images.{view}/chunk-000/file-{number:03d}.mp4"
            np.testing.assert_array_equal(read_video(path), episode.images[camera])


def test_frames_that_were_encoded_out_of_order_keep_their_times(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    episode = make_many(steps=11, cameras=("left",))
    entry = store.write(0, episode)
    encode(store.folder(entry) / "recordings/MP4/90000001.mp4", episode.images["left"], reordered=3)
    shutil.rmtree(store.folder(entry) / "vjg")  # anybody's, then
    export(store.root, tmp_path / "out")
    read_lerobot(tmp_path / "out", tmp_path / "back")
    (back,) = EpisodeStore(tmp_path / "back")
    stamps = [read_stamp(image) for image in back.images["left"]]
    assert stamps == [stamp_of("left", row) for row in range(12)]


def test_only_the_cameras_that_were_chosen_are_written(store, tmp_path):
    export(store.root, tmp_path / "out", cameras=("right",))
    read_lerobot(tmp_path / "out", tmp_path / "back")
    for one, other in zip(store, EpisodeStore(tmp_path / "back"), strict=True):
        assert list(other.images) == ["right"]
        np.testing.assert_array_equal(one.images["right"], other.images["right"])


def test_episodes_with_other_cameras_are_refused(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    store.write(0, make_many())
    store.write(1, make_many(cameras=("left", "right")))
    with pytest.raises(DatasetError, match=r"00:01:00.*has the views exterior_1_left, exterior_2_"):
        export(store.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_episodes_with_images_of_another_size_are_refused(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    store.write(0, make_many())
    store.write(1, make_many(size=32))
    with pytest.raises(DatasetError, match=r"has shape \[32, 32, 3\], in episodes before"):
        export(store.root, tmp_path / "out")


def test_a_finished_target_is_not_touched(store, tmp_path):
    export(store.root, tmp_path / "out")
    before = (tmp_path / "out/meta/info.json").stat().st_mtime_ns
    with pytest.raises(DatasetError, match="there is something already"):
        export(store.root, tmp_path / "out")
    assert (tmp_path / "out/meta/info.json").stat().st_mtime_ns == before


def test_an_export_that_was_stopped_leaves_nothing_that_looks_finished(store, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lerobot(DroidEpisodes(store.root), tmp_path / "out", on_episode=stop)
    assert not (tmp_path / "out").exists()
    left = Staging(tmp_path / "out.staging").path / "lerobot-killed"
    shutil.copytree(store.root, left)
    export(store.root, tmp_path / "out")
    assert not left.exists()
    read_lerobot(tmp_path / "out", tmp_path / "back")
    assert len(EpisodeStore(tmp_path / "back")) == 3


def test_a_damaged_episode_is_named(store, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(store.root, root)
    video = DroidEpisodes(root).folders[1] / "recordings/MP4/90000002.mp4"
    video.write_bytes(video.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"90000002\.mp4"):
        export(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_pyarrow_one_is_told_what_to_install(store, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for convert in (
        lambda: export(store.root, tmp_path / "out"),
        lambda: read_lerobot(store.root, tmp_path / "back"),
    ):
        with pytest.raises(DatasetError, match=r"pip install 'vjepa-gym\[lerobot\]'"):
            convert()
