"""The job that converts datasets: every way there and back, and what is said to mistakes."""

import errno
import re
import shutil
import sys
from fractions import Fraction

import h5py
import numpy as np
import pytest

from vjepa_gym.datasets.caching.cache import open_cache
from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.storage.disk import DiskFullError
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.errors import DatasetError, VJEPAGymError
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.convert import places as convert_places
from vjepa_gym.experiments.jobs import convert
from vjepa_gym.experiments.jobs.convert import ConvertConfig, plan_conversion, run_convert
from vjepa_gym.types import Episode


def make_episode(seed: int, *, cameras: tuple[str, ...] = ("left",), steps: int = 3) -> Episode:
    rng = np.random.default_rng(seed)
    rows = steps + 1
    poses = np.tile(np.array([0.5, 0, 0.3, 3.1, 0, 0.1, 0.5], np.float32), (rows, 1))
    poses[:, 0] += np.arange(rows, dtype=np.float32) / 100
    return Episode(
        commands=rng.uniform(-0.05, 0.05, (steps, 7)).astype(np.float32),
        poses=poses,
        images={name: rng.integers(0, 255, (rows, 32, 32, 3), np.uint8) for name in cameras},
        joints=rng.normal(size=(rows, 7)).astype(np.float32),
        step_seconds=np.full(steps, 0.25, np.float32),
        cameras={name: {"extrinsics": np.arange(6.0), "intrinsics": np.eye(3)} for name in cameras},
        success=bool(seed % 2),
        task="reach",
        policy="play",
        seed=seed,
    )


def fill(root, *, episodes=3, **options):
    store = EpisodeStore(root)
    for index in range(episodes):
        store.write(index, make_episode(index, **options))
    return store


@pytest.fixture
def source(tmp_path):
    fill(tmp_path / "set")
    return tmp_path / "set"


def damage(root, position=1):
    video = sorted(root.rglob("*.mp4"))[position]
    video.write_bytes(video.read_bytes()[:100])
    return video.parents[2]


def config(source, **options):
    return ConvertConfig(source=str(source), **options)


@pytest.mark.parametrize(
    ("to", "name"),
    [("lerobot", "set.lerobot"), ("robomimic", "set.robomimic.hdf5")],
)
def test_the_target_is_beside_the_source_unless_told_otherwise(source, to, name):
    calls = []
    converted = run_convert(config(source, to=to), lambda *done: calls.append(done))
    assert converted.target == source.with_name(name)
    assert converted.target.exists()
    assert converted.episodes == 3
    assert converted.bytes > 1000
    assert converted.skipped == {}
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_there_and_back_over_lerobot_nothing_is_lost(source, tmp_path):
    run_convert(config(source, to="lerobot", target=str(tmp_path / "there")))
    back = run_convert(config(tmp_path / "there", to="droid", target=str(tmp_path / "back")))
    assert back.episodes == 3
    for first, second in zip(EpisodeStore(source), EpisodeStore(tmp_path / "back"), strict=True):
        np.testing.assert_array_equal(first.commands, second.commands)
        np.testing.assert_array_equal(first.images["left"], second.images["left"])


def test_back_from_lerobot_goes_on_where_it_was_broken_off(source, tmp_path):
    there, back = tmp_path / "set.lerobot", tmp_path / "set.droid"
    run_convert(config(source, to="lerobot"))

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_convert(config(there, to="droid"), interrupt)
    assert len(EpisodeStore(back)) == 1
    assert run_convert(config(there, to="droid")).target == back
    assert len(EpisodeStore(back)) == 3


def test_robomimics_file_has_the_images_asked_for(source):
    run_convert(config(source, to="robomimic", size=[12, 16]))
    with h5py.File(source.with_name("set.robomimic.hdf5")) as file:
        assert file["data/demo_0/obs/left_image"].shape == (3, 12, 16, 3)


@pytest.mark.parametrize(("size", "side"), [(None, 84), (0, 32), (20, 20)])
def test_the_size_is_robomimics_own_or_that_of_the_video(source, size, side):
    run_convert(config(source, to="robomimic", size=size))
    with h5py.File(source.with_name("set.robomimic.hdf5")) as file:
        assert file["data/demo_0/obs/left_image"].shape[1:] == (side, side, 3)


