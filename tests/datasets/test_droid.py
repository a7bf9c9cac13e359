import dataclasses
import hashlib
import json
import shutil
from datetime import UTC, datetime
from fractions import Fraction

import av
import h5py
import numpy as np
import pytest
from episodes import make_episode

from vjepa_gym import kinematics
from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.errors import DatasetError, UnknownNameError


def write(tmp_path, index=0, **options):
    folder = tmp_path / "episode"
    folder.mkdir()
    episode = make_episode(**options)
    droid.write_episode(folder, episode, index)
    return folder, episode


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)[0]


def test_names_and_times_are_functions_of_the_number_alone():
    assert droid.start_time(1) == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert str(droid.relative_path(0, True)) == "SIM/success/2026-01-01/Thu_Jan__1_00:00:00_2026"
    names = {droid.relative_path(index, False) for index in range(1500)}
    assert len(names) == 1500


def test_the_description_is_droids_and_has_no_nulls(tmp_path):
    folder, _ = write(tmp_path, index=61)
    (path,) = folder.glob("*.json")
    assert path.name == "metadata_SIM+vjepagym+2026-01-01-01h-01m-00s.json"
    metadata = json.loads(path.read_text())
    video = "success/2026-01-01/Thu_Jan__1_01:01:00_2026/recordings/MP4/90000001.mp4"
    assert metadata["left_mp4_path"] == metadata["ext1_mp4_path"] == video
    assert metadata["ext1_cam_extrinsics"] == [0, 1, 2, 3, 4, 5]
    assert metadata["trajectory_length"] == 5
    assert None not in metadata.values()
    assert not [key for key in metadata if key.startswith(("ext2", "wrist", "right"))]


ROBOT_STATE = {
    "cartesian_position": (5, 6),
    "gripper_position": (5,),
    "joint_positions": (5, 7),
    "joint_velocities": (5, 7),
    "joint_torques_computed": (5, 7),
    "prev_joint_torques_computed": (5, 7),
    "prev_joint_torques_computed_safened": (5, 7),
    "motor_torques_measured": (5, 7),
    "prev_controller_latency_ms": (5,),
}
ACTION = {
    "cartesian_position": (5, 6),
    "cartesian_velocity": (5, 6),
    "joint_position": (5, 7),
    "joint_velocity": (5, 7),
    "gripper_position": (5,),
    "gripper_velocity": (5,),
    "target_cartesian_position": (5, 6),
    "target_gripper_position": (5,),
}
CAMERA = "90000001"
REALS = {
    **{f"observation/robot_state/{name}": shape for name, shape in ROBOT_STATE.items()},
    **{f"action/robot_state/{name}": shape for name, shape in ROBOT_STATE.items()},
    **{f"action/{name}": shape for name, shape in ACTION.items()},
    f"observation/camera_extrinsics/{CAMERA}_left": (5, 6),
    f"observation/camera_intrinsics/{CAMERA}_left": (5, 3, 3),
}
MOMENTS = ("read_start", "read_end", "frame_received", "estimated_capture")
WHOLE = [
    f"observation/camera_type/{CAMERA}",
    *[
        f"observation/timestamp/control/{name}"
        for name in ("step_start", "policy_start", "sleep_start", "control_start", "step_end")
    ],
    *[
        f"observation/timestamp/robot_state/{name}"
        for name in ("read_start", "read_end", "robot_timestamp_seconds", "robot_timestamp_nanos")
    ],
    *[f"observation/timestamp/cameras/{CAMERA}_{name}" for name in MOMENTS],
]
TRUTHS = [
    "observation/robot_state/prev_command_successful",
    "action/robot_state/prev_command_successful",
    *[
        f"observation/controller_info/{name}"
        for name in ("controller_on", "movement_enabled", "success", "failure")
    ],
    "observation/timestamp/skip_action",
]


def test_the_rows_have_droids_keys_shapes_and_types(folder):
    with h5py.File(folder / "trajectory.h5") as file:
        for name, shape in REALS.items():
            assert (file[name].shape, file[name].dtype) == (shape, np.float64), name
        for name in WHOLE:
            assert (file[name].shape, file[name].dtype) == ((5,), np.int64), name
        for name in TRUTHS:
            assert (file[name].shape, file[name].dtype) == ((5,), bool), name


