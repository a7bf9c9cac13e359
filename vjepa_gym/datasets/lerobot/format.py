"""What a LeRobot dataset of format v3.0 is made of, with the features of LeRobot's DROID port.

    meta/info.json  meta/stats.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet            rows
    videos/<feature>/chunk-000/file-000.mp4    frames
    vjg/episode_000000/                        what the format has no place for (`lerobot_kept`)

Names, shapes and units are those of huggingface/lerobot `examples/port_datasets/port_droid.py`, so
that what was written for DROID in LeRobot reads this. Two differences: `observation.time` is added,
since LeRobot's own `timestamp` must be `frame_index / fps`; `action.original` is left out, since
DROID's documentation of it and its labels in the port contradict each other.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

VERSION = "v3.0"
ROBOT = "Franka"
FILES_IN_CHUNK = 1000
INFO, STATISTICS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

VIEWS = ("exterior_1_left", "exterior_2_left", "wrist_left")
"""The port's names of DROID's views: the exterior ones in order of their serial numbers."""
IMAGES, EXTRINSICS, TIME = "observation.images.", "camera_extrinsics.", "observation.time"
SUCCESS, TASK = "is_episode_successful", "task_index"
ARM, COMMAND = "observation.state", "action"
CARTESIAN_VELOCITY, GRIPPER_VELOCITY = "action.cartesian_velocity", "action.gripper_velocity"

_POSE = ("x", "y", "z", "roll", "pitch", "yaw")
_JOINTS = tuple(f"joint_{number}" for number in range(7))
_GRIPPER = ("gripper",)
COLUMNS = {
    f"{ARM}.cartesian_position": "observation/robot_state/cartesian_position",
    f"{ARM}.joint_position": "observation/robot_state/joint_positions",
    f"{ARM}.gripper_position": "observation/robot_state/gripper_position",
    **{
        f"{COMMAND}.{part}_{kind}": f"action/{part}_{kind}"
        for part in ("cartesian", "joint", "gripper")
        for kind in ("position", "velocity")
    },
}
"""Features that are columns of DROID's `trajectory.h5`, and which."""
REQUIRED = (
    f"{ARM}.cartesian_position",
    f"{ARM}.joint_position",
    f"{ARM}.gripper_position",
    CARTESIAN_VELOCITY,
    GRIPPER_VELOCITY,
    SUCCESS,
)
"""Without these no episode can be made, nor without an exterior view and its extrinsics."""
TEXTS = (
    "language_instruction",
    "language_instruction_2",
    "language_instruction_3",
    "task_category",
    "building",
    "collector_id",
    "date",
)


def place(number: int) -> dict[str, int]:
    """Return chunk and file of episode `number` where each episode has files of its own."""
    chunk, file = divmod(number, FILES_IN_CHUNK)
    return {"chunk_index": chunk, "file_index": file}


def describe_features(videos: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return every feature as `info.json` has them.

    Args:
        videos: What is known of the videos of each view, see `lerobot_video.describe`.
    """
    axes = {"cartesian": _POSE, "joint": _JOINTS, "gripper": _GRIPPER}
    kinds = {name: name.rsplit(".", 1)[1].split("_", 1)[0] for name in COLUMNS}
    images = {
        f"{IMAGES}{view}": {
            "dtype": "video",
            "shape": [video["video.height"], video["video.width"], 3],
            "names": ["height", "width", "channels"],
            "info": dict(video),
        }
        for view, video in videos.items()
    }
    return {
        **images,
        **{name: _vector(axes[kind]) for name, kind in kinds.items()},
        **{name: _vector(_JOINTS + _GRIPPER) for name in (ARM, COMMAND)},
        **{f"{EXTRINSICS}{view}": _vector(_POSE) for view in videos},
        **{name: _scalar("bool") for name in ("is_first", "is_last", "is_terminal", SUCCESS)},
        **{name: _scalar("float32") for name in ("discount", "reward", TIME, "timestamp")},
        **{name: _scalar("string") for name in TEXTS},
        **{name: _scalar("int64") for name in ("frame_index", "episode_index", "index", TASK)},
    }


def describe_dataset(
    features: Mapping[str, Any], rate: Fraction, *, episodes: int, rows: int, tasks: int
) -> dict[str, Any]:
    """Return the contents of `info.json`."""
    return {
        "codebase_version": VERSION,
        "robot_type": ROBOT,
        "total_episodes": episodes,
        "total_frames": rows,
        "total_tasks": tasks,
        "chunks_size": FILES_IN_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(rate) if rate.denominator == 1 else float(rate),
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEO,
        "features": dict(features),
    }


def _vector(axes: tuple[str, ...]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(axes)], "names": {"axes": list(axes)}}


def _scalar(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}