def test_the_cache_that_was_made_is_the_one_that_training_finds(source):
    converted = run_convert(config(source, to="cache", size=16))
    calls = []
    cache = open_cache(
        EpisodeStore(source), size=16, packing="auto", on_progress=lambda *done: calls.append(done)
    )
    assert cache.folder == converted.target
    assert not calls
    assert cache.views == ("left",)
    assert converted.bytes > 12 * 16 * 16 * 3


def test_the_cache_heeds_stride_packing_and_cameras(tmp_path):
    fill(tmp_path / "set", cameras=("left", "wrist"))
    options = {"stride": 2, "packing": "jpeg", "cameras": ["wrist"], "workers": 1}
    converted = run_convert(config(tmp_path / "set", to="cache", size=16, **options))
    assert (converted.target / "wrist.jpeg").is_file()
    assert len(np.load(converted.target / "poses.npy")) == 3 * 2


def test_only_the_cameras_asked_for_are_converted(tmp_path):
    fill(tmp_path / "set", cameras=("left", "wrist"))
    run_convert(config(tmp_path / "set", to="robomimic", cameras=["wrist"]))
    with h5py.File(tmp_path / "set.robomimic.hdf5") as file:
        seen = set(file["data/demo_0/obs"])
    assert "wrist_image" in seen
    assert "left_image" not in seen


@pytest.mark.parametrize("to", ["lerobot", "robomimic", "cache"])
def test_a_damaged_episode_stops_it_and_one_is_told_how_to_go_on(source, to):
    damaged = damage(source)
    with pytest.raises(DatasetError, match="on_defect=skip leaves such episodes out") as caught:
        run_convert(config(source, to=to))
    assert str(damaged) in str(caught.value)
    assert not list(source.parent.glob("set.lerobot")) + list(source.parent.glob("set.robomimic*"))


def test_a_frame_that_is_missing_at_the_end_can_be_forgiven(source, tmp_path):
    shutil.rmtree(DroidEpisodes(source).folders[0] / "vjg")
    foreign = DroidEpisodes(source).folders[-1]
    (video,) = foreign.rglob("*.mp4")
    write_video(video, make_episode(0).images["left"][:-1], Fraction(4))
    target = str(tmp_path / "out.hdf5")
    with pytest.raises(DatasetError, match=r"job\.missing_frames=1 takes those"):
        run_convert(config(source, to="robomimic", target=target))
    run_convert(config(source, to="robomimic", target=target, missing_frames=1))
    with h5py.File(target) as file:
        lengths = [len(demo["actions"]) for demo in file["data"].values()]
    assert lengths == [3, 3, 2]


@pytest.mark.parametrize("to", ["lerobot", "robomimic", "cache"])
def test_damaged_episodes_can_be_left_out_and_are_named(source, to):
    damaged = damage(source)
    converted = run_convert(config(source, to=to, on_defect="skip"))
    assert converted.episodes == 2
    assert list(converted.skipped) == [damaged]
    kinds = {defect.kind for defect in converted.skipped[damaged]}
    assert converted.by_kind() == {kind: [damaged] for kind in kinds}


