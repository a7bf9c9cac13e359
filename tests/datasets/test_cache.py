import os
import pickle
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from episodes import make_episode, read_stamp

from vjepa_gym.datasets.caching.cache import open_cache, open_frames
from vjepa_gym.datasets.caching.in_order import in_order
from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.sampling.sources import VideoSource
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError, UnknownNameError
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


def disk_with(free):
    return lambda path: SimpleNamespace(total=2 * free, used=free, free=free)


def folders(store):
    home = store.root.with_name(f"{store.root.name}.cache")
    return sorted(path.name for path in home.iterdir()) if home.is_dir() else []


def test_a_cache_says_what_it_holds(store):
    cache = open_cache(store, size=32)
    assert sorted(path.name for path in cache.folder.iterdir()) == [
        *("left.npy", "meta.json", "offsets.npy", "poses.npy", "times.npy")
    ]
    assert cache.folder.parent == store.root.with_name("set.cache")
    assert (cache.views, cache.packing, cache.left_out) == (("left",), "raw", 0)
    assert cache.names == [entry.path for entry in store.entries()]
    for index, episode in enumerate(store):
        rows = slice(cache.offsets[index], cache.offsets[index + 1])
        np.testing.assert_array_equal(cache.poses[rows], episode.poses)
        np.testing.assert_array_equal(cache.times[rows], episode.times)
    images = cache.read(1, np.array([2, 0]), "left")
    assert [read_stamp(image) for image in images] == [2, 0]


def test_every_so_many_rows(store):
    cache = open_cache(store, size=32, stride=3)
    assert cache.offsets.tolist() == [0, 2, 3, 6]
    assert [read_stamp(image) for image in cache.images["left"]] == [0, 3, 0, 0, 3, 6]
    np.testing.assert_array_equal(cache.times[3:], store[2].times[::3])
    np.testing.assert_array_equal(cache.poses[3:], store[2].poses[::3])


def test_the_videos_own_size_is_kept(store):
    images = open_cache(store, size=None).images["left"]
    assert images.shape == (15, 64, 64, 3)
    np.testing.assert_array_equal(images[:5], store[0].images["left"])
    assert open_cache(store, size=[16, 48]).images["left"].shape == (15, 16, 48, 3)


def test_videos_of_different_sizes_need_one_that_is_asked_for(store):
    store.write(3, make_episode(seed=3, size=32))
    with pytest.raises(DatasetError, match=r"32 x 32 px, others 64 x 64; give a size"):
        open_cache(store, size=None)
    assert open_cache(store, size=16).images["left"].shape == (20, 16, 16, 3)
    assert len(folders(store)) == 1


def test_jpeg_is_within_a_tolerance_of_pixels_and_a_part_of_their_size(tmp_path):
    store, rng = EpisodeStore(tmp_path / "set"), np.random.default_rng(0)
    pictures = cv2.resize(rng.integers(0, 256, (8, 8, 15), np.uint8), (128, 128))
    images = np.moveaxis(pictures.reshape(128, 128, 5, 3), 2, 0)
    store.write(0, replace(make_episode(steps=4), images={"left": images}))
    pixels = open_frames(store, size=64).images
    packed = open_frames(store, size=64, packing="jpeg").images
    assert packed.shape == pixels.shape
    assert np.abs(np.asarray(packed).astype(int) - pixels).mean() < 3
    assert len(folders(store)) == 2
    sizes = [
        sum(file.stat().st_size for file in path.iterdir() if file.stem.startswith("left"))
        for path in (store.root.with_name("set.cache")).iterdir()
    ]
    assert max(sizes) > 5 * min(sizes)


@pytest.mark.parametrize("packing", ["raw", "jpeg"])
@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_packings_keep_the_order(store, packing, workers):
    cache = open_cache(store, size=32, packing=packing, workers=workers)
    stamps = [read_stamp(image) for image in np.asarray(cache.images["left"])]
    assert stamps == [*range(5), *range(3), *range(7)]


