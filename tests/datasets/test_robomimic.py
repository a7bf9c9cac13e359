import dataclasses
import json

import h5py
import numpy as np
import pytest
from episodes import make_episode, read_stamp
from robomimic_reader import read_demos, read_masks, sequences
from robomimic_sets import LENGTHS, LOW_DIM, make_dataset, open_dataset, with_objects

from vjepa_gym import kinematics
from vjepa_gym.datasets.robomimic.export import write_robomimic
from vjepa_gym.errors import DatasetError
from vjepa_gym.images import resize
from vjepa_gym.spaces import ACTION_LIMIT

LIMITS = np.array([0.075] * 3 + [0.25] * 3 + [0.75])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("robomimic") / "set")


@pytest.fixture(scope="module")
def file(dataset):
    target = dataset.root.parent / "out" / "set.hdf5"
    write_robomimic(dataset, target, size=32)
    return target


def test_every_demo_has_what_robomimic_documents(file, dataset):
    demos, _ = read_demos(file)
    assert list(demos) == [f"demo_{number}" for number in range(4)]
    for episode, demo in zip(dataset, demos.values(), strict=True):
        steps = len(episode)
        assert demo["attrs"]["num_samples"] == steps
        for name in ("actions", "actions_metric", "actions_achieved"):
            assert (demo[name].shape, demo[name].dtype) == ((steps, 7), np.float32)
        assert demo["rewards"].shape == demo["dones"].shape == (steps,)
        for group in ("obs", "next_obs"):
            shapes = {key: rows.shape[1:] for key, rows in demo[group].items()}
            low_dim = {key: (width,) for key, width in LOW_DIM.items()}
            assert shapes == {**low_dim, "object": (14,), "left_image": (32, 32, 3)}
            assert {len(rows) for rows in demo[group].values()} == {steps}
            assert demo[group]["left_image"].dtype == np.uint8


def test_what_is_seen_is_what_was_recorded(file, dataset):
    for episode, demo in zip(dataset, read_demos(file)[0].values(), strict=True):
        for group, rows in (("obs", slice(None, -1)), ("next_obs", slice(1, None))):
            seen, poses = demo[group], episode.poses[rows]
            images = episode.images["left"][rows]
            np.testing.assert_array_equal(seen["left_image"], resize(images, 32))
            np.testing.assert_array_equal(seen["robot0_eef_pos"], poses[:, :3])
            np.testing.assert_array_equal(seen["robot0_gripper_closedness"], poses[:, 6:])
            np.testing.assert_array_equal(seen["robot0_joint_pos"], episode.joints[rows])
            stamps = [read_stamp(image) for image in seen["left_image"]]
            assert stamps == list(range(len(episode.poses)))[rows]


def test_objects_are_positions_and_quaternions_in_the_same_order_as_the_hands(file, dataset):
    for episode, demo in zip(dataset, read_demos(file)[0].values(), strict=True):
        recorded = episode.extras["object_poses"][:-1]
        stored = demo["obs"]["object"].reshape(len(episode), 2, 7)
        np.testing.assert_allclose(stored[..., :3], recorded[..., :3], rtol=1e-6)
        sign = np.where(recorded[..., 4:5] < 0, -1, 1)
        np.testing.assert_allclose(stored[..., 6:], sign * recorded[..., 3:4], rtol=1e-6)
        np.testing.assert_allclose(stored[..., 3:6], sign * recorded[..., 4:], rtol=1e-6)
        assert json.loads(demo["attrs"]["objects"]) == ["cup", "box"]


def test_actions_are_within_one_and_say_the_same_as_the_metric_ones(file, dataset):
    demos, env_args = read_demos(file)
    np.testing.assert_allclose(env_args["action_scale"], LIMITS)
    for episode, demo in zip(dataset, demos.values(), strict=True):
        np.testing.assert_allclose(demo["actions_metric"], episode.commands, atol=1e-7)
        np.testing.assert_allclose(demo["actions"] * LIMITS, episode.commands, atol=1e-6)
        assert np.abs(demo["actions"]).max() <= 1
        assert demo["attrs"]["clipped_actions"] == 0


def test_achieved_actions_lead_from_one_pose_to_the_next(file, dataset):
    for episode, demo in zip(dataset, read_demos(file)[0].values(), strict=True):
        reached = kinematics.integrate(episode.poses[:-1], demo["actions_achieved"])
        np.testing.assert_allclose(kinematics.difference(episode.poses[1:], reached), 0, atol=1e-5)


