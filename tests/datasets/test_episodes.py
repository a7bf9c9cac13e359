import dataclasses
import pickle
import shutil

import h5py
import numpy as np
import pytest
from episodes import make_episode, read_stamp
from foreign import FOLDER, SERIALS, write_foreign

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.droid.kinds import DefectError
from vjepa_gym.datasets.droid.reading import read_episode
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError, UnknownNameError


@pytest.fixture
def foreign(tmp_path):
    return write_foreign(tmp_path / "droid")


def test_an_episode_of_others_is_read(foreign):
    episode = read_episode(foreign)
    assert sorted(episode.images) == ["left", "right", "wrist"]
    for images in episode.images.values():
        assert [read_stamp(image) for image in images] == list(range(12))
    np.testing.assert_allclose(episode.poses[:, 0], 0.4 + 0.01 * np.arange(12), atol=1e-6)
    np.testing.assert_allclose(episode.commands, [[0.01, 0, 0, 0.01, 0, 0, 0.125]] * 11, atol=1e-6)
    np.testing.assert_allclose(episode.step_seconds, 1 / 15, atol=1e-3)
    assert (episode.policy, episode.seed, episode.record_hz) == ("teleoperation", -1, 15.0)
    assert (episode.task, episode.success) == ("Put the cup on the plate", True)
    assert episode.info["metadata"]["lab"] == "LAB"
    assert episode.info["clock"] == "observation/timestamp/control/step_start"
    assert not episode.extras


def test_calibration_of_others_is_what_there_is(foreign):
    cameras = read_episode(foreign).cameras
    np.testing.assert_array_equal(cameras["left"]["extrinsics"], np.arange(6.0))
    assert cameras["wrist"]["extrinsics"].shape == (12, 6)
    assert "intrinsics" not in cameras["left"]
    with h5py.File(foreign / "trajectory.h5", "a") as file:
        key = f"observation/camera_intrinsics/{SERIALS['left']}_left"
        file[key] = np.tile(np.eye(3), (12, 1, 1))
    np.testing.assert_array_equal(read_episode(foreign).cameras["left"]["intrinsics"], np.eye(3))


def test_without_the_controllers_clock_the_cameras_tells_the_time(foreign):
    with h5py.File(foreign / "trajectory.h5", "a") as file:
        del file["observation/timestamp/control"]
    episode = read_episode(foreign)
    assert episode.info["clock"].endswith(f"{SERIALS['left']}_estimated_capture")
    np.testing.assert_allclose(episode.step_seconds, 1 / 15, atol=1e-3)


def test_a_commanded_position_of_the_gripper_is_understood(foreign):
    with h5py.File(foreign / "trajectory.h5", "a") as file:
        file.move("action/gripper_velocity", "action/gripper_delta")
    np.testing.assert_allclose(read_episode(foreign).commands[:, 6], 0.125)


def test_rows_without_frames_are_cut_if_that_is_wanted(tmp_path):
    folder = write_foreign(tmp_path, frames=11)
    with pytest.raises(DatasetError, match=r"13062452\.mp4|24259877\.mp4: expected 12 frames"):
        read_episode(folder)
    episode = read_episode(folder, missing_frames=1)
    assert len(episode.poses) == len(episode.images["wrist"]) == 11
    assert len(episode) == len(episode.step_seconds) == 10
    assert episode.cameras["wrist"]["extrinsics"].shape == (11, 6)


@pytest.mark.parametrize("frames", [10, 13])
def test_more_than_that_is_not_cut(tmp_path, frames):
    folder = write_foreign(tmp_path, frames=frames)
    with pytest.raises(DefectError, match=f"or up to 1 fewer, found {frames}"):
        read_episode(folder, missing_frames=1)


def test_only_what_is_asked_for_is_decoded(foreign):
    for name in ("right", "wrist"):
        (foreign / f"recordings/MP4/{SERIALS[name]}.mp4").write_bytes(b"damaged")
    assert list(read_episode(foreign, cameras=["left"]).images) == ["left"]
    with pytest.raises(DatasetError, match=f"{SERIALS['right']}.mp4: expected a whole MP4"):
        read_episode(foreign)


def test_views_that_are_not_there_are_left_out_and_none_at_all_is_refused(tmp_path):
    EpisodeStore(tmp_path / "set").write(0, make_episode(camera="wrist"))
    (folder,) = DroidEpisodes(tmp_path / "set").folders
    assert list(read_episode(folder).images) == ["wrist"]
    with pytest.raises(DatasetError, match="no camera left, only wrist"):
        read_episode(folder, cameras=["left"])
    with pytest.raises(UnknownNameError, match=r"Unknown camera 'lift'.*'left'"):
        read_episode(folder, cameras=["lift"])


