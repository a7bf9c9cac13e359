"""When the frames of a video are shown, which numbers them, and where decoding can begin.

A frame's number is its place in the order in which frames are shown, which with B-frames is not the
order in which they are stored.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from vjepa_gym.datasets.video.opening import (
    DROID,
    Opening,
    damage_named,
    open_video,
    packets_of,
)

REMEMBERED = 1024
"""Videos of which a process remembers when their frames are shown."""
MOST_RUNS = 4096
"""Times that change their step more often are not written down."""


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """When frames are shown, in units of the stream's clock.

    Attributes:
        shown: When each frame is shown, in that order.
        keys: When each keyframe is shown, in that order.
        trusted: Whether every frame has a time of its own; otherwise they can only be counted.
        how: How the video is opened.
    """

    shown: Int64[np.ndarray, " frames"]
    keys: Int64[np.ndarray, " keyframes"]
    trusted: bool
    how: Opening = DROID


def frame_times(path: Path, how: Opening = DROID) -> FrameTimes:
    """Return when the frames of a video are shown; none is decoded.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    with damage_named(path):
        about = path.stat()
        return _read(path, how, about.st_size, about.st_mtime_ns)


@lru_cache(REMEMBERED)
def _read(path: Path, how: Opening, size: int, changed: int) -> FrameTimes:  # noqa: ARG001
    """Size and time of change are part of what is remembered."""
    with open_video(path, how) as (container, stream):
        packets = [
            (packet.pts, packet.dts, packet.is_keyframe) for packet in packets_of(container, stream)
        ]
    # Containers seek by the times of showing, AVI by those of decoding, which are all that it has;
    # FFmpeg guesses the others there.
    in_order = how.container != "avi" or all(pts == dts for pts, dts, _ in packets)
    times = [(pts, key) for pts, _, key in packets if pts is not None]
    trusted = in_order and len(times) == len(packets)
    if not trusted:
        times = [(number, not number) for number in range(len(packets))]
    shown = np.array(sorted(pts for pts, _ in times), np.int64)
    return FrameTimes(
        shown=shown,
        keys=np.array(sorted(pts for pts, key in times if key), np.int64),
        trusted=trusted and bool((np.diff(shown) > 0).all()),
        how=how,
    )


def pack(times: Int64[np.ndarray, " n"], step: Fraction | None = None) -> str | None:
    """Return whole numbers as a short text; None if they are too irregular for that.

    Args:
        times: In any order.
        step: From each to the next, if that is nearly known: `512`, or `100/3` of a clock whose
            every reading is rounded.
    """
    if not len(times):
        return ""
    first, count = int(times[0]), len(times)
    if step is not None and np.array_equal(times, _regular(first, step, count)):
        return f"{first} {step}x{count - 1}"
    runs = [(diff, len(list(same))) for diff, same in groupby(np.diff(times).tolist())]
    if len(runs) > MOST_RUNS:
        return None
    return " ".join([str(first), *(f"{diff}x{times}" for diff, times in runs)])


def unpack(text: str) -> Int64[np.ndarray, " n"]:
    """Return what `pack` was given.

    Raises:
        ValueError: The text is not of that kind.
    """
    if not text:
        return np.empty(0, np.int64)
    first, *runs = text.split(" ")
    parts = [run.partition("x") for run in runs]
    if len(parts) == 1:
        return _regular(int(first), Fraction(parts[0][0]), int(parts[0][2]) + 1)
    steps = [np.full(int(times), int(diff), np.int64) for diff, _, times in parts]
    return int(first) + np.concatenate([np.zeros(1, np.int64), *steps]).cumsum()


def _regular(first: int, step: Fraction, count: int) -> Int64[np.ndarray, " n"]:
    """Multiples of a step, rounded as FFmpeg rounds the times of a coarse clock."""
    numbers = np.arange(count, dtype=np.int64)
    above, below = step.as_integer_ratio()
    return first + (2 * numbers * above + below) // (2 * below)
