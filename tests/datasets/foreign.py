"""An episode as another laboratory recorded it with DROID's own code; ours knows nothing of it."""

import json
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
from episodes import stamped_frame

SERIALS = {"left": "24259877", "right": "20521388", "wrist": "13062452"}
FOLDER = "LAB/success/2023-07-08/Sat_Jul__8_08:57:28_2023"
STARTED = 1_688_806_648_000


def write_foreign(root: Path, *, rows: int = 12, frames: int | None = None, size: int = 64) -> Path:
    """Write an episode of `rows` rows, whose videos have `frames`, and return its folder."""
    folder = root / FOLDER
    (folder / "recordings/MP4").mkdir(parents=True)
    metadata = {
        "uuid": "LAB+5eed+2023-07-08-08h-57m-28s",
        "lab": "LAB",
        "success": True,
        "current_task": "Put the cup on the plate",
        "trajectory_length": rows,
    }
    inside = folder.relative_to(root / "LAB")
    for name, serial in SERIALS.items():
        metadata[f"{name}_mp4_path"] = f"{inside}/recordings/MP4/{serial}.mp4"
        for file in (f"{serial}.mp4", f"{serial}-stereo.mp4"):
            _write_video(folder / "recordings/MP4" / file, frames or rows, size)
    (folder / "metadata_LAB+5eed+2023-07-08-08h-57m-28s.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "trajectory.h5", "w") as file:
        for name, values in columns(rows).items():
            file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
    return folder


def columns(rows: int) -> dict[str, np.ndarray]:
    """The columns that matter, in DROID's types and units."""
    time = np.arange(rows)
    position = np.zeros((rows, 6))
    position[:, 0] = 0.4 + 0.01 * time
    position[:, 3] = np.pi - 0.05 + 0.01 * time
    position[:, 3] -= 2 * np.pi * (position[:, 3] > np.pi)
    moments = STARTED + np.rint(time * 1000 / 15).astype(np.int64)
    state = {
        "cartesian_position": position,
        "gripper_position": np.linspace(0, 1, rows),
        "joint_positions": np.full((rows, 7), 0.1) * time[:, None],
    }
    found = {f"observation/robot_state/{name}": values for name, values in state.items()}
    found["action/cartesian_velocity"] = np.tile([0.01 / 0.075, 0, 0, 0.01 / 0.15, 0, 0], (rows, 1))
    found["action/gripper_velocity"] = np.full(rows, 0.5)
    found["observation/timestamp/control/step_start"] = moments
    for name, serial in SERIALS.items():
        found[f"observation/timestamp/cameras/{serial}_estimated_capture"] = moments - 30
        moves = time[:, None] if name == "wrist" else 0
        for eye in ("left", "right"):
            key = f"observation/camera_extrinsics/{serial}_{eye}"
            found[key] = np.tile(np.arange(6.0), (rows, 1)) + 0.01 * moves
    return found


def _write_video(path: Path, frames: int, size: int) -> None:
    """As ffmpeg does it by default: B-frames, 60 a second."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(60), options={"crf": "18"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for row in range(frames):
            image = av.VideoFrame.from_ndarray(stamped_frame(row, size), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
