"""Episodes as video: H.264 in MP4, written so that seeking is cheap and the frame rate exact."""

from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from jaxtyping import UInt8

from vjepa_gym.errors import DatasetError

ENCODER = {"crf": "18", "preset": "veryfast"}
"""Visually lossless, and quick: an episode is encoded in tens of milliseconds."""
KEYFRAME_INTERVAL = 15
"""Frames between keyframes: a clip anywhere decodes at most this many frames too many."""


def write_video(
    path: Path, images: UInt8[np.ndarray, "rows height width 3"], rate: Fraction
) -> None:
    """Write RGB `images` as H.264 (yuv420p, no B-frames), `rate` frames a second exactly.

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
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_video(path: Path) -> UInt8[np.ndarray, "rows height width 3"]:
    """Return every frame of a video as RGB.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except (av.error.FFmpegError, IndexError) as error:
        raise DatasetError(f"{path}: expected a whole MP4 video, but {error}.") from error
    if not frames:
        raise DatasetError(f"{path}: expected a video, but it has no frame.")
    return np.stack(frames)


def remux(source: Path, target: Path, rate: Fraction) -> None:
    """Copy the one stream of a video without B-frames, frame for frame, to `rate` frames a second.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    try:
        with av.open(source) as there, av.open(target, "w", format="mp4") as here:
            video = there.streams.video[0]
            stream = here.add_stream_from_template(video)
            stream.time_base = 1 / rate
            for number, packet in enumerate(p for p in there.demux(video) if p.size):
                packet.stream, packet.time_base = stream, 1 / rate
                packet.pts = packet.dts = number
                packet.duration = 1
                here.mux(packet)
    except (av.error.FFmpegError, IndexError) as error:
        raise DatasetError(f"{source}: expected a whole MP4 video, but {error}.") from error