def test_what_is_not_measured_is_said_to_be(folder):
    with h5py.File(folder / "trajectory.h5") as file:
        absent = file.attrs["not_recorded"].split()
        assert len(absent) == 5
        for name in ROBOT_STATE:
            values = np.array(file[f"observation/robot_state/{name}"])
            assert np.isnan(values).all() if name in absent else np.isfinite(values).all()


def test_actions_are_in_droids_units_and_the_last_one_holds(tmp_path):
    folder, episode = write(tmp_path)
    with h5py.File(folder / "trajectory.h5") as file:
        action = {name: np.array(file[f"action/{name}"]) for name in ACTION}
    np.testing.assert_allclose(
        action["cartesian_velocity"][:-1],
        episode.commands[:, :6] / np.array([0.075] * 3 + [0.15] * 3),
    )
    np.testing.assert_allclose(action["gripper_velocity"][:-1], episode.commands[:, 6] / 0.25)
    asked = kinematics.integrate(episode.poses[:-1], episode.commands)
    np.testing.assert_allclose(action["cartesian_position"][:-1], asked[:, :6], atol=1e-6)
    np.testing.assert_array_equal(action["joint_position"][:-1], episode.joints[1:])
    for name in ("cartesian_velocity", "joint_velocity", "gripper_velocity"):
        assert not action[name][-1].any()
    np.testing.assert_array_equal(action["cartesian_position"][-1], episode.poses[-1, :6])
    np.testing.assert_array_equal(action["joint_position"][-1], episode.joints[-1])


def test_timestamps_tell_the_true_durations(tmp_path):
    folder, episode = write(tmp_path, index=2)
    with h5py.File(folder / "trajectory.h5") as file:
        control = file["observation/timestamp/control"]
        start, end = np.array(control["step_start"]), np.array(control["step_end"])
    assert start[0] == datetime(2026, 1, 1, 0, 2, tzinfo=UTC).timestamp() * 1000
    np.testing.assert_allclose(np.diff(start), episode.step_seconds * 1000, atol=1)
    np.testing.assert_array_equal(end[:-1], start[1:])


def test_a_camera_that_moves_has_a_pose_a_row(tmp_path):
    episode = make_episode(camera="wrist")
    poses = np.arange(30.0).reshape(5, 6)
    cameras = {"wrist": {"extrinsics": poses, "intrinsics": np.eye(3)}}
    droid.write_episode(tmp_path, dataclasses.replace(episode, cameras=cameras), 0)
    np.testing.assert_array_equal(
        droid.read_episode(tmp_path).cameras["wrist"]["extrinsics"], poses
    )
    with h5py.File(tmp_path / "trajectory.h5") as file:
        assert not np.array(file["observation/camera_type/90000003"]).any()
    metadata = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert metadata["wrist_cam_extrinsics"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {"top": np.zeros((5, 64, 64, 3), np.uint8)}}, "'top'.*left, right, wrist"),
        ({"images": {"left": np.zeros((4, 64, 64, 3), np.uint8)}}, "4 images for 5 poses"),
        ({"cameras": {}}, "'left' needs its extrinsics"),
        ({"extras": {"qpos": np.zeros((4, 9))}}, "'qpos'.*5 rows"),
        ({"extras": {"names": np.array([None] * 5)}}, "'names'.*numbers"),
        ({"joints": np.full((5, 7), np.nan, np.float32)}, "joints.*finite"),
        ({"step_seconds": np.zeros(4, np.float32)}, "step_seconds.*positive"),
        ({"images": {}}, "needs the images of a camera"),
        ({"cameras": {"left": {"extrinsics": np.zeros(5)}}}, r"extrinsics.*got \(5,\)"),
        ({"cameras": {"left": {"extrinsics": np.full(6, np.nan)}}}, "extrinsics.*finite"),
        ({"info": {"when": datetime(2026, 1, 1, tzinfo=UTC)}}, "finite JSON"),
        ({"info": {"distance": float("nan")}}, "finite JSON"),
    ],
)
def test_what_has_no_place_in_the_format_is_refused(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=message):
        droid.write_episode(tmp_path, dataclasses.replace(make_episode(), **changes), 0)


