"""Where clips are cut from: a training cache, or the videos of a dataset as they are."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from vjepa_gym.datasets.caching.in_order import in_order
from vjepa_gym.datasets.caching.recordings import Dataset, Recordings
from vjepa_gym.datasets.video.seeking import read_frames_at
from vjepa_gym.images import ImageSize, image_shape, resize


@runtime_checkable
class ClipSource(Protocol):
    """Episodes whose frames can be read one by one.

    It can be pickled, and keeps no file open that two processes would share the position of.
    """

    @property
    def names(self) -> Sequence[str]:
        """What each episode is called."""
        ...

    @property
    def views(self) -> Sequence[str]:
        """The cameras that there are."""
        ...

    @property
    def poses(self) -> Float32[np.ndarray, "rows 7"]:
        """The measured pose of every row of every episode."""
        ...

    @property
    def times(self) -> Float64[np.ndarray, " rows"]:
        """When each row was, since the first of its episode [s]."""
        ...

    @property
    def offsets(self) -> Int64[np.ndarray, " episodes_plus_one"]:
        """Episode `i` has the rows `offsets[i]:offsets[i + 1]`."""
        ...

    def read(
        self, episode: int, rows: Int64[np.ndarray, " n"], view: str
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of an episode by their numbers in it."""
        ...


class VideoSource:
    """The videos of a dataset, of which only what a clip needs is decoded.

    Poses and times of all rows are read at once and kept. A video is opened for each clip, so that
    nothing is shared between processes.

    Attributes:
        names: What each episode is called: its path below the dataset's root.
        views: The cameras that are read.
        poses: The measured pose of every row.
        times: When each row was, since the first of its episode [s].
        offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
        left_out: Damaged episodes that are not in it, if the dataset was opened with
            `on_defect="skip"`.
    """

    def __init__(
        self,
        episodes: Dataset,
        *,
        views: Sequence[str] = ("left",),
        size: ImageSize | None = None,
        workers: int = 1,
    ) -> None:
        """Read poses and times.

        Args:
            episodes: The dataset: ours, or anybody's in DROID's layout.
            views: Whose videos.
            size: Side, or height and width, of the frames [px]; None for that of the videos.
            workers: Threads that read.

        Raises:
            DatasetError: There is no episode, one lacks a view, or is damaged. Videos are not
                looked into before a clip is.
        """
        there = Recordings(episodes)
        self._shape = None if size is None else image_shape(size, smallest=1)
        self.views, self.names, self.left_out = tuple(views), there.names, there.left_out
        self._videos = [there.videos(folder, self.views) for folder in there.folders]
        read = partial(there.states, views=self.views)
        states = list(in_order(read, there.folders, workers))
        self.poses = np.concatenate([poses for poses, _ in states])
        self.times = np.concatenate([times for _, times in states])
        self.offsets = np.cumsum([0, *(len(times) for _, times in states)], dtype=np.int64)

    def read(
        self, episode: int, rows: Int64[np.ndarray, " n"], view: str
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of an episode by their numbers in it.

        Raises:
            DatasetError: The video is damaged, or has no such frame; the message names it.
        """
        images = read_frames_at(self._videos[episode][view], rows)
        return images if self._shape is None else resize(images, self._shape)