def test_what_a_byte_of_ours_was_changed_to_is_never_read(tmp_path):
    EpisodeStore(tmp_path / "set").write(0, make_episode())
    (folder,) = DroidEpisodes(tmp_path / "set").folders
    for name in ("trajectory.h5", "recordings/MP4/90000001.mp4", "vjg/sim_state.npz"):
        whole = (folder / name).read_bytes()
        for position in range(0, len(whole), len(whole) // 12):
            changed = bytearray(whole)
            changed[position] ^= 1
            (folder / name).write_bytes(changed)
            with pytest.raises(DefectError, match=f"{name}: changed or truncated"):
                read_episode(folder)
        (folder / name).write_bytes(whole)
    read_episode(folder)


def fill(root, count=4):
    store = EpisodeStore(root)
    for index in reversed(range(count)):
        store.write(index, make_episode(seed=index, success=index % 2 == 0))
    return root


def test_ours_are_in_order_of_their_numbers_and_others_follow(tmp_path):
    root = fill(tmp_path / "set", 12)
    write_foreign(root, rows=4)
    episodes = DroidEpisodes(root)
    assert [episode.seed for episode in episodes] == [*range(12), -1]
    assert episodes[-1].policy == "teleoperation"
    assert len(episodes) == 13


def test_a_slice_reads_nothing_and_is_again_a_sequence(tmp_path):
    episodes = DroidEpisodes(fill(tmp_path / "set"), cameras=("left",))
    some = episodes[1:3]
    assert [episode.seed for episode in some] == [1, 2]
    assert some.cameras == ("left",)
    (episodes.folders[3] / "trajectory.h5").write_bytes(b"")
    assert len(episodes[2:]) == 2
    with pytest.raises(IndexError):
        episodes[4]


def test_it_can_be_sent_to_other_processes(tmp_path):
    episodes = DroidEpisodes(fill(tmp_path / "set"), on_defect="skip", missing_frames=1)
    copy = pickle.loads(pickle.dumps(episodes))
    assert copy.folders == episodes.folders
    assert copy[2].seed == 2
    (episodes.folders[0] / "trajectory.h5").unlink()
    with pytest.raises(DefectError) as caught:
        episodes[0]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.defect) == (str(caught.value), caught.value.defect)


def test_a_damaged_episode_is_refused_when_it_is_read_or_skipped_at_once(tmp_path):
    root = fill(tmp_path / "set")
    damaged = DroidEpisodes(root).folders[1]
    (damaged / "recordings/MP4/90000001.mp4").write_bytes(b"damaged")
    episodes = DroidEpisodes(root)
    assert episodes.defects == {}
    assert episodes[0].seed == 0
    with pytest.raises(DatasetError, match=r"90000001\.mp4"):
        episodes[1]
    some = DroidEpisodes(root, on_defect="skip")
    assert [episode.seed for episode in some] == [0, 2, 3]
    assert list(some.defects) == [damaged]
    kinds = {defect.kind for defect in some.defects[damaged]}
    assert kinds == {"checksum", "unreadable_video"}


def test_only_the_cameras_that_are_read_must_be_whole(tmp_path):
    root = tmp_path / "droid"
    folder = write_foreign(root)
    (folder / f"recordings/MP4/{SERIALS['wrist']}.mp4").unlink()
    assert len(DroidEpisodes(root, cameras=("left", "right"), on_defect="skip")) == 1
    with pytest.raises(DatasetError, match=f"none of 1 episodes.*{SERIALS['wrist']}"):
        DroidEpisodes(root, on_defect="skip")


def test_missing_frames_are_no_reason_to_skip_if_they_are_allowed(tmp_path):
    write_foreign(tmp_path, frames=11)
    (episode,) = DroidEpisodes(tmp_path, on_defect="skip", missing_frames=1)
    assert len(episode) == 10


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_defect": "ignore"}, UnknownNameError, "on_defect 'ignore'.*refuse, skip"),
        ({"cameras": ("top",)}, UnknownNameError, "camera 'top'.*left, right, wrist"),
        ({"missing_frames": -1}, ValueError, "not be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, options, error, message):
    write_foreign(tmp_path)
    with pytest.raises(error, match=message):
        DroidEpisodes(tmp_path, **options)


def test_a_folder_without_episodes_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"no trajectory\.h5 anywhere"):
        DroidEpisodes(tmp_path / "nothing")


def test_ours_without_the_sidecar_is_read_as_anybodys(tmp_path):
    episode = make_episode(steps=30, record_hz=15.0, cameras=("left", "right"))
    EpisodeStore(tmp_path / "set").write(0, episode)
    (folder,) = DroidEpisodes(tmp_path / "set").folders
    shutil.rmtree(folder / "vjg")
    read = read_episode(folder)
    np.testing.assert_array_equal(read.poses, episode.poses)
    np.testing.assert_allclose(read.commands, episode.commands, atol=1e-6)
    np.testing.assert_allclose(read.times, episode.times, atol=2e-3)
    assert (read.record_hz, read.seed, read.policy) == (15.0, -1, "teleoperation")


def test_the_path_may_be_relative_and_have_colons(foreign, monkeypatch):
    monkeypatch.chdir(foreign.parent)
    assert len(read_episode(type(foreign)(foreign.name))) == 11
    assert ":" in FOLDER


def test_an_episode_of_one_row_is_one(tmp_path):
    episode = dataclasses.replace(make_episode(steps=0))
    EpisodeStore(tmp_path / "set").write(0, episode)
    (read,) = DroidEpisodes(tmp_path / "set")
    assert len(read) == 0
    assert read.poses.shape == (1, 7)


def test_an_episode_that_lost_its_rows_is_not_missed(foreign, tmp_path):
    shutil.copytree(foreign, foreign.with_name("whole"))
    (foreign / "trajectory.h5").unlink()
    kept = DroidEpisodes(tmp_path / "droid", on_defect="skip")
    assert len(kept) == 1
    assert [one.kind for one in kept.defects[foreign]] == ["missing_file"]
    refusing = DroidEpisodes(tmp_path / "droid")
    assert len(refusing) == 2
    with pytest.raises(DefectError, match=r"trajectory\.h5: not found"):
        refusing[refusing.folders.index(foreign)]
