import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vjepa_gym import kinematics
from vjepa_gym.datasets.caching.cache import open_frames
from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.frames import open_split, open_videos
from vjepa_gym.types import Videos

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from episodes import make_episode, read_stamp, stamped_frame
from foreign import FOLDER, write_foreign
from video_files import write


@pytest.fixture
def ours(tmp_path):
    store = EpisodeStore(tmp_path / "ours")
    for index in range(4):
        store.write(index, make_episode(steps=4 + index, size=32, seed=index))
    return tmp_path / "ours"


@pytest.fixture
def droid(tmp_path):
    for number in range(3):
        folder = write_foreign(tmp_path / f"{number}", rows=31, frames=31 - number % 2, size=32)
        target = tmp_path / "droid" / Path(FOLDER).with_name(f"Sat_Jul__8_08:57:2{number}_2023")
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    return tmp_path / "droid"


def test_our_frames_are_all_that_were_recorded(ours):
    train, held_out = open_split(str(ours), size=16, held_out=1)
    whole = open_frames(EpisodeStore(ours), size=16)
    np.testing.assert_array_equal(
        np.concatenate([train.images, held_out.images]), np.asarray(whole.images)
    )
    np.testing.assert_array_equal(np.concatenate([train.poses, held_out.poses]), whole.poses)
    assert np.diff(train.offsets).tolist() == [5, 6, 7]
    assert np.diff(held_out.offsets).tolist() == [8]


def test_episodes_of_anybody_are_taken_at_the_ticks_of_a_clock(droid):
    """At 15 rows a second, of which 4 are kept: actions are what happened between."""
    train, held_out = open_split(str(droid), size=32, held_out=1)
    assert np.diff(train.offsets).tolist() == [9, 8]  # the second lacks its last frame
    assert np.diff(held_out.offsets).tolist() == [9]
    rows = [read_stamp(image) for image in np.asarray(train.images[:9])]
    assert rows == [0, 4, 7, 11, 15, 19, 22, 26, 30]
    whole = DroidEpisodes(droid, cameras=("left",))[0]
    np.testing.assert_array_equal(train.poses[:9], whole.poses[rows])
    actions = kinematics.displacements(train.poses[:9])
    np.testing.assert_allclose(actions[:, 0], 0.01 * np.diff(rows), atol=1e-5)
    quicker, _ = open_split(str(droid), size=32, held_out=1, hz=15.0)
    assert np.diff(quicker.offsets).tolist() == [31, 30]


def test_damaged_episodes_of_anybody_are_refused_or_left_out(droid):
    broken = next(droid.rglob("*8_08:57:20_2023"))
    (broken / "trajectory.h5").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"trajectory\.h5"):
        open_split(str(droid), size=32, held_out=1)
    train, held_out = open_split(str(droid), size=32, held_out=1, skip_bad=True)
    assert (train.num_episodes, held_out.num_episodes) == (1, 1)


def test_too_many_held_out_episodes_are_named(ours, droid):
    for folder, count in ((ours, 4), (droid, 3)):
        for held_out in (0, count):
            with pytest.raises(DatasetError, match=f"between 1 and {count - 1}; got {held_out}"):
                open_split(str(folder), size=16, held_out=held_out)
        for held_out in (-1, count):
            with pytest.raises(DatasetError, match=f"between 0 and {count - 1}; got {held_out}"):
                open_videos(str(folder), image_size=16, held_out=held_out)


def test_videos_of_ours_are_without_the_last_episodes(ours):
    videos = open_videos(str(ours), image_size=16, held_out=1)
    assert isinstance(videos, Videos)
    assert videos.lengths.tolist() == [5, 6, 7]
    assert videos.rates.tolist() == [4.0] * 3
    assert videos.read(2, np.array([6])).shape == (1, 16, 16, 3)
    assert len(open_videos(ours, image_size=16).lengths) == 4


