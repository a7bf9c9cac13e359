import pickle
import shutil
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from clip_rows import Rows, clock, same
from episodes import make_episode, read_stamp
from torch.utils.data import DataLoader

from vjepa_gym import kinematics
from vjepa_gym.datasets.caching.cache import open_cache
from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.sampling.clips import Clips
from vjepa_gym.datasets.sampling.sampler import ClipSampler
from vjepa_gym.datasets.sampling.sources import ClipSource, VideoSource
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video, write_video
from vjepa_gym.errors import DatasetError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = EpisodeStore(tmp_path_factory.mktemp("clips") / "set")
    for index, steps in enumerate((24, 18, 3, 30)):
        episode = make_episode(seed=index, steps=steps)
        step_seconds = np.full(steps, 1 / 15, np.float32)
        store.write(index, replace(episode, step_seconds=step_seconds, record_hz=15.0))
    return store


SOURCES = {
    "memory map": lambda store: open_cache(store, size=None),
    "packed": lambda store: open_cache(store, size=None, packing="jpeg"),
    "video": VideoSource,
}


@pytest.fixture(params=SOURCES)
def source(request, store):
    return SOURCES[request.param](store)


def test_clips_show_what_they_say(store, source):
    assert isinstance(source, ClipSource)
    clips = Clips(source, frames=4, fps=5.0, per_episode=6)
    assert clips.episodes.tolist() == [0, 1, 3]
    assert len(clips) == 18
    assert len({tuple(clip.rows) for clip in clips}) > 6
    for number, clip in enumerate(clips):
        episode = store[clip.episode]
        assert clip.episode == [0, 1, 3][number // 6]
        assert [read_stamp(image) for image in clip.images] == clip.rows.tolist()
        np.testing.assert_array_equal(clip.poses, episode.poses[clip.rows])
        np.testing.assert_array_equal(clip.times, episode.times[clip.rows])
        wanted = kinematics.difference(clip.poses[:-1], clip.poses[1:])
        np.testing.assert_array_equal(clip.actions, wanted)
        reached = kinematics.integrate(clip.poses[:-1], clip.actions)
        np.testing.assert_allclose(reached[:, :3], clip.poses[1:, :3], atol=1e-6)


def test_all_sources_show_the_same(store):
    raw, packed, video = (
        Clips(open_it(store), frames=3, stride=2, seed=3) for open_it in SOURCES.values()
    )
    for a, b, c in zip(raw, packed, video, strict=True):
        np.testing.assert_array_equal(a.images, c.images)
        assert np.abs(a.images.astype(int) - b.images).mean() < 3
        assert a.rows.tolist() == b.rows.tolist() == c.rows.tolist()
        np.testing.assert_array_equal(a.actions, c.actions)


def test_the_source_brings_images_to_a_size(store):
    video = VideoSource(store, size=[16, 32])
    cache = open_cache(store, size=[16, 32])
    ours, theirs = Clips(video, frames=3, stride=1)[0], Clips(cache, frames=3, stride=1)[0]
    assert ours.images.shape == (3, 16, 32, 3)
    np.testing.assert_array_equal(ours.images, theirs.images)


def test_with_several_views_each_clip_is_of_one(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    episode = make_episode(steps=8)
    images = {**episode.images, "wrist": 255 - episode.images["left"]}
    cameras = dict.fromkeys(("left", "wrist"), episode.cameras["left"])
    store.write(0, replace(episode, images=images, cameras=cameras))
    both = {"size": 32, "views": ("left", "wrist")}
    for source in (open_cache(store, **both), VideoSource(store, **both)):
        clips = Clips(source, frames=2, stride=1, per_episode=20)
        views = [clip.view for clip in clips]
        assert set(views) == {"left", "wrist"}
        for clip in clips:
            assert (clip.images[:, 4:].mean() > 140) == (clip.view == "wrist")


def test_a_damaged_episode_is_named_and_no_other_taken(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    for index in range(2):
        store.write(index, make_episode(seed=index, steps=8))
    video = next(store.folder(store.entries()[1]).rglob("*.mp4"))
    clips = Clips(VideoSource(store), frames=3, stride=1)
    video.write_bytes(video.read_bytes()[:-300])
    assert clips[0].episode == 0
    for _ in range(2):
        with pytest.raises(DatasetError, match=str(video)):
            clips[1]


def test_anybodys_episodes_are_cut_by_their_own_clock(store, tmp_path):
    shutil.copytree(store.root, tmp_path / "others")
    for sidecar in (tmp_path / "others").rglob("vjg"):
        shutil.rmtree(sidecar)
    one = sorted((tmp_path / "others").rglob("*.mp4"))[0]
    write_video(one, read_video(one)[:-1], Fraction(60))
    with pytest.raises(DatasetError, match=str(one)):
        open_cache(DroidEpisodes(tmp_path / "others"), size=None)
    episodes = DroidEpisodes(tmp_path / "others", missing_frames=1)
    video, cache = VideoSource(episodes), open_cache(episodes, size=None)
    # How many rows have no frame is known only once a video has been decoded.
    lengths = [len(episode.poses) for episode in episodes]
    assert np.diff(cache.offsets).tolist() == lengths
    assert np.diff(video.offsets).sum() == sum(lengths) - 3
    for source in (video, cache):
        clips = Clips(source, frames=4, fps=5.0, per_episode=None)
        assert {clip.episode for clip in clips} == {0, 1, 2, 3} - {lengths.index(min(lengths))}
        for clip in clips:
            # Others tell their time in whole milliseconds.
            np.testing.assert_allclose(np.diff(clip.times), 0.2, atol=2e-3)
            assert [read_stamp(image) for image in clip.images] == clip.rows.tolist()
            np.testing.assert_array_equal(clip.poses, episodes[clip.episode].poses[clip.rows])


def test_a_clip_is_a_function_of_seed_epoch_and_number():
    rows = Rows(*(clock(100, 15) for _ in range(5)))
    clips = Clips(rows, frames=4, fps=5.0, seed=1)
    assert same(clips[7], Clips(rows, frames=4, fps=5.0, seed=1)[7])
    starts = [[int(clips[epoch * 5 + i].rows[0]) for i in range(5)] for epoch in range(4)]
    assert [clips[epoch * 5 + 2].episode for epoch in range(4)] == [2] * 4
    assert len({tuple(row) for row in starts}) == 4
    others = Clips(rows, frames=4, fps=5.0, seed=2)
    assert [int(others[i].rows[0]) for i in range(5)] != starts[0]
    with pytest.raises(IndexError, match="-1"):
        clips[-1]


def test_without_a_count_every_clip_is_there_once():
    clips = Clips(Rows(clock(10, 15), clock(6, 15)), frames=4, fps=15.0, per_episode=None)
    assert [(clip.episode, int(clip.rows[0])) for clip in clips] == [
        *((0, row) for row in range(7)),
        *((1, row) for row in range(3)),
    ]
    assert clips.offered == len(clips) == 10


@pytest.mark.parametrize(
    ("name", "context"),
    [("video", "fork"), ("video", "spawn"), ("memory map", "fork"), ("packed", "fork")],
)
def test_workers_make_no_difference(store, name, context):
    clips = Clips(SOURCES[name](store), frames=4, fps=5.0, seed=5, per_episode=2)

    def batches(workers):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
            loader = DataLoader(
                clips,  # pyright: ignore
                batch_size=2,
                sampler=ClipSampler(clips),
                num_workers=workers,
                multiprocessing_context=context if workers else None,
                persistent_workers=workers > 0,
            )
            return [*loader, *loader]

    alone = batches(0)
    assert len(alone) == 6
    assert tuple(alone[0].images.shape) == (2, 4, 64, 64, 3)
    for one, two in zip(alone, batches(2), strict=True):
        assert same(one, two)


def test_a_source_is_small_to_send(store):
    cache = open_cache(store, size=None)
    sent = pickle.dumps(cache)
    assert len(sent) < 2000
    assert same([pickle.loads(sent).poses], [cache.poses])