def test_what_was_left_out_is_shown_by_kind(source, monkeypatch, capsys, tmp_path):
    damaged = damage(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    assert main(["convert", "set", "out.hdf5", "job.to=robomimic", "job.on_defect=skip"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("out.hdf5: 2 episodes, ")
    assert told[1] == "Left out for being damaged: 1"
    assert damaged.relative_to(tmp_path).as_posix() in told[3]
    assert "unreadable_video, a video is truncated" in " ".join(told)


def test_too_little_room_is_found_out_before_anything_is_written(source, monkeypatch):
    monkeypatch.setattr(convert_places, "free_bytes", lambda path: 500)
    for to in ("lerobot", "robomimic"):
        with pytest.raises(DatasetError, match=r"about [\d.]+ kB are needed and 500 B are free"):
            run_convert(config(source, to=to))
    assert [path.name for path in source.parent.iterdir() if "set." in path.name] == ["set.staging"]


def test_a_disk_that_fills_up_meanwhile_is_said_to_be_full(source, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(convert, "write_robomimic", fail)
    with pytest.raises(DiskFullError, match="the disk is full"):
        run_convert(config(source, to="robomimic"))


def test_what_robomimic_needs_is_estimated_from_above_and_not_by_far(tmp_path):
    # Noise is the worst that compression can meet.
    fill(tmp_path / "set", cameras=("left", "wrist"), steps=20)
    plan = plan_conversion(config(tmp_path / "set", to="robomimic", size=0))
    pixels = 3 * 21 * 2 * 32 * 32 * 3
    assert 0.5 * pixels < plan.needed <= pixels
    assert plan_conversion(config(tmp_path / "set", to="robomimic", size=32)).needed == plan.needed


def places(tmp_path):
    """Make whatever a user may mistake for the other."""
    fill(tmp_path / "set", episodes=1)
    run_convert(config(tmp_path / "set", to="lerobot", target=str(tmp_path / "lerobot")))
    run_convert(config(tmp_path / "set", to="robomimic", target=str(tmp_path / "mimic.hdf5")))
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("precious")


MISTAKES = [
    ("set", "", {"to": "droid"}, "in DROID's layout already; job.to=lerobot, robomimic or cache"),
    ("lerobot", "", {"to": "lerobot"}, "in LeRobot's format already; job.to=droid would"),
    ("lerobot", "", {"to": "robomimic"}, "then convert that: vjepa-gym convert lerobot"),
    ("lerobot", "", {"to": "cache"}, "from which job.to=droid leads"),
    ("mimic.hdf5", "", {"to": "droid"}, "nothing leads back"),
    ("sett", "", {}, "there is no such dataset. Did you mean set?"),
    ("far/away", "", {}, "far/away: there is no such dataset."),
    ("empty", "", {}, "no trajectory.h5 anywhere below it"),
    ("full/mine.txt", "", {}, "expected a dataset's folder, found a file"),
    ("set", "set", {}, "is the source itself"),
    ("set", "set/SIM/new", {}, "lies within the source"),
    ("lerobot", "set/SIM/new", {"to": "droid"}, "lies within the dataset"),
    ("set", "full", {}, "full: is not empty"),
    ("lerobot", "full", {"to": "droid"}, "full: is not empty"),
    ("set", "full/mine.txt", {}, "is a file, and a folder is to be made"),
    ("set", "empty", {"to": "robomimic"}, "empty/data.hdf5 would do"),
    ("set", "mimic.hdf5", {"to": "robomimic"}, "is there already"),
    ("set", "other", {"to": "cache"}, "it takes no target, got other"),
    ("set", "", {"to": "lerobto"}, "Unknown format 'lerobto'. Did you mean 'lerobot'?"),
    ("set", "", {"cameras": ["rihgt"]}, "Unknown camera 'rihgt'. Did you mean 'right'?"),
    ("set", "", {"on_defect": "stop"}, "Available: refuse, skip"),
    ("set", "", {"to": "cache", "packing": "png"}, "Unknown packing 'png'"),
    ("set", "", {"size": 64}, "size means nothing to to=lerobot, only to robomimic, cache"),
    ("lerobot", "", {"to": "droid", "missing_frames": 1}, "missing_frames means nothing"),
    ("set", "", {"to": "robomimic", "stride": 2}, "stride means nothing to to=robomimic, only"),
    ("set", "", {"to": "cache", "stride": 0}, "stride must be at least 1"),
    ("set", "", {"to": "cache", "size": -3}, "at least 1 px, got -3"),
    ("set", "", {"to": "robomimic", "cameras": ["wrist"]}, "wrist"),
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    places(folder)
    return folder


@pytest.mark.parametrize(("source", "target", "options", "answer"), MISTAKES)
def test_mistakes_are_answered_with_what_would_work(
    workplace, monkeypatch, source, target, options, answer
):
    monkeypatch.chdir(workplace)
    before = sorted(path.name for path in workplace.iterdir())
    with pytest.raises((VJEPAGymError, ValueError), match=re.escape(answer)):
        run_convert(ConvertConfig(source=source, target=target, **options))
    assert sorted(path.name for path in workplace.iterdir()) == before
    assert (workplace / "full/mine.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "status", "answer"),
    [
        (["set", "job.to=droid"], 1, "vjepa-gym: set: is in DROID's layout already"),
        (["set", "job.size=64"], 2, "vjepa-gym: size means nothing to to=lerobot"),
    ],
)
def test_the_command_line_says_so_in_a_line(workplace, monkeypatch, capsys, words, status, answer):
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    assert main(["convert", *words]) == status
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(answer)


def test_a_single_episode_is_a_dataset_too(source, tmp_path):
    folder = DroidEpisodes(source).folders[0]
    converted = run_convert(config(folder, to="robomimic", target=str(tmp_path / "one.hdf5")))
    assert converted.episodes == 1
