import hashlib
import json
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from episodes import make_episode, read_stamp, stamped_frame
from foreign import FOLDER, SERIALS, write_foreign
from PIL import Image
from video_files import truncate, write

from vjepa_gym.datasets.caching.cache import open_cache, open_frames
from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.sampling.times import clock_rows
from vjepa_gym.datasets.sampling.videos import DroidVideos, FrameVideos, JoinedVideos
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.folder import ImageFolder, VideoFolder
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Frames, Videos


def make_frames(*lengths):
    images = [np.stack([stamped_frame(row, 16) for row in range(length)]) for length in lengths]
    rows = sum(lengths)
    return Frames(
        images=np.concatenate(images),
        poses=np.zeros((rows, 7), np.float32),
        offsets=np.cumsum([0, *lengths]),
    )


def test_episodes_of_a_cache_are_videos():
    videos = FrameVideos(make_frames(5, 9))
    assert isinstance(videos, Videos)
    assert list(videos.names) == ["episode 0", "episode 1"]
    assert (videos.lengths.tolist(), videos.rates.tolist()) == ([5, 9], [4.0, 4.0])
    images = videos.read(1, np.array([8, 0, 0]))
    assert [read_stamp(image) for image in images] == [8, 0, 0]
    assert FrameVideos(make_frames(5), rate=0.0).rates.tolist() == [0.0]


@pytest.mark.parametrize("rows", [[5], [-1]])
def test_frames_of_the_next_episode_are_not_those_of_this_one(rows):
    with pytest.raises(DatasetError, match=r"episode 0: frames .* but there are 5"):
        FrameVideos(make_frames(5, 9)).read(0, np.array(rows))


@pytest.fixture
def foreign(tmp_path):
    """Two episodes as others record them: B-frames, 60 a second in the header, 15 in truth."""
    write_foreign(tmp_path / "droid", rows=21, frames=20, size=32)
    second = tmp_path / "droid" / Path(FOLDER).with_name("Sat_Jul__8_09:57:28_2023")
    shutil.copytree(tmp_path / "droid" / FOLDER, second)
    return tmp_path / "droid"


def video_of(folder, camera):
    return folder / f"recordings/MP4/{SERIALS[camera]}.mp4"


def test_each_camera_of_each_episode_of_anybody_is_a_video(foreign):
    videos = DroidVideos(DroidEpisodes(foreign, cameras=("left", "wrist")))
    assert isinstance(videos, Videos)
    assert len(videos) == 4
    assert [Path(name).stem for name in videos.names] == [SERIALS["left"], SERIALS["wrist"]] * 2
    assert videos.lengths.tolist() == [20] * 4
    np.testing.assert_allclose(videos.rates, 15, rtol=0.01)
    images = pickle.loads(pickle.dumps(videos)).read(3, np.array([2, 19]))
    assert [read_stamp(image) for image in images] == [2, 19]
    left = DroidVideos(DroidEpisodes(foreign), cameras=("left",), max_side=24)
    assert len(left) == 2
    assert left.read(0, np.array([1])).shape == (1, 24, 24, 3)


def test_opening_decodes_nothing_and_what_was_found_is_remembered(foreign, monkeypatch):
    monkeypatch.setattr("vjepa_gym.datasets.video.seeking.VideoReformatter", None)
    seen = []
    first = DroidVideos(DroidEpisodes(foreign), on_progress=lambda *a: seen.append(a))
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)
    assert sum(done == 0 for done, _ in seen) == 1
    for what in ("probe_video", "rows_of"):
        monkeypatch.setattr(f"vjepa_gym.datasets.sampling.videos.{what}", None)
    again = DroidVideos(DroidEpisodes(foreign))
    assert again.names == first.names
    np.testing.assert_array_equal(again.lengths, first.lengths)
    np.testing.assert_array_equal(again.rates, first.rates)


def test_damaged_episodes_of_anybody_are_named_or_left_out(foreign):
    first, second = DroidEpisodes(foreign).folders
    truncate(video_of(first, "left"), 0.5)
    video_of(first, "wrist").unlink()
    with pytest.raises(DatasetError, match="2 of 6 videos cannot be used"):
        DroidVideos(DroidEpisodes(foreign))
    videos = DroidVideos(DroidEpisodes(foreign), on_defect="skip")
    assert len(videos) == 4
    assert len(videos.left_out) == 2
    with h5py.File(second / "trajectory.h5", "r+") as file:
        del file["observation/timestamp"]
    with pytest.raises(DatasetError, match="1 of 2 trajectories"):
        DroidVideos(DroidEpisodes(foreign))
    videos = DroidVideos(DroidEpisodes(foreign), on_defect="skip")
    assert [Path(name).stem for name in videos.names] == [SERIALS["right"]]
    next(second.glob("*.json")).unlink()
    with pytest.raises(DatasetError, match="metadata"):
        DroidVideos(DroidEpisodes(foreign))
    videos = DroidVideos(DroidEpisodes(foreign), on_defect="skip")
    assert [Path(name).stem for name in videos.names] == [SERIALS["right"]]
    next(first.glob("*.json")).unlink()
    with pytest.raises(DatasetError, match="no episode can be used"):
        DroidVideos(DroidEpisodes(foreign), on_defect="skip")


