"""The parts of `check_lerobot.sh`: two run where this package is, two where lerobot is.

tell <dataset> <folder>       ours: what our reader reads of a dataset in DROID's layout
compare <dataset> <folder>    lerobot's: whether it reads the same from our export
write <dataset>               lerobot's: a dataset as LeRobot's DROID port writes it
read <dataset>                ours: whether that is what became of it in DROID's layout
"""

import sys
from pathlib import Path

import numpy as np

VIEWS = {"left": "exterior_1_left", "right": "exterior_2_left", "wrist": "wrist_left"}
CODEC_ERROR = 8
"""By how much decoders may differ in a pixel, through the conversion of colours alone."""
LENGTHS = (12, 17, 9)
"""Rows of the episodes that lerobot writes; several share a file."""
SIZE = (96, 128)


def tell(dataset: Path, folder: Path) -> None:
    """Write what our reader reads, one file an episode."""
    from vjepa_gym.datasets.droid.episodes import DroidEpisodes

    folder.mkdir(parents=True)
    for number, episode in enumerate(DroidEpisodes(dataset)):
        np.savez(
            folder / f"{number:06d}.npz",
            poses=episode.poses,
            joints=episode.joints,
            times=episode.times,
            success=episode.success,
            task=episode.task,
            **{f"images/{name}": images for name, images in episode.images.items()},
            **{f"extrinsics/{name}": one["extrinsics"] for name, one in episode.cameras.items()},
        )


def open_dataset(root: Path, **options: object) -> "object":
    """Return the dataset, with the decoder that needs nothing of the system."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/check", root=root, video_backend="pyav", **options)


def compare(root: Path, folder: Path) -> None:
    """Compare every row and frame of every episode, then what training asks for."""
    import lerobot

    dataset, files = open_dataset(root), sorted(folder.glob("*.npz"))
    assert dataset.num_episodes == len(files), (dataset.num_episodes, len(files))
    frames, worst, row = 0, 0.0, 0
    for number, file in enumerate(files):
        told = dict(np.load(file))
        for place in range(len(told["poses"])):
            item = dataset[row]
            compare_row(item, told, number, place, dataset.fps)
            for name in (key for key in told if key.startswith("images/")):
                shown = item[f"observation.images.{VIEWS[name.partition('/')[2]]}"]
                expected = told[name][place].transpose(2, 0, 1) / 255
                worst = max(worst, float(np.abs(shown.numpy() - expected).max() * 255))
                frames += 1
            row += 1
    assert row == len(dataset)
    assert worst <= CODEC_ERROR, f"a pixel differs by {worst}"
    print(
        f"lerobot {lerobot.__version__} read {len(files)} episodes at {dataset.fps} Hz: {row} rows "
        f"and {frames} frames are ours, no pixel differs by more than {worst:.0f} of 255."
    )
    check_training(root, dataset)


def compare_row(item: dict, told: dict, number: int, place: int, fps: float) -> None:
    """Compare one row."""
    assert (item["episode_index"], item["frame_index"]) == (number, place)
    assert item["task"] == item["language_instruction"] == str(told["task"])
    assert bool(item["is_episode_successful"]) == bool(told["success"])
    assert bool(item["is_last"]) == (place == len(told["poses"]) - 1)
    pose, joints = told["poses"][place], told["joints"][place]
    expected = {
        "observation.state.cartesian_position": pose[:6],
        "observation.state": [*joints, pose[6]],
        "observation.time": told["times"][place],
        "timestamp": place / fps,
        "action.joint_position": told["joints"][min(place + 1, len(told["poses"]) - 1)],
    }
    for name, view in VIEWS.items():
        if f"extrinsics/{name}" in told:
            extrinsics = np.atleast_2d(told[f"extrinsics/{name}"])
            row = extrinsics[min(place, len(extrinsics) - 1)]
            expected[f"camera_extrinsics.{view}"] = row
    for name, values in expected.items():
        np.testing.assert_allclose(item[name].numpy(), values, atol=1e-5, err_msg=name)


def check_training(root: Path, dataset: "object") -> None:
    """Load batches with neighbours in time, and one episode alone."""
    import torch

    images = next(key for key in dataset.meta.video_keys)
    step = 1 / dataset.fps
    moments = {images: [-step, 0.0], "action": [0.0, step, 2 * step]}
    around = open_dataset(root, delta_timestamps=moments)
    loader = torch.utils.data.DataLoader(around, batch_size=4, shuffle=True, num_workers=1)
    batches = list(loader)
    assert batches[0][images].shape[:2] == (4, 2)
    assert batches[0]["action"].shape == (4, 3, 8)
    rows = torch.cat([batch["index"] for batch in batches])
    assert sorted(rows.tolist()) == list(range(len(dataset)))
    for batch in batches:
        past, first = batch[f"{images}_is_pad"][:, 0], batch["is_first"]
        assert (past == first).all(), "the frame before the first is padding, no other is"
    last = open_dataset(root, episodes=[dataset.num_episodes - 1])
    assert last[0]["is_first"]
    means = {key: np.shape(dataset.meta.stats[key]["mean"]) for key in (images, "action")}
    assert means == {images: (3, 1, 1), "action": (8,)}, means
    print(
        f"  {len(batches)} batches with neighbours in time, one episode alone, statistics: sound."
    )


def stamped(number: int) -> np.ndarray:
    """Return a picture of the number, in binary, as bright and dark columns."""
    height, width = SIZE
    bits = np.repeat([number >> bit & 1 for bit in range(8)], width // 8)
    return np.broadcast_to(np.uint8(40 + 160 * bits)[None, :, None], (height, width, 3)).copy()


def read_stamp(image: np.ndarray) -> int:
    """Return the number that `stamped` drew."""
    columns = image.mean(axis=(0, 2)).reshape(8, -1).mean(axis=1)
    return sum(1 << bit for bit in range(8) if columns[bit] > 120)


def features() -> dict:
    """Return the features of LeRobot's DROID port that are read, and one that is not."""
    widths = {"cartesian": 6, "joint": 7, "gripper": 1}
    vectors = {f"action.{part}_velocity": width for part, width in widths.items()}
    vectors |= {f"observation.state.{part}_position": width for part, width in widths.items()}
    vectors |= {f"camera_extrinsics.{view}": 6 for view in VIEWS.values()}
    vectors |= {"observation.state": 8, "action": 8, "action.original": 7}
    video = {"dtype": "video", "shape": (*SIZE, 3), "names": ["height", "width", "channels"]}
    return {
        **{
            name: {"dtype": "float32", "shape": (width,), "names": None}
            for name, width in vectors.items()
        },
        **{f"observation.images.{view}": dict(video) for view in VIEWS.values()},
        "is_episode_successful": {"dtype": "bool", "shape": (1,), "names": None},
        "language_instruction": {"dtype": "string", "shape": (1,), "names": None},
        "building": {"dtype": "string", "shape": (1,), "names": None},
    }


