"""The part of a video that belongs to one episode: read, or copied without being encoded anew."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from jaxtyping import UInt8

from vjepa_gym.datasets.video.copying import write_packets
from vjepa_gym.datasets.video.opening import damage_named, open_video
from vjepa_gym.errors import DatasetError

COPIED = ("h264", "mpeg4")
"""Codecs that readers of DROID decode; LeRobot's own default, AV1, is none of them."""
MARGIN = 16
"""Frames before those sought at which to begin: more than any encoder reorders."""


def describe(path: Path) -> dict[str, Any]:
    """Return what LeRobot's `info.json` says of a video, but for its rate.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    with damage_named(path), open_video(path) as (_, stream):
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.is_depth_map": False,
            "video.channels": 3,
            "has_audio": False,
        }


def header_of(path: Path) -> Fraction | None:
    """Return the frames a second that a video says it has; None if it says nothing.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    with damage_named(path), open_video(path) as (_, stream):
        return stream.average_rate


def read_part(
    path: Path, start: float, rows: int, rate: Fraction
) -> UInt8[np.ndarray, "rows height width 3"]:
    """Return `rows` frames, a `rate`-th of a second apart, from `start` [s] on.

    Raises:
        DatasetError: The file is missing, truncated, or has other frames at these times.
    """
    frames: list[np.ndarray] = []
    with damage_named(path), open_video(path) as (container, _):
        _seek(container, start, rate)
        for frame in container.decode(video=0):
            place = _place(frame.pts, frame.time_base, start, rate)
            if place > rows - 0.5:
                break
            if place < -0.5:
                continue
            if frame.is_corrupt:
                raise DatasetError(f"{path}: frame {len(frames)} from {start:g} s on is damaged.")
            if abs(place - len(frames)) > 0.25:
                raise DatasetError(
                    f"{path}: expected {rows} frames, one every {float(1 / rate):g} s from "
                    f"{start:g} s on; number {len(frames)} is {place - len(frames):+.2f} frames "
                    "away from where it should be."
                )
            frames.append(frame.to_ndarray(format="rgb24"))
    if len(frames) != rows:
        raise DatasetError(
            f"{path}: expected {rows} frames from {start:g} s on, not {len(frames)}."
        )
    return np.stack(frames)


def copy_part(path: Path, target: Path, start: float, rows: int, rate: Fraction) -> bool:
    """Copy the same frames as `read_part` as they are encoded, if that is possible.

    It is if they begin at a keyframe, none is reordered, and readers of DROID know the codec.

    Returns:
        Whether `target` was written.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    with damage_named(path), open_video(path) as (there, stream):
        if stream.codec.canonical_name not in COPIED:
            return False
        packets = list(_packets(there, start, rows, rate))
        moments = [packet.pts or 0 for packet in packets]
        ordered = all(one < following for one, following in pairwise(moments))
        if len(packets) != rows or not packets[0].is_keyframe or not ordered:
            return False
        write_packets(target, stream, packets, rate)
    return True


def _packets(
    container: InputContainer, start: float, rows: int, rate: Fraction
) -> Iterator[av.Packet]:
    """Yield the packets shown within the part, in the order in which they are stored."""
    _seek(container, start, rate)
    for packet in container.demux(video=0):
        place = _place(packet.pts, packet.time_base, start, rate)
        # Reordered frames are stored before or after their time by a few packets.
        if place > rows + MARGIN:
            return
        if packet.size and -0.5 <= place <= rows - 0.5:
            yield packet


def _seek(container: InputContainer, start: float, rate: Fraction) -> None:
    stream = container.streams.video[0]
    begin = Fraction(start) - MARGIN / rate
    if begin > 0 and stream.time_base:
        container.seek(int(begin / stream.time_base), stream=stream)


def _place(moment: int | None, unit: Fraction | None, start: float, rate: Fraction) -> float:
    """Return which frame of a part is shown at `moment`, counted from its first; far if unknown."""
    if moment is None or unit is None:
        return -np.inf
    return float((moment * unit - Fraction(start)) * rate)