def test_what_is_asked_for_is_part_of_the_key(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    episode = make_episode()
    cameras = dict.fromkeys(("left", "wrist"), episode.cameras["left"])
    both = dict.fromkeys(cameras, episode.images["left"])
    store.write(0, replace(episode, images=both, cameras=cameras))
    asked = [
        {"size": 32},
        {"size": 16},
        {"size": None},
        {"size": 32, "stride": 2},
        {"size": 32, "views": ("wrist",)},
        {"size": 32, "views": ("left", "wrist")},
        {"size": 32, "packing": "jpeg"},
    ]
    made = [open_cache(store, **keys).folder for keys in asked]
    assert len(set(made)) == len(asked) == len(folders(store))
    assert [open_cache(store, **keys).folder for keys in asked] == made
    # Said otherwise, or of another kind, it is the same.
    assert open_cache(store, size=[32, 32]).folder == made[0]
    assert open_cache(store, size=32, packing="auto").folder == made[0]


def test_of_others_data_the_files_tell_whether_they_changed(store):
    others = DroidEpisodes(store.root)
    first = open_cache(others, size=32)
    assert first.folder.name not in [open_cache(store, size=32).folder.name]
    assert open_cache(DroidEpisodes(store.root), size=32).folder == first.folder
    for name in ("poses", "times"):
        wanted = np.concatenate([getattr(episode, name) for episode in others])
        np.testing.assert_array_equal(getattr(first, name), wanted)
    video = next(store.root.rglob("*.mp4"))
    os.utime(video, ns=(0, 0))
    assert open_cache(DroidEpisodes(store.root), size=32).folder != first.folder


def test_damaged_episodes_are_left_out_and_counted_if_so_asked(store):
    video = next(store.root.rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:100])
    with pytest.raises(DatasetError, match=str(video)):
        open_cache(DroidEpisodes(store.root), size=32)
    others = DroidEpisodes(store.root, on_defect="skip")
    for source in (open_cache(others, size=32), VideoSource(others)):
        assert len(source.names) == len(source.offsets) - 1 == 2
        assert source.left_out == 1
        assert pickle.loads(pickle.dumps(source)).left_out == 1


def test_a_short_disk_gets_jpeg_if_that_was_left_open(store, monkeypatch, caplog):
    # 15 frames of 64 x 64 x 3 bytes are 184,320; as JPEG they are a tenth of it.
    monkeypatch.setattr(shutil, "disk_usage", disk_with(100_000))
    with pytest.raises(DatasetError, match=r"need 184320 bytes, and 100000 are free.*'jpeg'"):
        open_cache(store, size=64)
    assert folders(store) == []
    cache = open_cache(store, size=64, packing="auto")
    assert cache.packing == "jpeg"
    assert "kept as JPEG" in caplog.text
    monkeypatch.setattr(shutil, "disk_usage", disk_with(10**9))
    # What is there already is taken.
    assert open_cache(store, size=64, packing="auto").folder == cache.folder
    assert open_frames(store, size=64, packing="auto").images[[3]].shape == (1, 64, 64, 3)


@pytest.mark.parametrize("packing", ["raw", "jpeg", "auto"])
def test_a_full_disk_is_refused_before_anything_is_written(store, monkeypatch, packing):
    monkeypatch.setattr(shutil, "disk_usage", disk_with(500))
    with pytest.raises(DatasetError, match=r"need (about )?\d+ bytes, and 500 are free"):
        open_cache(store, size=64, packing=packing)
    assert folders(store) == []


def test_a_damaged_cache_is_named(store):
    folder = open_cache(store, size=32).folder
    (folder / "poses.npy").write_bytes(b"short")
    with pytest.raises(DatasetError, match=f"{folder}: expected a whole cache.*Delete it"):
        open_cache(store, size=32)


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"views": ()}, {"size": 0}])
def test_nonsense_is_refused(store, wrong):
    with pytest.raises(ValueError, match="must be"):
        open_cache(store, **{"size": 32, **wrong})
    with pytest.raises(UnknownNameError, match="raw"):
        open_cache(store, size=32, packing="png")


def test_results_come_in_order_and_few_are_ahead():
    begun = []

    def double(number):
        begun.append(number)
        return 2 * number

    results = in_order(double, range(100), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(begun) <= 3 + 2 * 2 + 2
    assert list(results) == [2 * number for number in range(3, 100)]
