import numpy as np
import pytest
from episodes import make_episode, read_stamp

from vjepa_gym.datasets.cache import open_frames
from vjepa_gym.datasets.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.images import resize


@pytest.fixture
def store(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    for index, steps in enumerate((4, 2, 6)):
        store.write(index, make_episode(seed=index, steps=steps))
    return store


@pytest.mark.parametrize("workers", [1, 2])
def test_episodes_lie_end_to_end(store, workers):
    frames = open_frames(store, size=32, workers=workers)
    assert frames.offsets.tolist() == [0, 5, 8, 15]
    assert frames.images.shape == (15, 32, 32, 3)
    stamps = [read_stamp(image) for image in frames.images]
    assert stamps == [*range(5), *range(3), *range(7)]
    for index, episode in enumerate(store):
        rows = slice(frames.offsets[index], frames.offsets[index + 1])
        np.testing.assert_array_equal(frames.poses[rows], episode.poses)
        np.testing.assert_array_equal(frames.images[rows], resize(episode.images["left"], 32))


def test_frames_are_mapped_and_cannot_be_written_to(store):
    frames = open_frames(store, size=32)
    assert isinstance(frames.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        frames.images[0] = 0


def test_frames_are_decoded_once(store):
    calls = []
    open_frames(store, size=32, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    open_frames(store, size=32, on_progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 3


def test_another_size_or_another_episode_is_another_cache(store):
    assert open_frames(store, size=32).images.shape[1] == 32
    assert open_frames(store, size=16).images.shape[1] == 16
    store.write(3, make_episode(seed=3))
    assert open_frames(store, size=32).num_episodes == 4
    assert len(list((store.root.with_name("set.cache")).iterdir())) == 3


def test_what_is_left_of_a_killed_build_is_neither_read_nor_kept(store):
    calls = []

    def kill(done, total):
        calls.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_frames(store, size=32, on_progress=kill)
    assert calls == [1]
    assert not store.root.with_name("set.cache").exists()
    assert open_frames(store, size=32).num_episodes == 3


def test_two_builders_do_not_disturb_each_other(store):
    def build_meanwhile(done, total):
        if done == total:
            open_frames(store, size=32)

    assert open_frames(store, size=32, on_progress=build_meanwhile).num_episodes == 3


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no episode; expected .*index\.jsonl"):
        open_frames(EpisodeStore(tmp_path / "nothing"), size=32)


def test_an_absent_camera_is_refused_by_name(store):
    with pytest.raises(DatasetError, match="no camera 'wrist', only left"):
        open_frames(store, size=32, camera="wrist")


def test_a_damaged_video_is_named(store):
    video = next(store.root.rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:100])
    with pytest.raises(DatasetError, match=str(video)):
        open_frames(store, size=32)
