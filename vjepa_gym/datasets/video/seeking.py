"""Single frames of a video, found by the times they are shown at: exact, whoever encoded it.

A frame's number is its place in the order in which frames are shown, which with B-frames is not the
order in which they are stored. Decoding begins at the last keyframe shown before what is wanted.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Int64, UInt8

from vjepa_gym.datasets.video.opening import damage_named, open_video
from vjepa_gym.errors import DatasetError

REMEMBERED = 1024
"""Videos of which a process remembers when their frames are shown."""


@dataclass(frozen=True, kw_only=True)
class _Index:
    """When frames are shown and keyframes are stored, in units of the stream's clock.

    Attributes:
        shown: When each frame is shown, in that order.
        keys: When each keyframe is shown, in that order.
        stored: The decoding time of each of them, by which a container seeks.
        trusted: Whether every frame has a time of its own; otherwise they can only be counted.
    """

    shown: Int64[np.ndarray, " frames"]
    keys: Int64[np.ndarray, " keyframes"]
    stored: Int64[np.ndarray, " keyframes"]
    trusted: bool


def count_frames(path: Path) -> int:
    """Return how many frames a video has; none is decoded.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    return len(_index(path).shown)


def read_frames_at(
    path: Path, rows: Int64[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n height width 3"]:
    """Return the frames with these numbers, in this order, as `read_video` would.

    Raises:
        DatasetError: The file is missing, truncated or not a video, or has no such frame.
    """
    index = _index(path)
    if not len(rows) or rows.min() < 0 or rows.max() >= len(index.shown):
        raise DatasetError(
            f"{path}: frames {rows.tolist()} were asked for, but there are {len(index.shown)}."
        )
    wanted, places = np.unique(rows, return_inverse=True)
    with damage_named(path):
        found = _sought(path, index, index.shown[wanted]) if index.trusted else []
        if len(found) < len(wanted):
            found = _counted(path, set(wanted.tolist()))
        return np.stack(found)[places]


def _sought(
    path: Path, index: _Index, wanted: Int64[np.ndarray, " n"]
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return the frames that are shown at the `wanted` times, as far as they are found."""
    reformatter = VideoReformatter()
    found: list[UInt8[np.ndarray, "height width 3"]] = []
    groups = np.searchsorted(index.keys, wanted, side="right") - 1
    with open_video(path) as (container, stream), suppress(av.error.InvalidDataError):
        for group in np.unique(groups[groups >= 0]):
            times = set(wanted[groups == group].tolist())
            last = max(times)
            container.seek(int(index.stored[group]), stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None or frame.pts > last:
                    break
                if frame.pts in times and not frame.is_corrupt:
                    found.append(reformatter.reformat(frame, format="rgb24").to_ndarray())
                if frame.pts == last:
                    break
    return found


def _counted(path: Path, rows: set[int]) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return frames by their numbers, decoding from the beginning."""
    found: list[UInt8[np.ndarray, "height width 3"]] = []
    with open_video(path) as (container, stream):
        for row, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise ValueError(f"frame {row} is damaged")
            if row in rows:
                found.append(frame.to_ndarray(format="rgb24"))
            if len(found) == len(rows):
                return found
    raise ValueError(f"only some of the frames {sorted(rows)} can be decoded")


def _index(path: Path) -> _Index:
    with damage_named(path):
        about = path.stat()
        return _read_index(path, about.st_size, about.st_mtime_ns)


@lru_cache(REMEMBERED)
def _read_index(path: Path, size: int, changed: int) -> _Index:  # noqa: ARG001
    """Size and time of change are part of what is remembered."""
    with open_video(path) as (container, stream):
        # The packet that ends a stream is empty; those of an edit list's cuts are not shown.
        packets = [
            (packet.pts, packet.dts, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
    times = [(pts, dts, key) for pts, dts, key in packets if pts is not None and dts is not None]
    trusted = len(times) == len(packets)
    if not trusted:
        times = [(number, number, not number) for number in range(len(packets))]
    shown = np.array(sorted(pts for pts, _, _ in times), np.int64)
    keys = np.array(sorted((pts, dts) for pts, dts, key in times if key), np.int64).reshape(-1, 2)
    return _Index(
        shown=shown,
        keys=keys[:, 0],
        stored=keys[:, 1],
        trusted=trusted and bool((np.diff(shown) > 0).all()),
    )
