"""Episodes as video: H.264 in MP4, written so that seeking is cheap and the frame rate exact."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from vjepa_gym.datasets.droid.kinds import DefectError, defect
from vjepa_gym.datasets.storage.disk import is_full
from vjepa_gym.datasets.video.yuv import to_yuv420
from vjepa_gym.errors import DatasetError

ENCODER = {"crf": "18", "preset": "veryfast", "x264-params": "cpu-independent=1"}
"""Visually lossless, quick, and the same bytes whatever the processor can do."""
KEYFRAME_INTERVAL = 15
"""Frames between keyframes: a clip anywhere decodes at most this many frames too many."""

MOST_PIXELS = 4416 * 2484
"""More than the largest picture of DROID's cameras, 4416 x 1242 in stereo."""
DECODER = {"err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
"""Damage is an error instead of being painted over, and no claimed size is believed."""


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
    with _damage_named(path):
        return np.stack([_rgb(frame, reformatter) for frame in _frames(path)])


def read_rows_of_video(
    path: Path, rows: int
) -> tuple[UInt8[np.ndarray, "found height width 3"], int]:
    """Return up to `rows` frames as RGB without ever keeping them twice, and how many there are.

    Raises:
        DatasetError: The file is missing, truncated or not a video, or a frame of it is damaged.
    """
    images, found, reformatter = None, 0, VideoReformatter()
    with _damage_named(path):
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
    with _damage_named(path), _open(path) as (container, stream):
        height, width, rate = stream.height, stream.width, stream.average_rate
        found = _frames(path) if decode else _packets(container, stream)
        return VideoFacts(frames=sum(1 for _ in found), height=height, width=width, rate=rate)


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    # The format is named, or a file could pass for a list of other files to be read.
    with av.open(path, format="mp4") as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError("it is encoded in no known way")
        _check_size(path, stream.height, stream.width)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = DECODER
        yield container, stream


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise ValueError("a frame is truncated")
        if packet.size and not packet.is_discard:
            yield packet


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of one size; what the decoder would conceal is refused."""
    size = None
    with _open(path) as (container, stream):
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


def _check_size(path: Path, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        said = f"{width} x {height} px are more than any camera of DROID has"
        raise DefectError(defect("video_size", path, said))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DefectError(defect("missing_file", path, "not found")) from None
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        if is_full(error):  # what is written to, not what is read
            raise
        said = f"expected a whole MP4 video, but {error}"
        raise DefectError(defect("unreadable_video", path, said)) from error


def remux(source: Path, target: Path, rate: Fraction) -> None:
    """Copy the one stream of a video without B-frames, frame for frame, to `rate` frames a second.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    with (
        _damage_named(source),
        _open(source) as (there, video),
        av.open(target, "w", format="mp4") as here,
    ):
        stream = here.add_stream_from_template(video)
        stream.time_base = 1 / rate
        for number, packet in enumerate(_packets(there, video)):
            packet.stream, packet.time_base = stream, 1 / rate
            packet.pts = packet.dts = number
            packet.duration = 1
            here.mux(packet)
