"""Episodes as video: H.264 in MP4, written so that seeking is cheap and the frame rate exact."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from vjepa_gym.datasets.droid.kinds import DefectError, defect
from vjepa_gym.datasets.video.opening import damage_named, open_video, packets_of
from vjepa_gym.datasets.video.yuv import to_yuv420
from vjepa_gym.errors import DatasetError

ENCODER = {"crf": "18", "preset": "veryfast", "x264-params": "cpu-independent=1"}
"""Visually lossless, quick, and the same bytes whatever the processor can do."""
KEYFRAME_INTERVAL = 15
"""Frames between keyframes: a clip anywhere decodes at most this many frames too many."""


def write_video(
    path: Path, images: UInt8[np.ndarray, "rows height width 3"], rate: Fraction
) -> None:
    """Write RGB `images` as H.264 (yuv420p, no B-frames), `rate` frames a second exactly.

    The bytes are a function of the images, the rate and the version of x264.

    Raises:
        DatasetError: There is no image, or height or width is odd.
    """
    rows, height, width, _ = images.shape
    if not rows or height % 2 or width % 2:
        raise DatasetError(
            f"{path}: a video needs at least one image with even height and width, got "
            f"{rows} of {height} x {width} px."
        )
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = KEYFRAME_INTERVAL
        stream.codec_context.max_b_frames = 0
        # The collector runs one process a core; x264's own threads would only fight over them.
        stream.codec_context.thread_count = 1
        for image in images:
            frame = av.VideoFrame.from_ndarray(to_yuv420(image), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_video(path: Path) -> UInt8[np.ndarray, "rows height width 3"]:
    """Return every frame of a video as RGB.

    Raises:
        DatasetError: The file is missing, truncated or not a video, or a frame of it is damaged.
    """
    reformatter = VideoReformatter()
    with damage_named(path):
        return np.stack([_rgb(frame, reformatter) for frame in _frames(path)])


def read_rows_of_video(
    path: Path, rows: int
) -> tuple[UInt8[np.ndarray, "found height width 3"], int]:
    """Return up to `rows` frames as RGB without ever keeping them twice, and how many there are.

    Raises:
        DatasetError: The file is missing, truncated or not a video, or a frame of it is damaged.
    """
    images, found, reformatter = None, 0, VideoReformatter()
    with damage_named(path):
        for frame in _frames(path):
            if images is None:
                images = np.empty((rows, frame.height, frame.width, 3), np.uint8)
            if found < rows:
                images[found] = _rgb(frame, reformatter)
            found += 1
    if images is None:
        raise AssertionError("a video without frames is refused")
    return images[:found], found


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of a video.

    Attributes:
        frames: How many there are.
        height: Of each [px].
        width: Of each [px].
        rate: What the header says [frames a second]; None if nothing.
    """

    frames: int
    height: int
    width: int
    rate: Fraction | None


def scan_video(path: Path, *, decode: bool) -> VideoFacts:
    """Return what is known of a video that is whole.

    Args:
        path: The file.
        decode: Whether every frame is decoded, which alone tells that it can be.

    Raises:
        DatasetError: The file is missing, truncated or not a video, or a frame of it is damaged.
    """
    with damage_named(path), open_video(path) as (container, stream):
        height, width, rate = stream.height, stream.width, stream.average_rate
        found = _frames(path) if decode else packets_of(container, stream)
        return VideoFacts(frames=sum(1 for _ in found), height=height, width=width, rate=rate)


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of one size; what the decoder would conceal is refused."""
    size = None
    with open_video(path) as (container, stream):
        for packet in container.demux(stream):
            for frame in packet.decode():
                if packet.is_corrupt or frame.is_corrupt:
                    raise ValueError("a frame is damaged")
                if size not in (None, (frame.height, frame.width)):
                    said = f"expected frames of {size} px, found {(frame.height, frame.width)}"
                    raise DefectError(defect("video_size", path, said))
                size = (frame.height, frame.width)
                yield frame
    if size is None:
        raise ValueError("it has no frame")


def _rgb(
    frame: av.VideoFrame, reformatter: VideoReformatter
) -> UInt8[np.ndarray, "height width 3"]:
    return reformatter.reformat(frame, format="rgb24").to_ndarray()
