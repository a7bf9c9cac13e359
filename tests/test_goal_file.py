import io
import json
import os
import pickle

import numpy as np
import pytest

from vjepa_gym import goal_file
from vjepa_gym.errors import GoalError, WorkspaceError
from vjepa_gym.goal_file import GoalFile, GoalScene, read_goal, write_goal
from vjepa_gym.images import crop_to_aspect, resize

DOWN = [np.pi, 0.0, 0.0]


def poses(k: int = 2) -> np.ndarray:
    return np.array([[0.5, 0.1 * i, 0.3, *DOWN, 0.25] for i in range(k)], np.float32)


def make_goal(**changes) -> GoalFile:
    rng = np.random.default_rng(0)
    usual = {
        "images": rng.integers(0, 256, (2, 24, 24, 3), np.uint8),
        "poses": poses(),
        "steps": (4, 10),
        "source": {"kind": "keyboard"},
        "scene": GoalScene(
            env="vjepa_gym/FrankaReach-v0",
            seed=7,
            options={"lab": "test", "gripper": "panda"},
            variation={"camera_azimuth": 131.5, "table_texture": "plain"},
        ),
        "tool_offset": 0.1034,
    }
    return GoalFile(**(usual | changes))


@pytest.fixture
def written(tmp_path):
    """A goal file, and a function that changes what is in it."""
    path = tmp_path / "goal.npz"
    write_goal(path, make_goal())

    def change(about=None, **arrays):
        with np.load(path) as archive:
            content = dict(archive)
        content["about"] = np.array(json.dumps(json.loads(str(content["about"])) | (about or {})))
        content |= arrays
        np.savez(path, **{name: array for name, array in content.items() if array is not None})
        return path

    return change


def test_what_was_written_is_read_back(tmp_path):
    goal = make_goal()
    write_goal(tmp_path / "goals" / "one.npz", goal)
    read = read_goal(tmp_path / "goals" / "one.npz")
    np.testing.assert_array_equal(read.images, goal.images)
    np.testing.assert_array_equal(read.poses, goal.poses)
    assert read.poses.dtype == np.float32
    for name in ("steps", "source", "scene", "tool_offset"):
        assert getattr(read, name) == getattr(goal, name)


def test_a_photograph_has_neither_pose_nor_scene(tmp_path):
    write_goal(tmp_path / "photo.npz", make_goal(poses=None, scene=None, tool_offset=None))
    read = read_goal(tmp_path / "photo.npz")
    assert read.poses is None
    assert read.scene is None
    assert set(read.reset_options(24)["goal"]) == {"images", "steps"}
    assert read.to_goal(2).poses is None


def test_every_robot_is_given_the_same_goal():
    goal = make_goal().to_goal(3)
    assert goal.images.shape == (3, 2, 24, 24, 3)
    assert goal.poses.shape == (3, 2, 7)
    assert goal.steps == (4, 10)
    np.testing.assert_array_equal(goal.images[2], make_goal().images)


def test_an_environment_is_made_and_reset_as_the_file_says():
    goal = make_goal()
    options = goal.reset_options(12)
    assert options["goal"]["images"].shape == (2, 12, 12, 3)
    np.testing.assert_array_equal(options["goal"]["poses"], goal.poses)
    assert options["goal"]["steps"].tolist() == [4, 10]
    assert goal.scene.keywords() == {
        "lab": "test",
        "gripper": "panda",
        "variation": {"camera_azimuth": 131.5, "table_texture": "plain"},
    }
    assert goal.resized(48).images.shape == (2, 48, 48, 3)


def test_a_square_goal_in_a_wide_picture_keeps_its_centred_square():
    goal = make_goal()
    views = goal.reset_options([20, 36])["goal"]["images"]
    assert views.shape == (2, 20, 36, 3)
    np.testing.assert_array_equal(crop_to_aspect(views, (1, 1)), resize(goal.images, 20))


def test_the_same_goal_is_the_same_bytes_and_nothing_else_is_left(tmp_path):
    for name in ("one", "two"):
        write_goal(tmp_path / f"{name}.npz", make_goal())
    one, two = sorted(tmp_path.iterdir())
    assert one.read_bytes() == two.read_bytes()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "goal.npz"
    write_goal(path, make_goal())

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_goal(path, make_goal(steps=(1, 1)))
    assert read_goal(path).steps == (4, 10)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("source", [{"kind": object()}, {"kind": float("nan")}])
def test_what_json_has_not_is_not_kept(tmp_path, source):
    with pytest.raises(GoalError, match="finite JSON"):
        write_goal(tmp_path / "goal.npz", make_goal(source=source))
    assert not list(tmp_path.iterdir())


# What is no goal.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": np.zeros((0, 24, 24, 3), np.uint8), "poses": None}, "must be a view"),
        ({"images": np.zeros((2, 0, 24, 3), np.uint8)}, "must be a view"),
        ({"poses": poses() * np.float32(np.nan)}, "view 0 must be finite"),
        ({"poses": poses() + np.float32(0.9)}, "closedness from 0 to 1"),
        ({"tool_offset": None}, "tool_offset"),
        ({"tool_offset": 3.0}, "tool_offset.*3.0"),
        ({"steps": (4,)}, "2 positive numbers"),
        ({"steps": (4, 0)}, "2 positive numbers.*4, 0"),
    ],
)
def test_an_impossible_goal_is_refused(changes, said):
    with pytest.raises(GoalError, match=said):
        make_goal(**changes)


