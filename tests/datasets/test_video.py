import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from episodes import read_stamp, stamped_frame

from vjepa_gym.datasets.droid.kinds import DefectError
from vjepa_gym.datasets.video.copying import remux
from vjepa_gym.datasets.video.mp4 import ENCODER, read_video, scan_video, write_video
from vjepa_gym.datasets.video.yuv import to_yuv420
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


def test_the_same_pixels_are_the_same_bytes_whatever_the_processor_can_do(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = np.stack([stamped_frame(row, 128) for row in range(20)])
    images[:, 70:] = rng.integers(0, 40, images[:, 70:].shape, np.uint8)
    written = []
    for name, parameters in (("fast", ""), ("again", ""), ("sse2", ":asm=sse2"), ("c", ":asm=0")):
        value = f"cpu-independent=1{parameters}"
        monkeypatch.setitem(ENCODER, "x264-params", value)
        write_video(tmp_path / f"{name}.mp4", images, Fraction(4))
        written.append((tmp_path / f"{name}.mp4").read_bytes())
    assert len(set(written)) == 1


def test_the_same_pixels_are_the_same_bytes_in_another_process(path, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from fractions import Fraction;"
        "from pathlib import Path; import numpy as np; from episodes import stamped_frame;"
        "from vjepa_gym.datasets.video.mp4 import write_video;"
        "images = np.stack([stamped_frame(row, 64) for row in range(40)]);"
        "write_video(Path(sys.argv[2]), images, Fraction(4))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "other.mp4")]
    subprocess.run(command, check=True)
    assert (tmp_path / "other.mp4").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (82, 90, 240)),
        ((0, 255, 0), (144, 54, 34)),
        ((0, 0, 255), (41, 240, 110)),
    ],
)
def test_colours_are_those_of_bt601_in_studio_range(colour, expected):
    planes = to_yuv420(np.tile(np.array(colour, np.uint8), (4, 6, 1)))
    assert planes.shape == (6, 6)
    flat = planes.reshape(-1)
    found = {tuple(part) for part in zip(flat[:6], flat[24:30], flat[30:], strict=True)}
    assert found == {expected}


def test_luma_is_within_one_of_what_ffmpeg_makes_of_any_colour():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    theirs = av.VideoFrame.from_ndarray(image, format="rgb24").to_ndarray(format="yuv420p")
    assert np.abs(to_yuv420(image).astype(int) - theirs)[:64].max() <= 1


def test_a_chroma_is_that_of_four_pixels_and_planes_follow_each_other():
    image = np.zeros((6, 10, 3), np.uint8)
    image[2:4, 4:6] = (255, 0, 0)
    frame = av.VideoFrame.from_ndarray(to_yuv420(image), format="yuv420p")
    read = frame.to_ndarray(format="rgb24").astype(int)
    assert np.abs(read[2:4, 4:6] - (255, 0, 0)).max() < 8
    read[1:5, 3:7] = 0  # readers blur chroma
    assert read.max() < 8


def test_pixels_come_back_better_than_by_ffmpegs_own_conversion(tmp_path):
    """A colour edge on even columns stays where it is."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = (255, 0, 0)
    write_video(tmp_path / "edge.mp4", np.stack([image] * 3), Fraction(4))
    read = read_video(tmp_path / "edge.mp4")[1].astype(int)
    assert np.abs(read[:, :30] - image[:, :30]).mean() < 3
    assert np.abs(read[:, 34:] - image[:, 34:]).mean() < 3


def _defects(path):
    try:
        read_video(path)
    except DefectError as error:
        return [error.defect]
    return []


def test_damage_that_a_player_would_conceal_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "video.mp4"
    write_video(path, rng.integers(0, 255, (8, 64, 64, 3), np.uint8), Fraction(4))
    whole = path.read_bytes()
    start, end = whole.find(b"mdat") + 900, whole.find(b"moov")
    refused = 0
    for position in range(start, end, (end - start) // 20):
        damaged = bytearray(whole)
        damaged[position : position + 30] = rng.bytes(30)
        path.write_bytes(damaged)
        refused += "unreadable_video" in [one.kind for one in _defects(path)]
    assert refused > 10


def test_the_size_that_a_header_claims_is_not_believed(path):
    content = bytearray(path.read_bytes())
    start = content.find(b"avc1", content.find(b"stsd")) + 28
    assert struct.unpack(">HH", content[start : start + 4]) == (64, 64)
    content[start : start + 4] = struct.pack(">HH", 60000, 60000)
    path.write_bytes(content)
    assert read_video(path).shape == (40, 64, 64, 3)


def test_a_list_of_other_files_is_no_video(tmp_path):
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile '/etc/hostname'\n")
    with pytest.raises(DatasetError, match=r"list\.mp4: expected a whole MP4"):
        read_video(path)


def test_a_video_is_counted_without_being_decoded(path):
    facts = scan_video(path, decode=False)
    assert facts == scan_video(path, decode=True)
    assert (facts.frames, facts.height, facts.width, facts.rate) == (40, 64, 64, Fraction(4))


def test_a_copy_has_the_same_frames_at_another_rate(path, tmp_path):
    remux(path, tmp_path / "copy.mp4", Fraction(60))
    assert scan_video(tmp_path / "copy.mp4", decode=False).rate == 60
    np.testing.assert_array_equal(read_video(tmp_path / "copy.mp4"), read_video(path))


def test_a_full_disk_is_not_taken_for_a_damaged_source(path):
    if not Path("/dev/full").exists():
        return
    with pytest.raises(OSError, match="No space left"):
        remux(path, Path("/dev/full"), Fraction(4))
