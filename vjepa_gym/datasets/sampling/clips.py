"""Clips for training world models: frames at true times, the poses there, the actions between."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from vjepa_gym import kinematics
from vjepa_gym.datasets.sampling.sources import ClipSource
from vjepa_gym.datasets.sampling.times import TOLERANCE, nearest, timed_starts
from vjepa_gym.errors import DatasetError


class Clip(NamedTuple):
    """Some frames of an episode; a tuple, so that a torch `DataLoader` batches it as it is.

    Attributes:
        images: The frames.
        poses: The measured pose at each.
        actions: The displacement from each to the next that was achieved.
        times: When each was, since the first row of the episode [s].
        episode: Which one of the source.
        rows: Which ones of the episode.
        view: Which camera's.
    """

    images: UInt8[np.ndarray, "frames height width 3"]
    poses: Float32[np.ndarray, "frames 7"]
    actions: Float32[np.ndarray, "frames_minus_one 7"]
    times: Float64[np.ndarray, " frames"]
    episode: int
    rows: Int64[np.ndarray, " frames"]
    view: str


class Clips:
    """Clips by their number: a map-style dataset, for torch's `DataLoader` or without it.

    Numbers go on from epoch to epoch: clip `i` of epoch `e` is number `e * len(clips) + i`, which
    `ClipSampler` yields. What it shows is a function of the seed, `e` and `i` alone, whichever
    process asks.
    """

    def __init__(
        self,
        source: ClipSource,
        *,
        frames: int = 8,
        fps: float | None = None,
        stride: int | None = None,
        per_episode: int | None = 1,
        tolerance: float | None = None,
        seed: int = 0,
    ) -> None:
        """Find where clips can begin.

        Args:
            source: A `Cache` or a `VideoSource`; with several views, each clip is of a random one.
            frames: Frames in a clip.
            fps: Frames a second on the true clock: the rows nearest to these times. Where
                one is off by more than the tolerance, or nearest to two, no clip is offered.
            stride: Instead of `fps`: every how many rows a frame is taken, which suits rows that
                are settled moves.
            per_episode: How many clips an epoch has of each episode that offers any, beginning at
                random rows; None for every clip that there is, once.
            tolerance: How far a row may be from its moment [s]; by default a quarter of the time
                from one frame to the next.
            seed: Of the random rows and views.

        Raises:
            DatasetError: No episode offers a clip; the message says what would work.
            ValueError: Not one of `fps` and `stride` is given, or something is not positive.
        """
        _check(frames, fps, stride, per_episode)
        self._source, self.frames, self.fps, self.stride = source, frames, fps, stride
        self._per_episode, self.seed = per_episode, seed
        self._steps = (stride or 1) * np.arange(frames)
        if fps is not None:
            self.tolerance = TOLERANCE / fps if tolerance is None else tolerance
            self._starts = timed_starts(
                source.times, source.offsets, frames=frames, fps=fps, tolerance=self.tolerance
            )
        else:
            self._starts = _strided_starts(source.offsets, frames, stride or 1)
        episodes = np.searchsorted(source.offsets, self._starts, side="right") - 1
        offering, first = np.unique(episodes, return_index=True)
        self._offering, self._ends = offering, (first, np.append(first[1:], len(episodes)))
        self._drawn: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def source(self) -> ClipSource:
        """Where the clips are cut from."""
        return self._source

    @property
    def episodes(self) -> Int64[np.ndarray, " offering"]:
        """The episodes that offer a clip; the others are too short, or nothing is at the times."""
        return self._offering

    @property
    def offered(self) -> int:
        """How many clips there are, at every row at which one can begin."""
        return len(self._starts)

    def __len__(self) -> int:
        if self._per_episode is None:
            return len(self._starts)
        return self._per_episode * len(self._offering)

    def __iter__(self) -> Iterator[Clip]:
        """Yield the clips of the first epoch in order."""
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Clip:
        """Return a clip.

        Args:
            number: `e * len(self) + i` for clip `i` of epoch `e`.

        Raises:
            DatasetError: The episode is damaged; the message names it. No other is taken instead.
            IndexError: The number is negative.
        """
        if number < 0:
            raise IndexError(f"a clip's number is not negative, got {number}")
        start, view = self._draw(*divmod(int(number), len(self)))
        source = self._source
        episode = int(np.searchsorted(source.offsets, start, side="right")) - 1
        first, end = int(source.offsets[episode]), int(source.offsets[episode + 1])
        if self.fps is None:
            rows = start - first + self._steps
        else:
            times = np.asarray(source.times[first:end])
            rows = nearest(times, times[start - first] + self._steps / self.fps)
        poses = np.asarray(source.poses[first + rows])
        return Clip(
            images=source.read(episode, rows, view),
            poses=poses,
            actions=kinematics.displacements(poses),
            times=np.asarray(source.times[first + rows]),
            episode=episode,
            rows=rows,
            view=view,
        )

    def _draw(self, epoch: int, i: int) -> tuple[int, str]:
        """Return the row at which a clip begins, and whose view it is."""
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, *self._draw_epoch(epoch)
        _, starts, views = self._drawn
        return int(starts[i]), self._source.views[int(views[i])]

    def _draw_epoch(
        self, epoch: int
    ) -> tuple[Int64[np.ndarray, " clips"], Int64[np.ndarray, " clips"]]:
        """Return where each clip of an epoch begins, and the number of its view."""
        rng = np.random.default_rng([self.seed, epoch])
        starts = self._starts
        if self._per_episode is not None:
            first, last = (np.repeat(end, self._per_episode) for end in self._ends)
            starts = starts[rng.integers(first, last)]
        return starts, rng.integers(len(self._source.views), size=len(starts))


def _check(frames: int, fps: float | None, stride: int | None, per_episode: int | None) -> None:
    if (fps is None) == (stride is None):
        raise ValueError(f"give either fps or stride, got fps={fps} and stride={stride}")
    given = [number for number in (frames, fps, stride, per_episode) if number is not None]
    if min(given) <= 0:
        raise ValueError(
            "frames, fps, stride and per_episode must be positive, got "
            f"{frames}, {fps}, {stride} and {per_episode}"
        )


def _strided_starts(
    offsets: Int64[np.ndarray, " episodes_plus_one"], frames: int, stride: int
) -> Int64[np.ndarray, " starts"]:
    reach = (frames - 1) * stride
    starts = np.concatenate([np.arange(first, end - reach) for first, end in pairwise(offsets)])
    if not len(starts):
        raise DatasetError(
            f"A clip of {frames} frames, {stride} rows apart, needs an episode of {reach + 1} rows;"
            f" the longest has {int(np.diff(offsets).max())}. Take fewer frames or less stride."
        )
    return starts.astype(np.int64)
