"""Videos copied frame for frame as they are encoded, at another rate."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from vjepa_gym.datasets.video.opening import damage_named, open_video, packets_of


def remux(source: Path, target: Path, rate: Fraction) -> None:
    """Copy a whole video to `rate` frames a second; reordered frames stay in order.

    Raises:
        DatasetError: The file is missing, truncated or not a video.
    """
    with damage_named(source), open_video(source) as (there, stream):
        write_packets(target, stream, list(packets_of(there, stream)), rate)


def write_packets(
    target: Path, template: VideoStream, packets: Sequence[av.Packet], rate: Fraction
) -> None:
    """Write packets of one stream as a video.

    Args:
        target: The file.
        template: The stream that they are from.
        packets: In the order in which they are stored; at least one.
        rate: Frames a second.
    """
    shown = np.argsort(np.argsort([packet.pts or 0 for packet in packets])).tolist()
    # How far decoding must run ahead, so that no frame is shown before it.
    ahead = max(number - when for number, when in enumerate(shown))
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream_from_template(template)
        stream.time_base = 1 / rate
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, 1 / rate
            packet.pts, packet.dts = shown[number], number - ahead
            packet.duration = 1
            container.mux(packet)