def test_videos_of_anybodys_episodes_are_of_all_cameras(droid):
    videos = open_videos(str(droid), image_size=12, held_out=1)
    assert len(videos.names) == 6
    np.testing.assert_allclose(videos.rates, 15, rtol=0.01)
    assert videos.read(0, np.array([3])).shape == (1, 24, 24, 3)
    assert len(open_videos(droid, image_size=12, cameras=("left",)).names) == 3


def test_a_folder_is_known_by_what_is_in_it(tmp_path):
    write(tmp_path / "videos/a/b.mkv", frames=5)
    (tmp_path / "images").mkdir()
    Image.fromarray(stamped_frame(3, 64)).save(tmp_path / "images/c.jpg")
    seen = []
    videos = open_videos(
        [tmp_path / "videos", str(tmp_path / "images")],
        image_size=16,
        weights=[3.0, 1.0],
        on_progress=lambda *a: seen.append(a),
    )
    assert videos.names == ["a/b.mkv", "c.jpg"]
    np.testing.assert_allclose(videos.weights, [0.75, 0.25])
    assert [videos.read(i, np.array([0])).shape[1:] for i in range(2)] == [(32, 32, 3)] * 2
    assert seen == [(0, 1), (1, 1)] * 2


def test_images_beside_videos_are_left_aside_and_said_so(tmp_path, caplog):
    write(tmp_path / "data/b.mp4", frames=5)
    Image.fromarray(stamped_frame(3, 32)).save(tmp_path / "data/thumbnail.jpg")
    with caplog.at_level(logging.WARNING):
        assert open_videos(tmp_path / "data", image_size=16).names == ["b.mp4"]
    assert "1 images beside 1 videos are left aside" in caplog.text


def test_how_far_it_is_is_shown(tmp_path, capsys):
    write(tmp_path / "data/b.mp4", frames=5)
    open_videos(tmp_path / "data", image_size=16)
    assert "look into data: 1/1" in capsys.readouterr().err


def test_damaged_videos_are_refused_or_left_out(tmp_path):
    write(tmp_path / "data/b.mp4", frames=5)
    (tmp_path / "data/c.mp4").touch()
    with pytest.raises(DatasetError, match=r"c\.mp4: .*is empty"):
        open_videos(tmp_path / "data", image_size=16)
    assert open_videos(tmp_path / "data", image_size=16, skip_bad=True).names == ["b.mp4"]


def test_what_cannot_be_opened_says_what_could_have_been(tmp_path):
    (tmp_path / "robots/empty").mkdir(parents=True)
    (tmp_path / "robots/notes.txt").write_text("nothing")
    with pytest.raises(DatasetError, match=r"nothing that can be read; expected .*collect.*\.mp4"):
        open_videos(tmp_path / "robots", image_size=16)
    with pytest.raises(DatasetError, match=r"no such folder. Did you mean .*robots\?"):
        open_videos(tmp_path / "robot", image_size=16)
    with pytest.raises(DatasetError, match="found a file; name the folder"):
        open_videos(tmp_path / "robots/notes.txt", image_size=16)
    with pytest.raises(DatasetError, match="no such folder"):
        open_split(str(tmp_path / "none/at all"), size=16, held_out=1)
    for data, weights in (([], None), ([tmp_path], [1.0, 2.0])):
        with pytest.raises(ValueError, match="data must name a folder or several"):
            open_videos(data, image_size=16, weights=weights)


def test_other_formats_are_to_be_converted_first(tmp_path):
    (tmp_path / "set.lerobot/meta").mkdir(parents=True)
    (tmp_path / "set.lerobot/meta/info.json").write_text("{}")
    for opened in (
        lambda: open_videos(tmp_path / "set.lerobot", image_size=16),
        lambda: open_split(str(tmp_path / "set.lerobot"), size=16, held_out=1),
    ):
        with pytest.raises(DatasetError, match=r"vjepa-gym convert .*set\.lerobot .*job\.to=droid"):
            opened()


def test_actions_are_not_learnt_from_videos_alone(tmp_path):
    write(tmp_path / "data/b.mp4", frames=5)
    with pytest.raises(DatasetError, match="has no poses, from which actions are learnt"):
        open_split(str(tmp_path / "data"), size=16, held_out=1)
