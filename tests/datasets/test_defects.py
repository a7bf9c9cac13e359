import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from episodes import make_episode
from foreign import SERIALS, write_foreign

from vjepa_gym.datasets.droid.defects import KINDS, NOTES, ClipNeeds, find_defects
from vjepa_gym.datasets.droid.kinds import DefectError
from vjepa_gym.datasets.droid.reading import read_episode
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.errors import DatasetError

STATE = "observation/robot_state"
CLOCK = "observation/timestamp/control/step_start"
LEFT = SERIALS["left"]
VIDEO = f"recordings/MP4/{LEFT}.mp4"
EXTRINSICS = f"observation/camera_extrinsics/{LEFT}_left"
Plant = Callable[[Path], None]


def change(name: str, alter: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Replace a column by what `alter` makes of it."""

    def plant(folder: Path) -> None:
        with h5py.File(folder / "trajectory.h5", "a") as file:
            values = np.array(file[name])
            del file[name]
            file[name] = alter(values)

    return plant


def put(name: str, row: int, value: float) -> Plant:
    def alter(values):
        values[row] = value
        return values

    return change(name, alter)


def describe(**changes) -> Plant:
    """Change the metadata; what is None is left out."""

    def plant(folder: Path) -> None:
        (path,) = folder.glob("*.json")
        metadata = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in metadata.items() if v is not ...}))

    return plant


def drop(name: str) -> Plant:
    def plant(folder: Path) -> None:
        with h5py.File(folder / "trajectory.h5", "a") as file:
            del file[name]

    return plant


def write(name: str, content: bytes) -> Plant:
    return lambda folder: (folder / name).write_bytes(content) and None


def move(name: str, target: str) -> Plant:
    return lambda folder: (folder / name).rename(folder / target) and None


def remove(name: str) -> Plant:
    return lambda folder: (folder / name).unlink()


def replace_by_a_folder(name: str) -> Plant:
    def plant(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return plant


def film(rows: int, size: int = 64) -> Plant:
    images = np.zeros((rows, size, size, 3), np.uint8)
    return lambda folder: write_video(folder / VIDEO, images, Fraction(60))


def calibrate(folder: Path) -> None:
    with h5py.File(folder / "trajectory.h5", "a") as file:
        camera = np.array([[700, 0, 640], [0, 700, 360], [0, 0, 1.0]])
        key = f"observation/camera_intrinsics/{LEFT}_left"
        file[key] = np.tile(camera, (12, 1, 1))


DESCRIPTION = "metadata_LAB+5eed+2023-07-08-08h-57m-28s.json"
PLANTED = [
    ("missing_file", remove(VIDEO), f"{LEFT}.mp4: not found"),
    ("missing_file", remove("trajectory.h5"), "trajectory.h5: not found"),
    ("missing_file", remove(DESCRIPTION), "exactly one metadata_.*, found none"),
    ("several_descriptions", write("calibration.json", b"{}"), "found calibration.json, metad"),
    ("description", write(DESCRIPTION, b'{"left_mp4_path": '), "expected whole JSON"),
    ("description", write(DESCRIPTION, b"\xff\xfe"), "expected whole JSON"),
    ("description", write(DESCRIPTION, b"[" * 100_000), "expected whole JSON"),
    (
        "wrong_type",
        write(DESCRIPTION, b'{"left_mp4_path": ' + b"[" * 900 + b"]" * 900 + b"}"),
        "expected text as left_mp4_path, found",
    ),
    ("wrong_type", write(DESCRIPTION, b'{"left_mp4_path": ' + b"1" * 4000 + b"}"), "found 1111"),
    ("description", write(DESCRIPTION, b"[1]"), "expected an object, found list"),
    ("description", replace_by_a_folder(DESCRIPTION), "expected whole JSON"),
    ("description", describe(left_mp4_path="x/recordings/SVO/1.svo"), "as left_mp4_path"),
    ("description", describe(left_mp4_path="recordings/MP4/1.2.mp4"), "'recordings/MP4/1.2.mp4'"),
    ("missing_key", describe(success=...), "true or false as success"),
    ("missing_key", drop(f"{STATE}/joint_positions"), "joint_positions is missing"),
    ("missing_key", drop(EXTRINSICS), f"{EXTRINSICS} is missing"),
    ("missing_key", drop("observation/timestamp"), "is missing"),
    ("missing_key", drop("action"), "action/cartesian_velocity is missing"),
    (
        "missing_key",
        describe(left_mp4_path=..., right_mp4_path=..., wrist_mp4_path=...),
        "at least one of left_mp4_path",
    ),
    ("wrong_type", describe(success="yes"), "true or false as success, found 'yes'"),
    ("wrong_type", describe(current_task=7), "text as current_task, found 7"),
    ("wrong_type", describe(wrist_mp4_path=["a"]), r"text as wrist_mp4_path, found \['a'\]"),
    ("wrong_type", change(CLOCK, lambda v: v.astype("S20")), "numbers as .*, found |S20"),
    ("wrong_type", change(CLOCK, lambda v: v > 0), "numbers as .*, found bool"),
    (
        "wrong_shape",
        change(f"{STATE}/gripper_position", lambda v: v[:, None]),
        r"\(12\) of .*12, 1",
    ),
    ("wrong_shape", change(f"{STATE}/joint_positions", lambda v: v[:-1]), r"\(12, 7\) of .*11, 7"),
    ("wrong_shape", change(f"{STATE}/cartesian_position", lambda v: v[:, :5]), r"\(rows, 6\) of"),
    ("wrong_shape", change(f"{STATE}/cartesian_position", lambda v: v[:0]), r"found \(0, 6\)"),
    ("wrong_shape", change(EXTRINSICS, lambda v: v[0]), r"found \(6,\)"),
    ("frame_mismatch", film(11), "expected 12 frames, one a row, found 11"),
    ("frame_mismatch", film(13), "expected 12 frames, one a row, found 13"),
    ("not_finite", put(f"{STATE}/cartesian_position", 3, np.nan), "row 3 of .* not finite"),
    ("not_finite", put("action/cartesian_velocity", 11, np.inf), "row 11 of .* not finite"),
    ("not_finite", put(EXTRINSICS, 0, np.nan), f"row 0 of {EXTRINSICS}"),
    ("pose_jump", put(f"{STATE}/cartesian_position", 5, 0.9), "from row 4 to 5 .* no arm does"),
    ("not_finite", put(f"{STATE}/cartesian_position", 5, 1e300), "row 5 of .* not finite"),
    ("gripper_range", put(f"{STATE}/gripper_position", 2, 1.3), "in row 2 it is 1.3"),
    ("time", put(CLOCK, 4, 0), "row 4 is -.* after row 3"),
    ("time", change(CLOCK, lambda v: v[0] + 0 * v), "row 1 is 0 s after row 0"),
    ("unreadable_video", write(VIDEO, b""), "expected a whole MP4"),
    ("unreadable_video", write(VIDEO, b"#EXTM3U\n/etc/hostname\n"), "expected a whole MP4"),
    ("unreadable_video", replace_by_a_folder(VIDEO), "expected a whole MP4"),
    ("unreadable_rows", write("trajectory.h5", b"text"), "expected a whole HDF5 file"),
    ("unreadable_rows", replace_by_a_folder("trajectory.h5"), "expected a whole HDF5 file"),
    ("video_size", film(1, 3328), "3328 x 3328 px are more than"),
    ("wrap_around", lambda folder: None, "leaps by 6.27 rad while the hand turns 0.01"),
    ("missing_view", describe(wrist_mp4_path=...), "no wrist_mp4_path"),
    ("missing_view", describe(right_mp4_path=None), "no right_mp4_path"),
    ("null_value", describe(building=None), "'building' is null"),
    ("length", describe(trajectory_length=13), "trajectory_length=13, but there are 12"),
    ("outcome", describe(success=False), "success is False, but the folder lies below success"),
    ("calibration", calibrate, r"\(640, 360\), outside of its pictures of 64 x 64"),
]
ELSEWHERE = {"too_short", "checksum", "space_in_path"}
"""Kinds with tests of their own."""


@pytest.fixture
def folder(tmp_path):
    return write_foreign(tmp_path / "droid")


@pytest.mark.parametrize(("kind", "plant", "message"), PLANTED)
def test_a_planted_defect_is_named_and_refused_if_it_must_be(folder, kind, plant, message):
    plant(folder)
    found = [defect for defect in find_defects(folder) if defect.kind == kind]
    assert len(found) == 1 or kind in ("missing_key",)
    with pytest.raises(DatasetError, match=message):
        raise DefectError(found[0])
    assert str(folder) in found[0].detail
    assert found[0].severity == ("note" if kind in NOTES else "error")
    if kind in NOTES:
        read_episode(folder)
    else:
        with pytest.raises(DatasetError, match=message):
            read_episode(folder)


def test_every_kind_is_planted():
    assert {kind for kind, _, _ in PLANTED} | ELSEWHERE == set(KINDS)
    assert set(KINDS) > NOTES


def test_a_whole_episode_has_no_defect(folder, tmp_path):
    assert {defect.kind for defect in find_defects(folder)} == {"wrap_around"}
    EpisodeStore(tmp_path / "ours").write(0, make_episode(cameras=("left", "right", "wrist")))
    (ours,) = (path.parent for path in (tmp_path / "ours").rglob("trajectory.h5"))
    assert [one for one in find_defects(ours, checksums=True) if one.kind != "wrap_around"] == []


def test_every_defect_is_found_not_only_the_first(folder):
    put(f"{STATE}/gripper_position", 2, 1.3)(folder)
    film(11)(folder)
    describe(building=None)(folder)
    kinds = {defect.kind for defect in find_defects(folder)}
    assert kinds >= {"gripper_range", "frame_mismatch", "null_value"}


def test_an_arm_that_had_time_has_not_jumped(folder):
    change(
        f"{STATE}/cartesian_position", lambda v: v * np.arange(0, 12)[:, None] * [1, 0, 0, 0, 0, 0]
    )(folder)
    assert "pose_jump" in {defect.kind for defect in find_defects(folder)}
    change(CLOCK, lambda v: v[0] + np.arange(12) * 2000)(folder)
    assert "pose_jump" not in {defect.kind for defect in find_defects(folder)}


@pytest.mark.parametrize(
    ("frames", "fps", "needed"), [(8, 60.0, 9), (2, 15.0, 9), (3, 16.0, 13), (8, 4.0, 121)]
)
def test_what_is_too_short_for_a_loader_is_named(folder, frames, fps, needed):
    loader = ClipNeeds(frames=frames, fps=fps)
    assert loader.rows(Fraction(60)) == needed
    short = [one.detail for one in find_defects(folder, loader=loader) if one.kind == "too_short"]
    assert len(short) == (3 if needed > 12 else 0)
    assert all(f"at least {needed} frames" in detail for detail in short)


@pytest.mark.parametrize(("frames", "fps"), [(0, 4.0), (8, 0.0), (8, float("inf"))])
def test_a_loader_without_clips_makes_no_sense(frames, fps):
    with pytest.raises(ValueError, match="A clip has frames"):
        ClipNeeds(frames=frames, fps=fps)


def test_a_blank_in_the_path_is_named(tmp_path):
    folder = write_foreign(tmp_path / "my data")
    kinds = {defect.kind for defect in find_defects(folder)}
    assert kinds == {"space_in_path", "wrap_around"}
    read_episode(folder)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("trajectory.h5", "checksum"),
        ("vjg/sim_state.npz", "checksum"),
        ("recordings/MP4/90000001.mp4", "checksum"),
        ("vjg/SHA256SUMS", "checksum"),
    ],
)
def test_a_changed_byte_of_ours_is_found_by_its_checksum(tmp_path, name, kind):
    EpisodeStore(tmp_path / "ours").write(0, make_episode())
    (folder,) = (path.parent for path in (tmp_path / "ours").rglob("trajectory.h5"))
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 2
    (folder / name).write_bytes(content)
    assert kind in {defect.kind for defect in find_defects(folder, checksums=True)}
    with pytest.raises(DefectError) as caught:
        read_episode(folder)
    assert caught.value.defect.kind in ("checksum", "missing_file")


def sidecar(**changes) -> Plant:
    def plant(folder: Path) -> None:
        path = folder / "vjg/episode.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return plant


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("missing_file", remove("vjg/episode.json")),
        ("missing_file", remove("vjg/sim_state.npz")),
        ("description", write("vjg/episode.json", b"{")),
        ("description", sidecar(format="another")),
        ("description", write("vjg/sim_state.npz", b"PK")),
        ("missing_key", sidecar(seed=None)),
        ("wrong_type", sidecar(seed="three")),
        ("wrong_type", sidecar(rows=True)),
        ("wrong_type", sidecar(record_hz="fast")),
        ("wrong_type", sidecar(cameras={"left": 5})),
        ("wrong_shape", sidecar(rows=6)),
        ("wrong_shape", sidecar(rows=4, step_seconds=[0.2] * 3)),
        ("time", sidecar(step_seconds=[0.2, -0.2, 0.2, 0.2])),
        ("wrong_type", sidecar(step_seconds=[0.2, "x", 0.2, 0.2])),
    ],
)
def test_what_is_wrong_with_our_sidecar_is_named_without_checksums_too(tmp_path, kind, plant):
    EpisodeStore(tmp_path / "ours").write(0, make_episode())
    (folder,) = (path.parent for path in (tmp_path / "ours").rglob("trajectory.h5"))
    plant(folder)
    assert kind in {defect.kind for defect in find_defects(folder)}
    with pytest.raises(DatasetError):
        read_episode(folder)


def test_a_frame_that_can_only_be_decoded_wrongly_is_found_by_decoding(folder):
    content = bytearray((folder / VIDEO).read_bytes())
    after = content.find(b"moov")
    for position in range(after - 240, after - 200):
        content[position] ^= 0x55
    (folder / VIDEO).write_bytes(content)
    assert "unreadable_video" in {defect.kind for defect in find_defects(folder)}
    assert "unreadable_video" not in {one.kind for one in find_defects(folder, decode=False)}


def test_a_folder_that_is_none_has_a_defect(tmp_path):
    assert [one.kind for one in find_defects(tmp_path / "nothing")] == ["missing_file"]
    (tmp_path / "file").write_text("")
    assert [one.kind for one in find_defects(tmp_path / "file")] == ["missing_file"]


def test_only_what_is_wanted_must_be_whole(folder):
    shutil.copy(folder / f"recordings/MP4/{SERIALS['right']}.mp4", folder / VIDEO)
    (folder / f"recordings/MP4/{SERIALS['right']}.mp4").unlink()
    kinds = {one.kind for one in find_defects(folder, cameras=["left", "wrist"])}
    assert kinds == {"wrap_around"}
