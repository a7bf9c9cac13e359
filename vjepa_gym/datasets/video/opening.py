"""Videos opened so that damage is an error, whoever encoded them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from vjepa_gym.datasets.droid.kinds import DefectError, defect
from vjepa_gym.datasets.storage.disk import is_full

MOST_PIXELS = 4416 * 2484
"""More than the largest picture of DROID's cameras, 4416 x 1242 in stereo."""
SIGNATURES = {b"\x1a\x45\xdf\xa3": "matroska", b"RIFF": "avi", b"GIF8": "gif"}
"""How files begin that are not MP4."""


ATTACHED_PICTURE = 1 << 10
"""FFmpeg's flag of a stream that is no video but a still picture."""


@dataclass(frozen=True)
class Opening:
    """How a video is opened.

    Attributes:
        container: Its format, as FFmpeg calls it. It is named, or a file could pass for a list of
            other files to be read.
        most_pixels: No picture has more.
    """

    container: str = "mp4"
    most_pixels: int = MOST_PIXELS


DROID = Opening()
"""What cameras of DROID write."""
LARGEST_PICTURE = 7680 * 4320
"""What anybody's videos may have [px]: 8K."""


def anybodys(path: Path) -> Opening:
    """Return how to open a video of any kind, whose first bytes tell more than its name.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(4)
    return Opening(SIGNATURES.get(start, "mp4"), LARGEST_PICTURE)


@contextmanager
def open_video(path: Path, how: Opening = DROID) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Yield a video and the stream of its pictures; enter `damage_named` first.

    Damage is an error instead of being painted over, and no claimed size is believed.

    Raises:
        DefectError: Its pictures are larger than any camera's.
        ValueError: It has no pictures, or is encoded in no known way.
    """
    with av.open(path, format=how.container, metadata_errors="replace") as container:
        # The cover of a piece of music is no video.
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            raise ValueError("it has no video stream")
        stream = streams[0]
        if stream.codec_context is None:
            raise ValueError("it is encoded in no known way")
        check_size(path, stream.height, stream.width, how.most_pixels)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {
            "err_detect": "explode",
            "max_pixels": str(how.most_pixels),
        }
        yield container, stream


def _is_cover(stream: VideoStream) -> bool:
    disposition = getattr(stream, "disposition", None)  # PyAV 14.0 does not tell
    return disposition is not None and bool(disposition.value & ATTACHED_PICTURE)


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


def check_size(path: Path, height: int, width: int, most: int = MOST_PIXELS) -> None:
    """Do nothing if a camera may have taken pictures of this size [px].

    Raises:
        DefectError: None has.
    """
    if height * width > most:
        whose = "camera of DROID" if most == MOST_PIXELS else "picture that is read here"
        said = f"{width} x {height} px are more than any {whose} has"
        raise DefectError(defect("video_size", path, said))


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise what goes wrong inside as a defect of a video.

    Raises:
        DefectError: The file is missing, truncated or not a video; where that is so for another
            reason than what is in it, an `OSError` is the cause.
        OSError: A disk is full.
    """
    try:
        yield
    except FileNotFoundError:
        raise DefectError(defect("missing_file", path, "not found")) from None
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        if is_full(error):  # what is written to, not what is read
            raise
        kind = path.suffix[1:].upper() or "MP4"
        said = f"expected a whole {kind} video, but {getattr(error, 'strerror', None) or error}"
        raise DefectError(defect("unreadable_video", path, said)) from error