def test_several_sets_are_one(tmp_path):
    write(tmp_path / "videos/a.mp4", frames=8)
    write(tmp_path / "videos/b.mp4", frames=9)
    (tmp_path / "images").mkdir()
    Image.fromarray(stamped_frame(77, 32)).save(tmp_path / "images/c.png")
    parts = [
        FrameVideos(make_frames(5, 6)),
        VideoFolder(tmp_path / "videos"),
        ImageFolder(tmp_path / "images"),
    ]
    videos = JoinedVideos(parts, [2.0, 1.0, 1.0])
    assert isinstance(videos, Videos)
    assert videos.names == ["episode 0", "episode 1", "a.mp4", "b.mp4", "c.png"]
    assert videos.lengths.tolist() == [5, 6, 8, 9, 1]
    assert videos.rates.tolist() == [4.0, 4.0, 30.0, 30.0, 0.0]
    assert videos.weights is not None
    np.testing.assert_allclose(videos.weights, [0.25, 0.25, 0.125, 0.125, 0.25])
    last = [read_stamp(videos.read(i, videos.lengths[i : i + 1] - 1)[0]) for i in range(5)]
    assert last == [4, 5, 7, 8, 77]
    assert JoinedVideos(parts).weights is None


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], []])
def test_weights_that_cannot_be_are_refused(weights):
    parts = [FrameVideos(make_frames(5))] * 2
    with pytest.raises(ValueError, match="one positive number for each of 2 sets"):
        JoinedVideos(parts, weights)
    with pytest.raises(ValueError, match="of which there must be some"):
        JoinedVideos([])


def test_a_clock_keeps_the_rows_nearest_to_its_ticks():
    even = np.arange(31) / 15
    assert clock_rows(even, 4.0).tolist() == [0, 4, 7, 11, 15, 19, 22, 26, 30]
    assert clock_rows(even, 15.0).tolist() == list(range(31))
    assert clock_rows(even, 60.0).tolist() == list(range(31))
    assert clock_rows(even[:1], 4.0).tolist() == [0]
    late = np.rint(1000 * even[:30]) / 1000  # a clock that tells milliseconds
    assert clock_rows(late, 15.0).tolist() == list(range(30))
    jittered = np.array([0.0, 0.05, 0.24, 0.3, 0.5, 1.01])
    assert clock_rows(jittered, 4.0).tolist() == [0, 2, 4, 5]


def test_a_cache_keeps_the_rows_of_a_clock(foreign):
    episodes = DroidEpisodes(foreign, cameras=("left",), missing_frames=1)
    whole, some = open_cache(episodes, size=32), open_cache(episodes, size=32, hz=4.0)
    assert whole.folder != some.folder
    kept = clock_rows(whole.times[:20], 4.0)
    assert np.diff(some.offsets).tolist() == [len(kept)] * 2
    assert np.abs(np.diff(some.times[: len(kept)]) - 0.25).max() < 0.051
    both = np.concatenate([kept, 20 + kept])
    for name in ("poses", "times"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[both])
    np.testing.assert_array_equal(some.images["left"], whole.images["left"][both])
    assert open_cache(episodes, size=32, hz=4.0).folder == some.folder
    assert open_cache(episodes, size=32, hz=5.0).folder != some.folder


@pytest.mark.parametrize("wrong", [{"hz": 0.0}, {"hz": float("inf")}, {"hz": 4.0, "stride": 2}])
def test_a_clock_that_cannot_be_is_refused(foreign, wrong):
    with pytest.raises(ValueError, match="hz must be positive"):
        open_cache(DroidEpisodes(foreign), size=32, **wrong)


def test_caches_without_a_clock_are_still_found(tmp_path):
    """Their key is what it was."""
    store = EpisodeStore(tmp_path / "data")
    store.write(0, make_episode(steps=3, size=32))
    assert open_frames(store, size=16).images.shape == (4, 16, 16, 3)
    entries = [(entry.index, entry.digest) for entry in store.entries()]
    text = json.dumps([2, [16, 16], 1, ["left"], "raw", entries])
    assert [path.name for path in (tmp_path / "data.cache").iterdir()] == [
        hashlib.sha256(text.encode()).hexdigest()[:16]
    ]
