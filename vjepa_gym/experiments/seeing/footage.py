"""Some frames to look at: of a video, of a picture, or of an episode of a dataset."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vjepa_gym.datasets.droid.layout import TELLING, open_folder
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.folder import IMAGE_SUFFIXES
from vjepa_gym.datasets.video.pictures import read_picture
from vjepa_gym.datasets.video.probing import probe_video
from vjepa_gym.datasets.video.seeking import read_frames_at
from vjepa_gym.errors import DatasetError

INDEX = "index.jsonl"
"""A dataset of ours has it."""
SLOW = Fraction(4)
"""Frames a second where nothing is known: about the control steps of a robot."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """Frames in order.

    Attributes:
        name: What they are called: the file, or the number of the episode and the camera.
        path: The file that they are from.
        images: The frames.
        rate: How many were taken a second.
    """

    name: str
    path: Path
    images: UInt8[np.ndarray, "frames height width 3"]
    rate: Fraction


def read_footage(
    path: Path, *, episode: int, camera: str, start: int, frames: int, stride: int
) -> Footage:
    """Return some frames.

    Args:
        path: A video, a picture, the folder of an episode, or that of a dataset of ours.
        episode: Number of the episode, where `path` is a dataset.
        camera: Whose video, where `path` is an episode or a dataset.
        start: The first frame.
        frames: How many, at most.
        stride: From one to the next.

    Raises:
        DatasetError: There is no such file, episode, camera or frame, or it cannot be decoded.
    """
    file, name = _file(path, episode, camera)
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return Footage(name=name, path=file, images=read_picture(file)[None], rate=SLOW)
    about = probe_video(file, "packets")
    if start >= about.frames:
        raise DatasetError(
            f"{file} has {about.frames} frames, from 0 on; there is no frame {start}."
        )
    rows = np.arange(start, about.frames, stride, dtype=np.int64)[:frames]
    rate = Fraction(about.rate).limit_denominator(1001) or SLOW
    images = read_frames_at(file, rows, times=about.times(file))
    return Footage(name=name, path=file, images=images, rate=rate / stride)


def _file(path: Path, episode: int, camera: str) -> tuple[Path, str]:
    """Return a file of frames, and what it is called."""
    if path.is_file():
        return path, path.name
    if any(next(path.glob(name), None) for name in TELLING):
        return open_folder(path).video(camera), f"{path.name}, {camera}"
    if not (path / INDEX).is_file():
        raise DatasetError(
            f"{path} is no video or picture, no folder of an episode, which has a trajectory.h5,"
            f" and no dataset of ours, which has an {INDEX}."
        )
    store = EpisodeStore(path)
    folders = {entry.index: store.folder(entry) for entry in store.entries()}
    if episode not in folders:
        raise DatasetError(
            f"{path} has no episode {episode}, only {min(folders)} to {max(folders)}."
        )
    return open_folder(folders[episode]).video(camera), f"episode {episode}, {camera}"
