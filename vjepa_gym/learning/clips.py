"""Clips of consecutive frames: where they may begin in episodes, and in videos of any rate."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64

from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Videos

NAMED = 3
"""Videos that a message names of those that it speaks of."""


def clip_starts(
    offsets: Int64[np.ndarray, "episodes_plus_one"], frames: int, stride: int = 1
) -> Int64[np.ndarray, "starts"]:
    """Return every row at which a clip may begin without leaving its episode.

    Args:
        offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
        frames: Frames in a clip.
        stride: Rows from one frame of a clip to the next.

    Raises:
        DatasetError: No episode is long enough.
    """
    reach = (frames - 1) * stride
    starts = [np.arange(first, end - reach) for first, end in pairwise(offsets)]
    rows = np.concatenate([np.empty(0, np.int64), *starts])
    if not len(rows):
        longest = int(np.diff(offsets).max(initial=0))
        raise DatasetError(
            f"A clip of {frames} frames, {stride} rows apart, needs an episode of {reach + 1} rows;"
            f" the longest of {len(offsets) - 1} has {longest}. Collect longer ones, or take fewer"
            " frames."
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class ClipShape:
    """How long a clip is, and how far apart its frames are.

    Attributes:
        frames: How many.
        stride: Frames of the video from one to the next, where `fps` is None.
        fps: Frames of the clip a second. Of a slower video, frames are repeated.
    """

    frames: int
    stride: int = 1
    fps: float | None = None

    def rows(self, rate: float) -> Int64[np.ndarray, " frames"]:
        """Return the frames of a clip that begins at 0, in a video of `rate` frames a second."""
        step = self.stride if self.fps is None else rate / self.fps
        return np.floor(np.arange(self.frames) * step + 0.5).astype(np.int64)

    def reach(self, rates: Float[np.ndarray, " videos"]) -> Int64[np.ndarray, " videos"]:
        """Return the number of the last of those frames, for videos of these rates."""
        steps = np.full(len(rates), self.stride) if self.fps is None else rates / self.fps
        return np.floor((self.frames - 1) * steps + 0.5).astype(np.int64)

    def lack(self, frames: int, rate: float) -> str | None:
        """Return why a video of so many frames, and frames a second, holds no clip, if it does not.

        Args:
            frames: How many it has.
            rate: How many a second; 0 if nothing is known.
        """
        if self.fps is not None and self.frames > 1 and rate <= 0:
            return "no known rate"
        needed = 1 + int(self.reach(np.array([rate], np.float64))[0])
        return f"{_counted(frames)} of {needed}" if frames < needed else None

    def __str__(self) -> str:
        if self.frames == 1:
            return _counted(1)
        apart = f"{self.stride} apart" if self.fps is None else f"{self.fps:g} a second"
        return f"{self.frames} frames, {apart}"


class ClipSpace:
    """Every clip of one shape that some videos hold, to draw from.

    Attributes:
        videos: The videos.
        shape: Of the clips.
        left_out: Names of the videos that hold none.
    """

    def __init__(
        self,
        videos: Videos,
        shape: ClipShape,
        *,
        weights: Float64[np.ndarray, " videos"] | None = None,
        skip_bad: bool = False,
    ) -> None:
        """Count the clips.

        Args:
            videos: The videos.
            shape: Of the clips.
            weights: Chances of each video, in any unit; its clips share them. All clips of all
                videos have the same chance if None.
            skip_bad: Whether to leave out videos that hold no such clip.

        Raises:
            DatasetError: Videos are too short, or of no known rate, and not to be left out; the
                message counts them and names some.
        """
        self.videos, self.shape = videos, shape
        rates, lengths = np.asarray(videos.rates), np.asarray(videos.lengths)
        counts = np.maximum(lengths - shape.reach(rates), 0)
        if shape.fps is not None and shape.frames > 1:
            counts[rates <= 0] = 0
        bad = np.flatnonzero(counts == 0)
        self.left_out: list[str] = [str(videos.names[i]) for i in bad.tolist()]
        if (len(bad) and not (skip_bad and len(bad) < len(counts))) or not len(counts):
            raise DatasetError(_refusal(videos, shape, bad))
        chances = counts if weights is None else np.where(counts > 0, weights, 0.0)
        if not chances.sum() > 0:
            raise DatasetError("No video with a weight above 0 holds a clip; change the weights.")
        self._counts, self._weighted = counts, weights is not None
        self._ends = np.cumsum(chances)

    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Int64[np.ndarray, " *n"], Int64[np.ndarray, " *n"]]:
        """Draw clips: return the number of the video of each, and its first frame there.

        Args:
            shape: How many, on as many axes as wanted.
            generator: Source of randomness, on the CPU.
        """
        if not self._weighted:
            clips = torch.randint(int(self._ends[-1]), shape, generator=generator).numpy()
            video = np.searchsorted(self._ends, clips, side="right")
            return video, clips - (self._ends[video] - self._counts[video])
        where, start = torch.rand((2, *shape), generator=generator, dtype=torch.float64).numpy()
        video = np.searchsorted(self._ends, where * self._ends[-1], side="right")
        return video, (start * self._counts[video]).astype(np.int64)

    def rows(self, video: int, start: int) -> Int64[np.ndarray, " frames"]:
        """Return the frames of a clip by their numbers in its video."""
        return start + self.shape.rows(float(self.videos.rates[video]))


def _refusal(videos: Videos, shape: ClipShape, bad: Int64[np.ndarray, " bad"]) -> str:
    """Say which videos hold no clip, and what can be done."""
    total = len(videos.lengths)
    if not total:
        return "There are no videos to take clips from."
    timed = shape.fps is None or shape.frames == 1
    rates = np.asarray(videos.rates)
    named = ", ".join(
        f"{videos.names[i]} ({shape.lack(int(videos.lengths[i]), float(rates[i]))})"
        for i in bad[:NAMED].tolist()
    )
    more = ", ..." if len(bad) > NAMED else ""
    advice = "Take fewer frames, or longer videos"
    if len(bad) < total:
        advice = "Take fewer frames, or leave such videos out with job.skip_bad=true"
    if not timed and (rates[bad] <= 0).any():
        advice += "; where no rate is known, use stride in place of fps"
    return f"{len(bad)} of {total} videos hold no clip of {shape}: {named}{more}. {advice}."


def _counted(frames: int) -> str:
    return "1 frame" if frames == 1 else f"{frames} frames"
