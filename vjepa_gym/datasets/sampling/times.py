"""Which rows of an episode make a clip: those nearest to the wanted times on its own clock."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64

from vjepa_gym.errors import DatasetError

TOLERANCE = 0.25
"""How far a row may be from where it is wanted, of the time from one frame to the next."""


def nearest(
    times: Float64[np.ndarray, " rows"], wanted: Float64[np.ndarray, "*n"]
) -> Int64[np.ndarray, "*n"]:
    """Return the row nearest to each of the `wanted` times [s]; of two, the earlier.

    Args:
        times: When each row was [s], in order.
        wanted: Any moments [s].
    """
    last = len(times) - 1
    after = np.searchsorted(times, wanted).clip(0, last)
    before = (after - 1).clip(0)
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def clock_rows(times: Float64[np.ndarray, " rows"], hz: float) -> Int64[np.ndarray, " kept"]:
    """Return the rows nearest to the ticks of a clock that begins with the first.

    Where rows are further apart than ticks each is returned once. The last tick may be after the
    last row by the usual tolerance.

    Args:
        times: When each row was [s], in order.
        hz: Ticks a second.
    """
    ticks = np.arange(int((times[-1] - times[0]) * hz + TOLERANCE) + 1) / hz
    return np.unique(nearest(times, times[0] + ticks))


def nearest_rows(
    times: Float64[np.ndarray, " rows"], frames: int, fps: float
) -> tuple[Int64[np.ndarray, "rows frames"], Float64[np.ndarray, " rows"]]:
    """Return the rows of the clip that begins at each row, and how far they are off at most [s].

    Where an episode ends too early, or one row is nearest to two of the wanted times, that is
    infinitely far.

    Args:
        times: When each row was [s], in order.
        frames: Frames in a clip.
        fps: Frames a second.
    """
    wanted = times[:, None] + np.arange(frames) / fps
    rows = nearest(times, wanted)
    off = np.abs(times[rows] - wanted).max(axis=1, initial=0.0)
    # Beyond the end the last row is nearest to all.
    off[(np.diff(rows, axis=1) < 1).any(axis=1)] = np.inf
    return rows, off


def timed_starts(
    times: Float64[np.ndarray, " rows"],
    offsets: Int64[np.ndarray, " episodes_plus_one"],
    *,
    frames: int,
    fps: float,
    tolerance: float,
) -> Int64[np.ndarray, " starts"]:
    """Return every row at which a clip can begin whose frames are at the wanted times.

    Args:
        times: When each row of each episode was, since the first of its episode [s].
        offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
        frames: Frames in a clip.
        fps: Frames a second.
        tolerance: How far a frame may be from where it is wanted [s].

    Raises:
        DatasetError: There is none; the message says what the data have and what would work.
    """
    starts, best = [np.empty(0, np.int64)], np.inf
    for first, end in pairwise(offsets.tolist()):
        _, off = nearest_rows(np.asarray(times[first:end]), frames, fps)
        starts.append(first + np.flatnonzero(off <= tolerance))
        best = min(best, off.min(initial=np.inf))
    found = np.concatenate(starts)
    if not len(found):
        raise DatasetError(_nothing_fits(times, offsets, frames, fps, tolerance, best))
    return found


def _nothing_fits(
    times: Float64[np.ndarray, " rows"],
    offsets: Int64[np.ndarray, " episodes_plus_one"],
    frames: int,
    fps: float,
    tolerance: float,
    best: float,
) -> str:
    episodes = [np.asarray(times[first:end]) for first, end in pairwise(offsets.tolist())]
    steps = np.concatenate([np.diff(episode) for episode in episodes])
    longest = max((episode[-1] for episode in episodes if len(episode)), default=0.0)
    if not len(steps):
        return f"No clip of {frames} frames: no episode has more than one row."
    short, middle, long = np.quantile(steps, [0, 0.5, 1])
    said = (
        f"No clip of {frames} frames at {fps:g} a second: the data have {1 / middle:.3g} rows a "
        f"second ({short:.3g} to {long:.3g} s from one to the next), and the longest episode "
        f"lasts {longest:.3g} s. "
    )
    if np.isfinite(best):
        return f"{said}tolerance={best + 5e-5:.4f} would do (it is {tolerance:.4g} s); or stride=1."
    if fps * middle > 1 + TOLERANCE:
        return f"{said}fps={1 / middle:.3g} or less may do, or stride=1, which goes by rows."
    if longest * fps < frames - 1:
        most = int(longest * fps) + 1
        return f"{said}Take at most {most} frames, or a higher fps, up to {1 / middle:.3g}."
    return f"{said}Rows are too unevenly spaced for that: take stride=1, which goes by rows."