FILES = ["trajectory.h5", "recordings/MP4/90000001.mp4", "vjg/episode.json", "vjg/sim_state.npz"]


@pytest.mark.parametrize("kept", [0, 50, -200])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder, name, kept):
    path = folder / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=path.name):
        droid.read_episode(folder)
    with pytest.raises(DatasetError, match=f"{path.name}: changed or truncated"):
        droid.verify(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DatasetError, match=name):
        droid.read_episode(folder)
    with pytest.raises(DatasetError, match=f"{name}: missing"):
        droid.verify(folder)


def test_a_folder_of_someone_else_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="SHA256SUMS: not found"):
        droid.verify(tmp_path)
    (tmp_path / "vjg").mkdir()
    with pytest.raises(DatasetError, match=r"episode\.json: not found; .* not an episode of this"):
        droid.read_sidecar(tmp_path)
    (tmp_path / "vjg/episode.json").write_text('{"format": "another"}')
    with pytest.raises(DatasetError, match="expected the format"):
        droid.read_sidecar(tmp_path)


@pytest.mark.parametrize(
    "key", ["action/cartesian_velocity", f"observation/camera_extrinsics/{CAMERA}_left"]
)
def test_a_missing_key_is_named(folder, key):
    with h5py.File(folder / "trajectory.h5", "a") as file:
        del file[key]
    shutil.rmtree(folder / "vjg")
    with pytest.raises(DatasetError, match=f"trajectory.h5.*{key} is missing"):
        droid.read_episode(folder)


