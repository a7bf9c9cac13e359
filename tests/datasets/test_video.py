from fractions import Fraction

import av
import numpy as np
import pytest
from episodes import read_stamp, stamped_frame

from vjepa_gym.datasets.video import read_video, write_video
from vjepa_gym.errors import DatasetError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, np.stack([stamped_frame(row, 64) for row in range(40)]), Fraction(4))
    return path


def test_frames_come_back_in_order(path):
    assert [read_stamp(image) for image in read_video(path)] == list(range(40))


def test_pixels_come_back_within_the_codecs_error(tmp_path):
    row, column = np.mgrid[:64, :96]
    ramp = np.stack([row * 4, column * 2, 255 - row * 2], -1).astype(np.uint8)
    write_video(tmp_path / "ramp.mp4", np.stack([ramp] * 3), Fraction(4))
    read = read_video(tmp_path / "ramp.mp4")
    assert read.shape == (3, 64, 96, 3)
    assert np.abs(read.astype(int) - ramp).mean() < 3


@pytest.mark.parametrize("rate", [Fraction(4), Fraction(15), Fraction(60), Fraction(10, 3)])
def test_the_frame_rate_is_exact(tmp_path, rate):
    path = tmp_path / "video.mp4"
    write_video(path, np.zeros((21, 32, 32, 3), np.uint8), rate)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == rate
        assert container.streams.video[0].frames == 21


def test_the_video_seeks_cheaply(path):
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        assert [row for row, packet in enumerate(packets) if packet.is_keyframe] == [0, 15, 30]
        # No frame is shown in another order than it is stored in.
        assert all(packet.pts == packet.dts for packet in packets)


@pytest.mark.parametrize("shape", [(0, 32, 32, 3), (2, 31, 32, 3), (2, 32, 31, 3)])
def test_what_the_codec_cannot_take_is_refused(tmp_path, shape):
    with pytest.raises(DatasetError, match=r"video\.mp4.*even height and width"):
        write_video(tmp_path / "video.mp4", np.zeros(shape, np.uint8), Fraction(4))


def test_a_truncated_video_is_named(path):
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"video\.mp4: expected a whole MP4"):
        read_video(path)


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.mp4"):
        read_video(tmp_path / "none.mp4")


def test_a_video_without_pictures_is_named(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DatasetError, match=r"sound\.mp4"):
        read_video(path)