def test_rewards_tell_success_and_dones_the_end_as_well(file, dataset):
    for episode, demo in zip(dataset, read_demos(file)[0].values(), strict=True):
        last = np.arange(len(episode)) == len(episode) - 1
        np.testing.assert_array_equal(demo["rewards"], last & episode.success)
        np.testing.assert_array_equal(demo["dones"], last)


def test_masks_name_demos_by_outcome_by_policy_and_for_validation(tmp_path):
    made = [
        make_episode(steps=1, seed=i, success=i % 3 > 0, policy="play" if i % 2 else "scripted")
        for i in range(10)
    ]
    dataset = open_dataset(tmp_path / "set", made)
    write_robomimic(dataset, tmp_path / "one.hdf5", size=8)
    masks = {key: set(names) for key, names in read_masks(tmp_path / "one.hdf5").items()}
    demos, _ = read_demos(tmp_path / "one.hdf5")
    assert masks["success"] == {key for key, demo in demos.items() if demo["attrs"]["success"]}
    assert masks["success"] | masks["failure"] == masks["train"] | masks["valid"] == set(demos)
    assert not masks["success"] & masks["failure"]
    assert not masks["train"] & masks["valid"]
    assert len(masks["valid"]) == 1
    assert masks["success_train"] == masks["success"] & masks["train"]
    assert len(masks["policy_play"]) == len(masks["policy_scripted"]) == 5
    write_robomimic(dataset, tmp_path / "two.hdf5", size=8)
    assert read_masks(tmp_path / "two.hdf5") == read_masks(tmp_path / "one.hdf5")


def test_a_single_episode_is_all_for_training(tmp_path):
    episode = make_episode(success=False)
    write_robomimic(open_dataset(tmp_path / "set", [episode]), tmp_path / "set.hdf5")
    masks = read_masks(tmp_path / "set.hdf5")
    assert sorted(masks) == ["failure", "policy_scripted", "train"]


def test_the_description_is_what_robomimic_asks_for_and_explains_the_rest(file):
    _, env_args = read_demos(file)
    assert env_args["env_name"] == "vjepa_gym/Reach-v0"
    assert env_args["type"] == 2
    assert env_args["env_kwargs"] == {}
    assert env_args["lang"] == "reach the pose in the picture"
    assert env_args["modalities"] == {"low_dim": [*LOW_DIM, "object"], "rgb": ["left_image"]}
    told = set(env_args["conventions"])
    assert {"actions", "robot0_eef_quat", *LOW_DIM, "object"} <= told


def test_keys_that_not_all_have_are_not_among_those_to_train_with(tmp_path):
    made = [with_objects(make_episode(seed=i), count=i + 1) for i in range(2)]
    write_robomimic(open_dataset(tmp_path / "set", made), tmp_path / "set.hdf5")
    demos, env_args = read_demos(tmp_path / "set.hdf5")
    assert [demo["obs"]["object"].shape[1] for demo in demos.values()] == [7, 14]
    assert env_args["modalities"]["low_dim"] == list(LOW_DIM)


def test_each_demo_says_where_it_came_from(file, dataset):
    for folder, demo in zip(dataset.folders, read_demos(file)[0].values(), strict=True):
        assert dataset.root / demo["attrs"]["source"] == folder
        assert demo["attrs"]["policy"] == "scripted"
        assert demo["attrs"]["task"] == "reach the pose in the picture"


def test_images_can_be_kept_at_their_own_size(tmp_path, dataset):
    write_robomimic(dataset, tmp_path / "set.hdf5", size=None)
    demo = read_demos(tmp_path / "set.hdf5")[0]["demo_0"]
    np.testing.assert_array_equal(demo["obs"]["left_image"], dataset[0].images["left"][:-1])


def test_images_need_not_be_square(tmp_path, dataset):
    write_robomimic(dataset, tmp_path / "set.hdf5", size=[12, 16])
    demo = read_demos(tmp_path / "set.hdf5")[0]["demo_0"]
    for group in ("obs", "next_obs"):
        assert demo[group]["left_image"].shape == (LENGTHS[0], 12, 16, 3)