def vectors_of(episode: int, row: int) -> dict[str, np.ndarray]:
    """Return the numbers of one row; the second exterior camera stands further to the left."""
    wide = {name: one["shape"][0] for name, one in features().items() if one["dtype"] == "float32"}
    values = {
        name: np.full(width, 0.001 * row + 0.1 * episode + 0.01 * place, np.float32)
        for place, (name, width) in enumerate(wide.items())
    }
    values["camera_extrinsics.exterior_1_left"][1] = -0.4
    values["camera_extrinsics.exterior_2_left"][1] = 0.4
    return values


def write(root: Path) -> None:
    """Have lerobot write a dataset with the codec and the files of its own choice."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset.create("local/check", 15, features(), root=root, robot_type="Franka")
    for episode, rows in enumerate(LENGTHS):
        for row in range(rows):
            frame: dict = dict(vectors_of(episode, row))
            for place, view in enumerate(VIEWS.values()):
                frame[f"observation.images.{view}"] = stamped(row + 20 * episode + 64 * place)
            frame["is_episode_successful"] = np.array([episode != 1])
            frame["task"] = frame["language_instruction"] = f"task {episode % 2}"
            frame["building"] = "somewhere"
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()


def read(root: Path) -> None:
    """Compare what became of that dataset."""
    from vjepa_gym.datasets.droid.episodes import DroidEpisodes

    episodes = DroidEpisodes(root)
    assert [len(episode.poses) for episode in episodes] == list(LENGTHS)
    # DROID's `left` is the exterior camera further to the left, here the second one.
    places = {"left": 1, "right": 0, "wrist": 2}
    for number, episode in enumerate(episodes):
        assert (episode.task, episode.success) == (f"task {number % 2}", number != 1)
        assert episode.record_hz == 15
        for row in range(len(episode.poses)):
            values = vectors_of(number, row)
            pose = values["observation.state.cartesian_position"]
            np.testing.assert_array_equal(episode.poses[row, :6], pose)
            for camera, place in places.items():
                stamp = read_stamp(episode.images[camera][row])
                assert stamp == row + 20 * number + 64 * place, (number, row, camera, stamp)
    print(f"ours read {len(episodes)} episodes that lerobot wrote: rows and frames are lerobot's.")


if __name__ == "__main__":
    _, part, *paths = sys.argv
    {"tell": tell, "compare": compare, "write": write, "read": read}[part](*map(Path, paths))
