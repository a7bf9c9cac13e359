"""Small videos of many kinds whose every frame says which it is."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from episodes import stamped_frame


def write(
    path: Path,
    *,
    frames: int = 40,
    size: tuple[int, int] = (64, 64),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int | Fraction = 30,
    times: list[int] | None = None,
    container: str | None = None,
    options: dict | None = None,
    first: int = 0,
    **context,
) -> Path:
    """Write a video of stamped frames; `times` are in units of 1 / 600 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    with av.open(path, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 600)
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for row in range(frames):
            image = squeezed(first + row, size)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=pixels)
            if times is not None:
                frame.pts, frame.time_base = times[row], Fraction(1, 600)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def squeezed(number: int, size: tuple[int, int]) -> np.ndarray:
    """Return a stamped frame of any size."""
    image = stamped_frame(number, 256)
    rows = np.arange(size[0]) * 256 // size[0]
    columns = np.arange(size[1]) * 256 // size[1]
    return image[rows][:, columns]


def write_joined(path: Path, sizes: list[tuple[int, int]], frames: int = 20) -> Path:
    """Write one stream of JPEG frames whose size changes."""
    parts = []
    for number, size in enumerate(sizes):
        part = path.with_name(f"{number}-{path.stem}.avi")
        write(
            part, frames=frames, size=size, codec="mjpeg", pixels="yuvj420p", first=number * frames
        )
        parts.append(part)
    with av.open(path, "w") as output:
        stream = None
        number = 0
        for part in parts:
            with av.open(part) as source:
                there = source.streams.video[0]
                stream = stream or output.add_stream_from_template(there)
                for packet in source.demux(there):
                    if packet.size:
                        packet.stream, packet.pts, packet.dts = stream, number, number
                        packet.time_base = Fraction(1, 30)
                        output.mux(packet)
                        number += 1
            part.unlink()
    return path


def write_header(path: Path) -> Path:
    """Write a video that has no frame."""
    with av.open(path, "w") as output:
        stream = output.add_stream("mjpeg", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        output.start_encoding()
    return path


def write_sound(path: Path, *, cover: bool = False) -> Path:
    """Write a file that has sound only, or sound and the picture of a cover."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16000)
        if cover:
            picture = output.add_stream("mjpeg")
            picture.width = picture.height = 32
            picture.pix_fmt = "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            shown = av.VideoFrame.from_ndarray(stamped_frame(0, 32), format="rgb24")
            output.mux(picture.encode(shown.reformat(format="yuvj420p")))
            output.mux(picture.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def turn(path: Path) -> Path:
    """Have a video say that players shall turn it by a quarter."""
    content = bytearray(path.read_bytes())
    track = content.find(b"tkhd") + 4
    place = track + 4 + 20 + 16  # version 0: flags, times and numbers, then layers and volume
    whole = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[place : place + 36] = whole
    path.write_bytes(content)
    return path


def truncate(path: Path, part: float) -> Path:
    """Keep only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    return path


def spoil(path: Path, frame: int) -> Path:
    """Overwrite the bytes of the frame that is stored there."""
    with av.open(path) as container:
        stored = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        place, size = stored[frame].pos, stored[frame].size
    content = bytearray(path.read_bytes())
    content[place + 4 : place + size] = b"\xff" * (size - 4)
    path.write_bytes(content)
    return path