def test_no_camera_at_all_is_a_dataset_of_low_dimension(tmp_path, dataset):
    write_robomimic(dataset, tmp_path / "set.hdf5", cameras=[])
    demos, env_args = read_demos(tmp_path / "set.hdf5")
    assert sorted(demos["demo_0"]["next_obs"]) == sorted([*LOW_DIM, "object"])
    assert env_args["modalities"]["rgb"] == []


def test_images_take_their_space_once(tmp_path, dataset, file):
    with h5py.File(file) as opened:
        demo = opened["data/demo_0"]
        assert demo["next_obs/left_image"].is_virtual
        assert demo["obs/left_image"].chunks == (1, 32, 32, 3)
    # The references are to the file itself, wherever it is.
    moved = tmp_path / "moved.hdf5"
    moved.write_bytes(file.read_bytes())
    np.testing.assert_array_equal(
        read_demos(moved)[0]["demo_0"]["next_obs"]["left_image"],
        resize(dataset[0].images["left"][1:], 32),
    )


def test_every_episode_is_told_of(tmp_path, dataset):
    calls = []
    write_robomimic(dataset, tmp_path / "set.hdf5", on_episode=lambda *done: calls.append(done))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_finished_file_is_not_overwritten(tmp_path, dataset):
    target = tmp_path / "set.hdf5"
    target.write_text("precious")
    with pytest.raises(DatasetError, match=r"set\.hdf5: is there already"):
        write_robomimic(dataset, target)
    assert target.read_text() == "precious"


def test_a_file_that_came_to_be_meanwhile_is_not_overwritten(tmp_path, dataset):
    target = tmp_path / "set.hdf5"

    def write_meanwhile(done, total):
        target.write_text("precious")

    with pytest.raises(DatasetError, match="is there already"):
        write_robomimic(dataset, target, on_episode=write_meanwhile)
    assert target.read_text() == "precious"


def test_what_is_broken_off_leaves_nothing_and_can_be_begun_again(tmp_path, dataset):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_robomimic(dataset, tmp_path / "set.hdf5", on_episode=interrupt)
    assert not list(tmp_path.iterdir())
    # What a killed process left is in nobody's way.
    (tmp_path / "set.hdf5.staging/file-killed").mkdir(parents=True)
    write_robomimic(dataset, tmp_path / "set.hdf5")
    assert [path.name for path in tmp_path.iterdir()] == ["set.hdf5"]


def test_what_does_not_fit_is_named(tmp_path):
    left, right = make_episode(), make_episode(seed=1, camera="right")
    dataset = open_dataset(tmp_path / "set", [left, right])
    with pytest.raises(DatasetError, match=r"_2026: no camera 'left', only right.*name the cam"):
        write_robomimic(dataset, tmp_path / "set.hdf5")
    sizes = open_dataset(tmp_path / "sizes", [left, make_episode(seed=1, size=32)])
    with pytest.raises(DatasetError, match="needs the same of all: give a size"):
        write_robomimic(sizes, tmp_path / "set.hdf5", size=None)
    with pytest.raises(ValueError, match="at least 1 px, got 0"):
        write_robomimic(sizes, tmp_path / "set.hdf5", size=0)
    assert not (tmp_path / "set.hdf5").exists()


def test_values_that_are_not_finite_are_refused(tmp_path):
    episode = make_episode()
    extras = {"object_poses": np.full((5, 1, 7), np.nan)}
    dataset = open_dataset(tmp_path / "set", [dataclasses.replace(episode, extras=extras)])
    with pytest.raises(DatasetError, match="object has values that are not finite"):
        write_robomimic(dataset, tmp_path / "set.hdf5")


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (2, 3)])
def test_sequences_by_robomimics_rules_equal_the_episodes(file, dataset, frames, length):
    demos, _ = read_demos(file)
    stacked = sequences(demos, key="obs/left_image", frames=frames, length=length)
    asked = sequences(demos, key="actions_metric", frames=frames, length=length)
    row = 0
    for episode in dataset:
        for step in range(len(episode)):
            rows = np.clip(np.arange(step - frames + 1, step + length), 0, len(episode) - 1)
            expected = resize(episode.images["left"][rows], 32)
            np.testing.assert_array_equal(stacked[row], expected)
            np.testing.assert_allclose(asked[row], episode.commands[rows], atol=1e-7)
            row += 1
    assert row == len(stacked) == sum(LENGTHS)


def test_the_limits_are_those_of_the_action_space():
    np.testing.assert_allclose(LIMITS, ACTION_LIMIT)
