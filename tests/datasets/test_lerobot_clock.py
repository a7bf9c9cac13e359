"""Export of episodes that DROID itself recorded, or that have a clock, or damage."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from episodes import read_stamp
from lerobot_files import assert_same, encode, export, make_many, make_store, stamp_of

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.lerobot.conversion import read_lerobot
from vjepa_gym.datasets.lerobot.video import header_of
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video
from vjepa_gym.errors import DatasetError

DATA = "data/chunk-000/file-000.parquet"


def make_foreign(root, *, steps=8, header="droid60"):
    """Write an episode with a clock of 15 Hz as DROID does, without anything of ours."""
    store = EpisodeStore(root)
    times = np.full(steps, 1 / 15, np.float32)
    entry = store.write(
        0, make_many(steps=steps, record_hz=15.0, step_seconds=times), header=header
    )
    shutil.rmtree(store.folder(entry) / "vjg")
    return store.folder(entry)


def test_episodes_of_droids_own_are_written_at_their_true_rate(tmp_path):
    folder = make_foreign(tmp_path / "set")
    (description,) = folder.glob("*.json")
    metadata = json.loads(description.read_text())
    ext1, ext2 = metadata["ext1_cam_serial"], metadata["ext2_cam_serial"]
    metadata |= {"ext1_cam_serial": ext2, "ext2_cam_serial": ext1}  # `left` is ext2 as often
    metadata |= {"building": "Gates", "user_id": "someone"}
    description.write_text(json.dumps(metadata))
    export(tmp_path / "set", tmp_path / "out")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["fps"] == 15
    video = tmp_path / "out/videos/observation.images.exterior_1_left/chunk-000/file-000.mp4"
    assert read_stamp(read_video(video)[0]) == stamp_of("right", 0)
    columns = pq.read_table(tmp_path / "out" / DATA).to_pydict()
    assert (columns["building"][0], columns["collector_id"][0]) == ("Gates", "someone")
    read_lerobot(tmp_path / "out", tmp_path / "back")
    (one,), (other,) = DroidEpisodes(tmp_path / "set"), DroidEpisodes(tmp_path / "back")
    assert other.record_hz == 15
    assert_same(one, other)
    (back,) = DroidEpisodes(tmp_path / "back").folders
    assert header_of(back / "recordings/MP4/90000001.mp4") == 60


def test_rows_without_a_frame_at_the_end_are_not_written(tmp_path):
    folder = make_foreign(tmp_path / "set")
    video = folder / "recordings/MP4/90000002.mp4"
    encode(video, make_many(steps=7).images["right"], rate=60)
    export(tmp_path / "set", tmp_path / "out", missing_frames=1)
    assert pq.read_table(tmp_path / "out" / DATA).num_rows == 8
    read_lerobot(tmp_path / "out", tmp_path / "back")
    assert [len(episode) for episode in EpisodeStore(tmp_path / "back")] == [7]


def test_damaged_episodes_are_left_out_if_that_was_asked_for(tmp_path):
    make_store(tmp_path / "set")
    (DroidEpisodes(tmp_path / "set").folders[1] / "trajectory.h5").write_bytes(b"")
    export(tmp_path / "set", tmp_path / "out", on_defect="skip")
    read_lerobot(tmp_path / "out", tmp_path / "back")
    assert sorted(EpisodeStore(tmp_path / "back").indices()) == [0, 5]


@pytest.mark.parametrize("rate", [10.0, 12.5])
def test_the_rate_of_a_clock_comes_back(tmp_path, rate):
    store = EpisodeStore(tmp_path / "set")
    times = np.full(6, 1 / rate, np.float32)
    store.write(0, make_many(record_hz=rate, step_seconds=times))
    export(store.root, tmp_path / "out")
    assert json.loads((tmp_path / "out/meta/info.json").read_text())["fps"] == rate
    read_lerobot(tmp_path / "out", tmp_path / "back")
    assert_same(store[0], EpisodeStore(tmp_path / "back")[0])


def test_episodes_of_another_rate_are_refused(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    store.write(0, make_many())
    times = np.full(6, 0.1, np.float32)
    store.write(1, make_many(record_hz=10.0, step_seconds=times))
    with pytest.raises(DatasetError, match="has 10 rows a second, episodes before it 4"):
        export(store.root, tmp_path / "out")
