"""What a video is, found out once: how many frames, how fast, and whether they can be decoded."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from av.video.stream import VideoStream
from jaxtyping import Int64

from vjepa_gym.datasets.droid.kinds import DefectError, defect
from vjepa_gym.datasets.video.frame_times import FrameTimes, frame_times, pack, unpack
from vjepa_gym.datasets.video.opening import (
    LARGEST_PICTURE,
    Opening,
    anybodys,
    damage_named,
    open_video,
)
from vjepa_gym.datasets.video.seeking import read_frames_at

CHECKS = ("packets", "keyframes", "frames")
"""How far a video is looked into: none of its frames is decoded, some keyframes, or every frame,
which alone tells that all can be."""
KEYFRAMES_TRIED = 8
"""Spread over the whole video: two videos of different sizes, end to end, are told from one."""
GLANCE = 16
"""The shorter side of a frame that nobody looks at [px]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedVideo:
    """What is known of a video; short, since there may be a million of them.

    Attributes:
        frames: How many there are.
        height: Of each [px].
        width: Of each [px].
        rate: Frames a second, by the times at which they are shown; 0 if nothing is known.
        rotation: By which the file asks players to turn it [deg]; nothing here does.
        container: Its format, as FFmpeg calls it.
        trusted: Whether frames can be found by their times.
        packed: When frames are shown, and when keyframes are, as `pack` writes it; None if that
            has to be read anew.
    """

    frames: int
    height: int
    width: int
    rate: float
    rotation: int
    container: str
    trusted: bool
    packed: tuple[str, str] | None

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ProbedVideo":
        """Return what `as_json` was called of.

        Raises:
            KeyError: It is something else.
            TypeError: Likewise.
        """
        packed = values["packed"]
        return cls(**{**values, "packed": None if packed is None else tuple(packed)})

    def times(self, path: Path) -> FrameTimes:
        """Return when the frames are shown.

        Raises:
            DatasetError: That is not kept, and the file is missing or damaged.
        """
        how = Opening(self.container, LARGEST_PICTURE)
        if self.packed is None:
            return frame_times(path, how)
        shown, keys = map(unpack, self.packed)
        return FrameTimes(shown=shown, keys=keys, trusted=self.trusted, how=how)


def probe_video(path: Path, check: str = "keyframes") -> ProbedVideo:
    """Return what is known of a video of any kind.

    Args:
        path: The file.
        check: How far it is looked into, one of `CHECKS`.

    Raises:
        DatasetError: It is missing, empty, truncated, no video, or has no frame; or, as far as it
            is looked into, a frame cannot be decoded, or frames differ in size.
    """
    with damage_named(path):
        if not path.stat().st_size:
            raise ValueError("it is empty")
        how = anybodys(path)
        times = frame_times(path, how)
        if not len(times.shown):
            raise ValueError("it has no frame")
        with open_video(path, how) as (container, stream):
            size, step, rotation = (stream.height, stream.width), _step(stream), 0
            clock, header = stream.time_base or Fraction(0), stream.average_rate
            if check != "packets":
                first = next(iter(container.decode(stream)))
                size, rotation = (first.height, first.width), round(getattr(first, "rotation", 0))
    if check == "keyframes":
        read_frames_at(path, _spread_keyframes(times), times=times, max_side=GLANCE)
    elif check == "frames":
        times = _decode_all(path, times)
    return ProbedVideo(
        frames=len(times.shown),
        height=size[0],
        width=size[1],
        rate=_rate(times, clock, header),
        rotation=rotation,
        container=how.container,
        trusted=times.trusted,
        packed=_packed(times, step),
    )


def _step(stream: VideoStream) -> Fraction | None:
    """From one frame to the next in units of the stream's clock, as its header says."""
    if not stream.average_rate or not stream.time_base:
        return None
    return 1 / (stream.average_rate * stream.time_base)


def _rate(times: FrameTimes, clock: Fraction, header: Fraction | None) -> float:
    if times.trusted and len(times.shown) > 1 and clock:
        seconds = int(times.shown[-1] - times.shown[0]) * clock
        return float((len(times.shown) - 1) / seconds)
    return float(header or 0)


def _packed(times: FrameTimes, step: Fraction | None) -> tuple[str, str] | None:
    if not times.trusted:  # then they are only counted
        return pack(np.arange(len(times.shown))) or "", "0"
    shown, keys = pack(times.shown, step), pack(times.keys)
    return None if shown is None or keys is None else (shown, keys)


def _spread_keyframes(times: FrameTimes) -> Int64[np.ndarray, " some"]:
    if not times.trusted or not len(times.keys):
        return np.zeros(1, np.int64)
    some = np.linspace(0, len(times.keys) - 1, KEYFRAMES_TRIED).round().astype(np.int64)
    return np.searchsorted(times.shown, times.keys[np.unique(some)])


def _decode_all(path: Path, times: FrameTimes) -> FrameTimes:
    """Decode every frame, and return `times` without those that the decoder gives nothing for.

    Raises:
        DatasetError: A frame is damaged, or has another size than those before it.
    """
    shown: list[int | None] = []
    size = None
    with damage_named(path), open_video(path, times.how) as (container, stream):
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise ValueError(f"frame {len(shown)} is damaged")
                now = frame.width, frame.height
                if size not in (None, now):
                    said = "frame {} has {} x {} px, those before it {} x {}"
                    said = said.format(len(shown), *now, *size)
                    raise DefectError(defect("video_size", path, said))
                size = now
                shown.append(frame.pts)
        except av.error.InvalidDataError as error:
            raise ValueError(f"frame {len(shown)}, or one soon after it, is damaged") from error
        if not shown:
            raise ValueError("none of its frames can be decoded")
    if len(shown) == len(times.shown):
        return times
    found = [moment for moment in shown if moment is not None]
    if times.trusted and len(found) == len(shown) and (np.diff(found) > 0).all():
        return replace(times, shown=np.array(found, np.int64))
    numbers = np.arange(len(shown), dtype=np.int64)
    return replace(times, shown=numbers, keys=numbers[:1], trusted=False)
