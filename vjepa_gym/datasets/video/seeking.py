"""Single frames of a video, found by the times they are shown at: exact, whoever encoded it.

Decoding begins at the last keyframe shown before what is wanted, and goes on to what is wanted next
if that is quicker than to seek.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Int64, UInt8

from vjepa_gym.datasets.droid.kinds import DefectError, defect
from vjepa_gym.datasets.video.frame_times import FrameTimes, frame_times
from vjepa_gym.datasets.video.opening import damage_named, open_video
from vjepa_gym.errors import DatasetError

WORTH_SEEKING = 12
"""Frames that are decoded in the time that beginning anew at a keyframe takes, and then some."""
EARLIER = 4
"""Keyframes before the right one from which decoding begins where that was too late."""


def count_frames(path: Path) -> int:
    """Return how many frames a video has; none is decoded.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    return len(frame_times(path).shown)


def read_frames_at(
    path: Path,
    rows: Int64[np.ndarray, " n"],
    *,
    times: FrameTimes | None = None,
    max_side: int | None = None,
) -> UInt8[np.ndarray, "n height width 3"]:
    """Return the frames with these numbers, in this order, as `read_video` would.

    Args:
        path: The video; MP4 unless `times` say otherwise.
        rows: The numbers.
        times: When its frames are shown, if that is known; otherwise it is found out.
        max_side: Frames whose shorter side is longer are scaled down to it as they are decoded
            [px].

    Raises:
        DatasetError: The file is missing, truncated or not a video, or has no such frame; or
            frames of it differ in size.
    """
    times = times or frame_times(path)
    if not len(rows) or rows.min() < 0 or rows.max() >= len(times.shown):
        raise DatasetError(
            f"{path}: frames {rows.tolist()} were asked for, but there are {len(times.shown)}."
        )
    wanted, places = np.unique(rows, return_inverse=True)
    with damage_named(path):
        pictures = _Pictures(path, max_side)
        found = _sought(pictures, times, wanted) if times.trusted else []
        if len(found) < len(wanted):
            pictures = _Pictures(path, max_side)
            found = _counted(pictures, times, set(wanted.tolist()))
        return np.stack(found)[places]


class _Pictures:
    """Turns frames of one video to RGB, all of one size."""

    def __init__(self, path: Path, max_side: int | None) -> None:
        self.path, self._max_side = path, max_side
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def of(self, frame: av.VideoFrame, row: int) -> UInt8[np.ndarray, "height width 3"]:
        size = frame.height, frame.width
        if self._size not in (None, size):
            height, width = self._size
            said = f"frame {row} has {size[1]} x {size[0]} px, those before it {width} x {height}"
            raise DefectError(defect("video_size", self.path, said))
        self._size = size
        if self._max_side is None or min(size) <= self._max_side:
            return self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        height, width = (max(1, round(side * self._max_side / min(size))) for side in size)
        return self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="AREA"
        ).to_ndarray()


def _sought(
    pictures: _Pictures, times: FrameTimes, rows: Int64[np.ndarray, " n"]
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return the frames with these numbers, which rise, as far as they are found."""
    found: list[UInt8[np.ndarray, "height width 3"]] = []
    with open_video(pictures.path, times.how) as (container, stream):
        for key, some in _passes(times, rows):
            part: list[UInt8[np.ndarray, "height width 3"]] = []
            # Where keyframes follow each other closely, a container may begin too late.
            for begin in (key, max(0, key - EARLIER)):
                if len(part) < len(some):
                    container.seek(int(times.keys[begin]), stream=stream)
                    part = _decoded(container.decode(stream), pictures, times, some)
            found += part
    return found


def _decoded(
    frames: Iterator[av.VideoFrame],
    pictures: _Pictures,
    times: FrameTimes,
    rows: Int64[np.ndarray, " some"],
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return those of the frames that have these numbers."""
    numbers = dict(zip(times.shown[rows].tolist(), rows.tolist(), strict=True))
    last = max(numbers)
    found = []
    # Frames that nothing refers to are decoded too: where FFmpeg may skip some, it passes over
    # damage, and a fifth of the time is all that is saved.
    with suppress(av.error.InvalidDataError):
        for frame in frames:
            if frame.pts is None or frame.pts > last:
                break
            if frame.pts in numbers and not frame.is_corrupt:
                found.append(pictures.of(frame, numbers[frame.pts]))
            if frame.pts == last:
                break
    return found


def _passes(
    times: FrameTimes, rows: Int64[np.ndarray, " n"]
) -> list[tuple[int, Int64[np.ndarray, " some"]]]:
    """Return from which keyframe on which rows are decoded; rows before the first have none."""
    groups = np.searchsorted(times.keys, times.shown[rows], side="right") - 1
    rows, groups = rows[groups >= 0], groups[groups >= 0]
    starts = np.searchsorted(times.shown, times.keys[groups])
    anew = starts[1:] - rows[:-1] > WORTH_SEEKING
    parts = np.split(np.arange(len(rows)), np.flatnonzero(anew) + 1)
    return [(int(groups[part[0]]), rows[part]) for part in parts if len(part)]


def _counted(
    pictures: _Pictures, times: FrameTimes, rows: set[int]
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return frames by their numbers, decoding from the beginning."""
    found: list[UInt8[np.ndarray, "height width 3"]] = []
    row = -1
    with open_video(pictures.path, times.how) as (container, stream):
        try:
            for row, frame in enumerate(container.decode(stream)):
                if frame.is_corrupt:
                    raise ValueError(f"frame {row} is damaged")
                if row in rows:
                    found.append(pictures.of(frame, row))
                if len(found) == len(rows):
                    return found
        except av.error.InvalidDataError as error:
            raise ValueError(f"frame {row + 1}, or one soon after it, is damaged") from error
    raise ValueError(f"only some of the frames {sorted(rows)} can be decoded")