def test_files_of_different_length_are_refused(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    droid.write_episode(other, make_episode(steps=3), 0)
    shutil.rmtree(folder / "vjg")
    for name, message in (
        ("recordings/MP4/90000001.mp4", "expected 5 frames, one a row, found 4"),
        ("trajectory.h5", "expected 4 frames, one a row, found 5"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes((other / name).read_bytes())
        with pytest.raises(DatasetError, match=message):
            droid.read_episode(folder)
        with pytest.raises(DatasetError, match=message):
            droid.read_frames(folder, "left")
        (folder / name).write_bytes(whole)


def assert_same(read, written):
    """Nothing differs but what the video codec does."""
    for name in ("commands", "poses", "joints", "step_seconds"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == np.float32
    for name in ("success", "task", "policy", "seed", "info", "record_hz"):
        assert getattr(read, name) == getattr(written, name)
    assert read.extras.keys() == written.extras.keys()
    for name, values in written.extras.items():
        np.testing.assert_array_equal(read.extras[name], values)
        assert read.extras[name].dtype == values.dtype
    assert read.images.keys() == read.cameras.keys() == written.images.keys()
    for name, images in written.images.items():
        assert np.abs(read.images[name].astype(int) - images).mean() < 3
        assert read.cameras[name].keys() == written.cameras[name].keys()
        for kind, values in written.cameras[name].items():
            np.testing.assert_array_equal(read.cameras[name][kind], values)
            assert read.cameras[name][kind].shape == values.shape


@pytest.mark.parametrize("record_hz", [None, 15.0, 12.5])
def test_everything_comes_back(tmp_path, record_hz):
    episode = make_episode(cameras=("left", "right", "wrist"), record_hz=record_hz, steps=6)
    cameras = {
        "left": episode.cameras["left"],
        "right": {"extrinsics": np.arange(6.0)},
        # A camera that moves has a pose a row even where it happens to stand still.
        "wrist": {"extrinsics": np.tile(np.arange(6.0), (7, 1)), "intrinsics": np.eye(3)},
    }
    episode = dataclasses.replace(episode, cameras=cameras, success=False)
    droid.write_episode(tmp_path, episode, 7)
    assert_same(droid.read_episode(tmp_path), episode)


def test_times_are_exact(tmp_path):
    episode = make_episode(record_hz=15.0, steps=200)
    droid.write_episode(tmp_path, episode, 0, header="droid60")
    np.testing.assert_array_equal(droid.read_episode(tmp_path).times, episode.times)


@pytest.mark.parametrize(
    ("record_hz", "header", "rate"),
    [
        (None, "physical", "4/1"),
        (15.0, "physical", "15/1"),
        (15.0, "droid60", "60/1"),
        (12.5, "physical", "25/2"),
    ],
)
def test_the_header_says_what_it_should_and_the_sidecar_too(tmp_path, record_hz, header, rate):
    droid.write_episode(tmp_path, make_episode(record_hz=record_hz), 0, header=header)
    with av.open(tmp_path / "recordings/MP4/90000001.mp4") as container:
        assert container.streams.video[0].average_rate == Fraction(rate)
    sidecar = droid.read_sidecar(tmp_path)
    assert (sidecar["header_fps"], sidecar["record_hz"]) == (rate, record_hz)
    assert sidecar["calibration"]["left"]["intrinsics"] == (np.eye(3) * 200).tolist()
    assert sidecar["format"] == "vjepa_gym episode 2"


def test_a_header_that_does_not_belong_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="15 rows a second, not to record_hz=None"):
        droid.write_episode(tmp_path, make_episode(), 0, header="droid60")
    with pytest.raises(UnknownNameError, match="header 'droid15'"):
        droid.write_episode(tmp_path, make_episode(), 0, header="droid15")


def test_rows_within_moves_have_the_velocities_of_the_joints(tmp_path):
    episode = make_episode(record_hz=15.0, steps=10)
    ramp = np.linspace(0, 2, 11, dtype=np.float32)[:, None] * np.ones((1, 7), np.float32)
    droid.write_episode(tmp_path, dataclasses.replace(episode, joints=ramp), 0)
    with h5py.File(tmp_path / "trajectory.h5") as file:
        velocities = np.array(file["observation/robot_state/joint_velocities"])
    np.testing.assert_allclose(velocities, 0.2 * 15, rtol=1e-4)


def test_videos_can_be_taken_as_they_are(tmp_path):
    episode, source = make_episode(), tmp_path / "source"
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    droid.write_episode(source, episode, 0)
    video = source / "recordings/MP4/90000001.mp4"
    black = dataclasses.replace(episode, images={"left": episode.images["left"] * 0})
    droid.write_episode(tmp_path / "target", black, 0, videos={"left": video})
    read = droid.read_episode(tmp_path / "target")
    np.testing.assert_array_equal(read.images["left"], droid.read_episode(source).images["left"])


def test_the_format_before_this_one_is_read(folder):
    """It knew settled moves only, and no calibration in the sidecar."""
    path = folder / "vjg/episode.json"
    content = json.loads(path.read_text()) | {"format": "vjepa_gym episode 1"}
    for key in ("record_hz", "header_fps", "calibration"):
        del content[key]
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(json.dumps(content))
    sums = (folder / "vjg/SHA256SUMS").read_text()
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "vjg/SHA256SUMS").write_text(sums.replace(old, new))
    assert_same(droid.read_episode(folder), make_episode())


def test_the_description_follows_droids_rules(tmp_path):
    """Paths relative to the laboratory, `ext1` before `ext2`, `left` has the larger y."""
    episode = make_episode(cameras=("left", "right", "wrist"))
    left, right = np.array([1, 0.5, 1, 0, 0, 0.0]), np.array([1, -0.5, 1, 0, 0, 0.0])
    cameras = {
        name: {"extrinsics": extrinsics, "intrinsics": np.eye(3)}
        for name, extrinsics in (("left", left), ("right", right), ("wrist", right))
    }
    droid.write_episode(tmp_path, dataclasses.replace(episode, cameras=cameras), 3)
    metadata = json.loads(next(tmp_path.glob("*.json")).read_text())
    inside = str(droid.relative_path(3, True).relative_to("SIM"))
    paths = [value for key, value in metadata.items() if key.endswith("_path")]
    assert len(paths) == 6
    assert all(path.startswith(f"{inside}/") for path in paths)
    assert metadata["ext1_cam_serial"] < metadata["ext2_cam_serial"]
    assert metadata["ext1_mp4_path"] == metadata["left_mp4_path"]
    assert metadata["ext2_mp4_path"] == metadata["right_mp4_path"]
    assert metadata["ext1_cam_extrinsics"][1] > metadata["ext2_cam_extrinsics"][1]
    assert None not in metadata.values()
