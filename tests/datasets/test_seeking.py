from fractions import Fraction

import av
import numpy as np
import pytest
from episodes import read_stamp, stamped_frame

from vjepa_gym.datasets.video import seeking
from vjepa_gym.datasets.video.mp4 import read_video, write_video
from vjepa_gym.datasets.video.seeking import count_frames, read_frames_at
from vjepa_gym.errors import DatasetError

FRAMES = 60
OPEN = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:b-adapt=0:bframes=3:scenecut=0"}
ENCODINGS = {
    "ours": None,
    "b-frames": {"max_b_frames": 3, "gop_size": 12},
    "open groups": {"max_b_frames": 3, "gop_size": 10, "options": OPEN},
    "one keyframe": {"max_b_frames": 2, "gop_size": 250},
    "keyframes only": {"gop_size": 1},
    "another codec": {"codec": "mpeg4", "max_b_frames": 2, "gop_size": 12},
    "an odd rate": {"rate": Fraction(30000, 1001), "max_b_frames": 3, "gop_size": 12},
}


def encode(path, *, codec="libx264", rate=30, options=None, **context):
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for row in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(stamped_frame(row, 64), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_frames_are_those_that_were_asked_for_however_they_are_encoded(tmp_path, name):
    path = tmp_path / "video.mp4"
    if ENCODINGS[name] is None:
        images = np.stack([stamped_frame(row, 64) for row in range(FRAMES)])
        write_video(path, images, Fraction(15))
    else:
        encode(path, **ENCODINGS[name])
    whole, rng = read_video(path), np.random.default_rng(0)
    assert count_frames(path) == len(whole) == FRAMES
    clips = [start + 4 * np.arange(8) for start in range(0, FRAMES - 28, 3)]
    clips += [rng.choice(FRAMES, 5) for _ in range(10)] + [np.arange(FRAMES)[::-1].copy()]
    for rows in clips:
        images = read_frames_at(path, rows)
        assert [read_stamp(image) for image in images] == rows.tolist()
        np.testing.assert_array_equal(images, whole[rows])


def test_only_the_group_of_a_frame_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "video.mp4"
    encode(path, gop_size=15, max_b_frames=0)
    monkeypatch.setattr(seeking, "_counted", None)
    whole = read_video(path)
    with av.open(path) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        assert packets[0].pos is not None
        start, size = packets[0].pos, packets[0].size
    content = bytearray(path.read_bytes())
    content[start + size // 2 : start + size] = b"\0" * (size - size // 2)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_frames_at(path, np.array([31, 40])), whole[[31, 40]])


def test_what_cannot_be_sought_is_counted(tmp_path, monkeypatch):
    path = tmp_path / "video.mp4"
    encode(path, max_b_frames=2, gop_size=12)
    rows = np.array([40, 3, 3, 59])
    sought = read_frames_at(path, rows)
    monkeypatch.setattr(seeking, "_sought", lambda *_: [])
    np.testing.assert_array_equal(read_frames_at(path, rows), sought)


def test_frames_that_do_not_exist_are_named(tmp_path):
    path = tmp_path / "video.mp4"
    encode(path)
    for rows in ([FRAMES], [-1], []):
        with pytest.raises(DatasetError, match=rf"video\.mp4.*there are {FRAMES}"):
            read_frames_at(path, np.array(rows, np.int64))


def test_a_damaged_video_is_named(tmp_path):
    path = tmp_path / "video.mp4"
    with pytest.raises(DatasetError, match=r"video\.mp4"):
        read_frames_at(path, np.array([0]))
    encode(path)
    assert count_frames(path) == FRAMES
    path.write_bytes(path.read_bytes()[:-200])
    # What was remembered of the file before is not believed of the file now.
    with pytest.raises(DatasetError, match=r"video\.mp4: expected a whole MP4"):
        read_frames_at(path, np.array([0]))
