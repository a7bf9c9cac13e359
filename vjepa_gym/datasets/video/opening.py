"""Videos opened so that damage is an error, whoever encoded them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from vjepa_gym.datasets.droid.kinds import DefectError, defect
from vjepa_gym.datasets.storage.disk import is_full

MOST_PIXELS = 4416 * 2484
"""More than the largest picture of DROID's cameras, 4416 x 1242 in stereo."""
DECODER = {"err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
"""Damage is an error instead of being painted over, and no claimed size is believed."""


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Yield a video and its one stream; enter `damage_named` first.

    Raises:
        DefectError: Its pictures are larger than any camera's.
        ValueError: It is encoded in no known way.
    """
    # The format is named, or a file could pass for a list of other files to be read.
    with av.open(path, format="mp4", metadata_errors="replace") as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError("it is encoded in no known way")
        check_size(path, stream.height, stream.width)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = DECODER
        yield container, stream


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """Yield what holds a frame, in the order in which it is stored.

    Raises:
        ValueError: A frame is truncated.
    """
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise ValueError("a frame is truncated")
        if packet.size and not packet.is_discard:
            yield packet


def check_size(path: Path, height: int, width: int) -> None:
    """Do nothing if a camera may have taken pictures of this size [px].

    Raises:
        DefectError: None has.
    """
    if height * width > MOST_PIXELS:
        said = f"{width} x {height} px are more than any camera of DROID has"
        raise DefectError(defect("video_size", path, said))


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise what goes wrong inside as a defect of a video.

    Raises:
        DefectError: The file is missing, truncated or not a video.
        OSError: A disk is full.
    """
    try:
        yield
    except FileNotFoundError:
        raise DefectError(defect("missing_file", path, "not found")) from None
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        if is_full(error):  # what is written to, not what is read
            raise
        said = f"expected a whole MP4 video, but {getattr(error, 'strerror', None) or error}"
        raise DefectError(defect("unreadable_video", path, said)) from error