def test_a_goal_outside_of_the_workspace_is_refused_with_the_range():
    outside = poses()
    outside[1, 2] = 0.05
    with pytest.raises(WorkspaceError, match=r"view 1 is at .* z -0\.053 m.*z 0\.01 to 0\.5 m"):
        make_goal(poses=outside)


def test_the_tool_centre_counts_and_not_the_flange():
    high = poses()
    high[:, 2] = 0.59
    assert make_goal(poses=high).poses is not None
    high[:, 3] = 0.0
    with pytest.raises(WorkspaceError, match=r"z 0\.693 m"):
        make_goal(poses=high)


def test_a_measured_pose_may_lie_a_little_outside():
    edge = poses()
    edge[:, 2] = 0.01 + 0.1034 - goal_file.TOLERANCE / 2
    assert make_goal(poses=edge).poses is not None


# What is no goal file.

SCENE = {"env": "vjepa_gym/FrankaReach-v0", "seed": 1, "options": {}, "variation": {}}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(GoalError, match=r"nowhere.npz: not found; `vjepa-gym goal` makes one"):
        read_goal(tmp_path / "nowhere.npz")
    with pytest.raises(GoalError, match="directory"):
        read_goal(tmp_path)


def as_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a goal", pickle.dumps({"goal": 1}), as_npy(np.zeros(3)), b"PK\x03\x04 and so on"],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    with pytest.raises(GoalError, match=r"foreign.npz: .*no goal file"):
        read_goal(path)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, kept):
    write_goal(tmp_path / "goal.npz", make_goal())
    whole = (tmp_path / "goal.npz").read_bytes()
    (tmp_path / "goal.npz").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(GoalError, match="damaged"):
        read_goal(tmp_path / "goal.npz")


def test_changed_bytes_are_noticed(tmp_path):
    write_goal(tmp_path / "goal.npz", make_goal())
    content = bytearray((tmp_path / "goal.npz").read_bytes())
    content[600] ^= 255
    (tmp_path / "goal.npz").write_bytes(content)
    with pytest.raises(GoalError, match="damaged"):
        read_goal(tmp_path / "goal.npz")


def test_an_archive_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3), poses=np.zeros(3))
    with pytest.raises(GoalError, match="an archive of images, poses, and no goal file"):
        read_goal(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("about", "arrays", "said"),
    [
        ({"format": "something else"}, {}, "no goal file"),
        ({"version": 2}, {}, "version 2; this vjepa_gym reads version 1"),
        ({}, {"images": None}, "images are missing"),
        ({}, {"images": np.zeros((2, 4, 4), np.uint8)}, r"uint8 \[k height width 3\]"),
        ({}, {"images": np.zeros((2, 4, 4, 4), np.uint8)}, r"uint8 \[k height width 3\]"),
        ({}, {"images": np.zeros((2, 4, 4, 3))}, "got float64"),
        ({}, {"poses": poses(3)}, r"float32 \[2 7\].*\[3, 7\]"),
        ({}, {"poses": poses().astype(np.float64)}, "got float64"),
        ({}, {"images": np.array([{}])}, "damaged"),
        ({}, {"poses": np.zeros((2, 6), np.float32)}, r"float32 \[2 7\]"),
        ({}, {"steps": None}, "steps are missing"),
        ({}, {"steps": np.array([4.0, 10.0])}, "whole numbers"),
        ({}, {"steps": np.array(4)}, "whole numbers"),
        ({}, {"steps": np.array([4, -1])}, "positive"),
        ({"tool_offset": "long"}, {}, "'long'"),
        ({"source": 3}, {}, "source be by name"),
        ({"scene": 3}, {}, "its scene must be"),
        ({"scene": {"seed": 3}}, {}, "its scene must be"),
        ({"scene": SCENE | {"seed": "b"}}, {}, "its scene must be"),
        ({"scene": SCENE | {"seed": -1}}, {}, "not be negative"),
        ({"scene": SCENE | {"options": []}}, {}, "its scene must be"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(written, about, arrays, said):
    path = written(about, **arrays)
    with pytest.raises(GoalError, match=f"goal.npz: .*{said}"):
        read_goal(path)


def test_a_pose_outside_of_the_workspace_is_noticed_when_reading(written):
    path = written(poses=poses() + np.array([1, 0, 0, 0, 0, 0, 0], np.float32))
    with pytest.raises(WorkspaceError, match=r"goal.npz: .*x 0\.3 to 0\.75"):
        read_goal(path)


def test_a_goal_is_not_changed_by_who_uses_it():
    goal = make_goal()
    goal.to_goal(1).images[:] = 0
    goal.scene.keywords()["variation"].clear()
    assert goal.images.any()
    assert goal.scene.variation
