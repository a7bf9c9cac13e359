"""Decoded frames of a whole dataset in memory-mapped arrays: what training reads.

    <root>.cache/<key>/
        <view>.npy                           uint8 [rows height width 3], or
        <view>.jpeg  <view>_offsets.npy      the same as JPEG, a tenth of the size (`packed_jpeg`)
        poses.npy  times.npy                 one a row; seconds since the episode's first
        offsets.npy                          episode i has the rows offsets[i]:offsets[i + 1]
        meta.json                            what this is, and the episodes' names

The key is a digest of what the dataset holds and of what was asked for, so that a stale cache is
never found. It may be deleted at any time, and is not deleted by anything here.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from vjepa_gym.datasets.caching.building import FORMAT, Plan, Progress
from vjepa_gym.datasets.caching.packed_jpeg import PackedImages
from vjepa_gym.datasets.caching.recordings import Dataset, Recordings
from vjepa_gym.datasets.caching.room import PACKINGS
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.images import ImageSize, image_shape
from vjepa_gym.types import Frames, Images

logger = logging.getLogger(__name__)


def _ignore(done: int, total: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Frames of many episodes laid end to end; a `clip_sources.ClipSource`.

    Another process is sent only where it lies.

    Attributes:
        folder: Where it lies.
        names: What each episode is called: its path below the dataset's root.
        images: Every frame of every episode, by view.
        poses: The measured pose of each frame.
        times: When each frame was, since the first of its episode [s].
        offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
        packing: `raw` or `jpeg`.
        left_out: Damaged episodes that are not in it.
    """

    folder: Path
    names: Sequence[str]
    images: Mapping[str, Images]
    poses: Float32[np.ndarray, "rows 7"]
    times: Float64[np.ndarray, " rows"]
    offsets: Int64[np.ndarray, " episodes_plus_one"]
    packing: str
    left_out: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self.folder, self.left_out)

    @property
    def views(self) -> tuple[str, ...]:
        """The cameras that there are."""
        return tuple(self.images)

    def read(
        self, episode: int, rows: Int64[np.ndarray, " n"], view: str
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of an episode by their numbers in it."""
        return np.asarray(self.images[view][self.offsets[episode] + rows])

    def frames(self, view: str) -> Frames:
        """Return all frames of one view."""
        return Frames(images=self.images[view], poses=self.poses, offsets=self.offsets)


def open_cache(
    episodes: Dataset,
    *,
    size: ImageSize | None,
    stride: int = 1,
    hz: float | None = None,
    views: Sequence[str] = ("left",),
    packing: str = "raw",
    workers: int = 1,
    on_progress: Progress = _ignore,
) -> Cache:
    """Return all frames of some views, decoding them first if that was not done before.

    Args:
        episodes: Ours, or anybody's: there sizes and times of change of files are in the key.
        size: Side, or height and width, of the frames [px]; `images.resize` makes them. None for
            that of the videos.
        stride: Every how many rows one is kept.
        hz: Instead of `stride`: the rows are kept that are nearest to the ticks of a clock, so many
            a second, by the times at which they truly were.
        views: Whose frames.
        packing: `raw` for pixels; `jpeg`, smaller and slower; `auto`, pixels if they fit.
        workers: Threads that decode.
        on_progress: Called with the number of episodes decoded, and of all.

    Raises:
        DatasetError: There is no episode, no such view, too little room, videos differ in size
            though `size` is None, or a file is damaged.
        UnknownNameError: There is no such packing.
        ValueError: `stride`, `hz` or `size` is not positive, both of the former are given, or
            there is no view.
    """
    if packing not in PACKINGS:
        raise UnknownNameError("packing", packing, PACKINGS)
    if stride < 1 or not views:
        raise ValueError(f"stride must be at least 1 and views some, got {stride} and {views}")
    if hz is not None and (stride != 1 or not 0 < hz < math.inf):
        raise ValueError(f"hz must be positive, and stride 1 with it, got {hz} and {stride}")
    shape = None if size is None else image_shape(size, smallest=1)
    there = Recordings(episodes)
    content = there.content(views)
    home = there.root.with_name(f"{there.root.name}.cache")

    def folder(kept_as: str) -> Path:
        asked = [FORMAT, shape, stride, list(views), kept_as, content]
        text = json.dumps(asked if hz is None else [*asked, hz])
        return home / hashlib.sha256(text.encode()).hexdigest()[:16]

    order = ("raw", "jpeg") if packing == "auto" else (packing,)
    found = next((folder(kept_as) for kept_as in order if folder(kept_as).is_dir()), None)
    if found is None:
        plan = Plan(there, shape, stride, tuple(views), hz)
        kept_as = plan.packing(packing)
        found = folder(kept_as)
        logger.info("Decoding %d episodes into %s; delete it at will.", len(there), found)
        plan.build(found, kept_as, workers, on_progress)
    return _open(found, there.left_out)


def open_frames(
    store: Dataset,
    *,
    size: ImageSize,
    hz: float | None = None,
    camera: str = "left",
    packing: str = "raw",
    workers: int = 1,
    on_progress: Progress = _ignore,
) -> Frames:
    """Return all frames of one camera; see `open_cache`, which has the same arguments."""
    cache = open_cache(
        store,
        size=size,
        hz=hz,
        views=(camera,),
        packing=packing,
        workers=workers,
        on_progress=on_progress,
    )
    return cache.frames(camera)


def _open(folder: Path, left_out: int = 0) -> Cache:
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        raw = meta["packing"] == "raw"
        return Cache(
            folder=folder,
            names=meta["names"],
            images={
                view: np.load(folder / f"{view}.npy", mmap_mode="r")
                if raw
                else PackedImages(folder / f"{view}.jpeg")
                for view in meta["views"]
            },
            poses=np.asarray(np.load(folder / "poses.npy", mmap_mode="r")),
            times=np.asarray(np.load(folder / "times.npy", mmap_mode="r")),
            offsets=np.load(folder / "offsets.npy"),
            packing=meta["packing"],
            left_out=left_out,
        )
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"{folder}: expected a whole cache, but {error}. Delete it, and it is made anew."
        ) from error
