import json
import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import cv2
import numpy as np
import pytest
from episodes import read_stamp, stamped_frame
from PIL import Image
from video_files import spoil, truncate, turn, write, write_header, write_joined, write_sound

from vjepa_gym.datasets.video import remembering, seeking
from vjepa_gym.datasets.video.folder import ImageFolder, VideoFolder
from vjepa_gym.datasets.video.frame_times import MOST_RUNS, pack, unpack
from vjepa_gym.datasets.video.probing import CHECKS, probe_video
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.types import Videos

REORDERED = {"max_b_frames": 3, "gop_size": 12}
UNEVEN = np.random.default_rng(0).integers(5, 60, 40).cumsum().tolist()
KINDS = {
    "h264.mp4": REORDERED,
    "upper.MP4": {"container": "mp4", **REORDERED},
    "h264.mkv": REORDERED,
    "h264.mov": REORDERED,
    "h264.m4v": {"container": "mp4", **REORDERED},
    "h264.avi": REORDERED,
    "jpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "mpeg4.avi": {"codec": "mpeg4", "max_b_frames": 2, "gop_size": 12},
    "vp9.webm": {"codec": "libvpx-vp9", "gop_size": 10},
    "picture.gif": {"codec": "gif", "pixels": "rgb8", "rate": 10},
    "uneven.mp4": {"times": UNEVEN, **REORDERED},
    "uneven.mkv": {"times": UNEVEN, **REORDERED},
    "odd.mkv": {"codec": "mjpeg", "pixels": "yuvj444p", "size": (63, 65)},
    "odd.webm": {"codec": "libvpx-vp9", "size": (63, 65)},
    "grey.mkv": {"codec": "ffv1", "pixels": "gray"},
    "close.mp4": {"max_b_frames": 2, "gop_size": 3},
    "matroska.mp4": {"container": "matroska", **REORDERED},
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "videos"
    root.mkdir()
    return root


@pytest.mark.parametrize("name", KINDS)
def test_frames_of_any_kind_of_video_are_those_that_were_asked_for(root, name):
    write(root / name, **KINDS[name])
    videos = VideoFolder(root)
    assert isinstance(videos, Videos)
    assert (videos.names, videos.lengths.tolist(), videos.left_out) == ([name], [40], {})
    rng = np.random.default_rng(0)
    for rows in (
        np.arange(0, 40, 5),
        np.array([39]),
        np.array([17, 3, 3, 30]),
        rng.permutation(40),
    ):
        images = videos.read(0, rows)
        assert [read_stamp(image) for image in images] == rows.tolist()
        assert images.shape[1:3] == KINDS[name].get("size", (64, 64))


def test_the_rate_is_that_of_the_times_and_not_of_the_header(root):
    write(root / "even.mp4", rate=25)
    write(root / "uneven.mp4", times=UNEVEN)
    videos = VideoFolder(root)
    seconds = (UNEVEN[-1] - UNEVEN[0]) / 600
    np.testing.assert_allclose(videos.rates, [25, 39 / seconds], rtol=1e-3)


def test_what_is_remembered_finds_the_same_frames_as_what_is_read(root):
    for name, options in KINDS.items():
        write(root / name, **options)
    first, again = VideoFolder(root), VideoFolder(root)
    assert first.names == again.names == sorted(KINDS)
    np.testing.assert_array_equal(first.lengths, again.lengths)
    np.testing.assert_array_equal(first.rates, again.rates)
    rows = np.array([2, 31, 38])
    for video in range(len(first)):
        np.testing.assert_array_equal(first.read(video, rows), again.read(video, rows))


def test_videos_are_found_in_nested_folders_by_any_name_once(root):
    write(root / "b.mp4", frames=2)
    write(root / "späße/日本 語/a b.MKV", frames=2, container="matroska")
    write(root / ".hidden.mp4", frames=2)
    write(root / ".trash/c.mp4", frames=2)
    (root / "notes.txt").write_text("nothing")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "späße/back").symlink_to(root / "späße", target_is_directory=True)
    outside = root.parent / "elsewhere"
    write(outside / "d.mp4", frames=2)
    (root / "linked").symlink_to(outside, target_is_directory=True)
    videos = VideoFolder(root)
    assert videos.names == ["b.mp4", "linked/d.mp4", "späße/日本 語/a b.MKV"]
    for video in range(3):
        assert read_stamp(videos.read(video, np.array([1]))[0]) == 1


def damaged(root):
    """Write one of each kind, and return what must be said of it."""
    truncate(write(root / "cut.mp4"), 0.7)
    truncate(write(root / "cut early.mp4", options={"movflags": "faststart"}), 0.5)
    (root / "text.mp4").write_text("ffconcat version 1.0\nfile '/etc/hostname'\n")
    (root / "empty.mp4").touch()
    (root / "nothing.mp4").symlink_to(root / "nowhere.mp4")
    write_sound(root / "sound.mp4")
    write_sound(root / "cover.mp4", cover=True)
    write_header(root / "no frame.avi")
    write_joined(root / "grows.mkv", [(32, 48), (64, 64)])
    return {
        "cut.mp4": "expected a whole MP4",
        "cut early.mp4": "expected a whole MP4",
        "text.mp4": "expected a whole MP4",
        "empty.mp4": "it is empty",
        "nothing.mp4": "No such file",
        "sound.mp4": "no video stream",
        "cover.mp4": "no video stream",
        "no frame.avi": "no frame",
        "grows.mkv": r"has 64 x 64 px, those before it 48 x 32",
    }


def test_damaged_videos_are_named_and_counted_or_left_out(root):
    expected = damaged(root)
    write(root / "whole.mp4")
    with pytest.raises(DatasetError, match="9 of 10 videos cannot be used") as caught:
        VideoFolder(root)
    assert "job.skip_bad=true" in str(caught.value)
    for name in expected:
        assert name in str(caught.value)
    for _ in range(2):  # remembered too
        videos = VideoFolder(root, on_defect="skip")
        assert videos.names == ["whole.mp4"]
        assert set(videos.left_out) == set(expected)
        for name, said in expected.items():
            assert said in videos.left_out[name], name


def test_only_the_first_ten_of_many_are_listed(root):
    for number in range(13):
        (root / f"{number:02}.mp4").touch()
    write(root / "whole.mp4", frames=2)
    with pytest.raises(DatasetError) as caught:
        VideoFolder(root)
    lines = str(caught.value).splitlines()
    assert "13 of 14" in lines[0]
    assert (len(lines), lines[-1].strip()) == (12, "and 3 more")


def test_nothing_that_can_be_used_is_an_error_even_if_damage_is_skipped(root):
    (root / "a.mp4").touch()
    with pytest.raises(DatasetError, match="1 of 1 videos cannot be used") as caught:
        VideoFolder(root, on_defect="skip")
    assert "skip_bad" not in str(caught.value)


def test_a_missing_or_empty_folder_and_a_wrong_word_are_errors(root):
    with pytest.raises(DatasetError, match=r"no video anywhere below it \(\.mp4, "):
        VideoFolder(root)
    with pytest.raises(DatasetError, match="none: expected a folder of images, found none"):
        ImageFolder(root / "none")
    write(root / "a.mp4", frames=2)
    with pytest.raises(UnknownNameError, match="on_defect 'ignore'"):
        VideoFolder(root, on_defect="ignore", check="frames")
    with pytest.raises(UnknownNameError, match="check 'all'"):
        VideoFolder(root, check="all")


def test_damage_in_the_middle_is_found_by_decoding_all_and_named_where_it_is_read(root):
    spoil(write(root / "a.mp4", gop_size=100, max_b_frames=0), 20)
    videos = VideoFolder(root)
    assert read_stamp(videos.read(0, np.array([10]))[0]) == 10
    with pytest.raises(DatasetError, match=r"a\.mp4: .*frame 20, or one soon after"):
        videos.read(0, np.array([30]))
    write(root / "b.mp4")
    videos = VideoFolder(root, on_defect="skip")
    assert videos.names == ["b.mp4"]
    assert "frame 20, or one soon after it, is damaged" in videos.left_out["a.mp4"]
    # What was once found is not forgotten by who looks less far.
    with pytest.raises(DatasetError, match="frame 20"):
        VideoFolder(root)
    assert VideoFolder(root, on_defect="skip", check="packets").names == ["b.mp4"]


def test_a_change_of_size_between_the_frames_of_a_clip_is_named(root):
    path = write_joined(root / "a.mkv", [(64, 64), (32, 48), (64, 64)])
    assert probe_video(path, "packets").frames == 60
    videos = VideoFolder(root, check="packets")
    assert videos.read(0, np.arange(20, 40)).shape == (20, 32, 48, 3)
    with pytest.raises(DatasetError, match=r"a\.mkv: frame 20 has 48 x 32 px, those before it 64"):
        videos.read(0, np.arange(15, 25))


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_finds_the_same(root, check):
    for name, options in KINDS.items():
        expected = probe_video(write(root / name, **options))
        assert probe_video(root / name, check) == expected
        assert type(expected).from_json(json.loads(json.dumps(expected.as_json()))) == expected


def test_a_header_that_lies_about_the_number_of_frames_is_not_believed(root):
    path = write(root / "a.avi", codec="mjpeg", pixels="yuvj420p")
    content = bytearray(path.read_bytes())
    for place in (content.find(b"avih") + 8 + 16, content.find(b"strh") + 8 + 32):
        assert int.from_bytes(content[place : place + 4], "little") == 40
        content[place : place + 4] = (9999).to_bytes(4, "little")
    path.write_bytes(content)
    assert VideoFolder(root).lengths.tolist() == [40]


def test_a_video_of_one_frame_is_read(root):
    write(root / "one.mp4", frames=1)
    videos = VideoFolder(root)
    assert (videos.lengths.tolist(), videos.rates.tolist()) == ([1], [30.0])
    assert read_stamp(videos.read(0, np.array([0, 0]))[1]) == 0


def test_frames_are_taken_as_they_are_stored_though_players_turn_them(root):
    turn(write(root / "a.mp4", size=(48, 64)))
    videos = VideoFolder(root)
    assert videos.notes == {"a.mp4": "players turn it by -90 degrees; frames are taken as stored"}
    images = videos.read(0, np.array([5, 6]))
    assert images.shape == (2, 48, 64, 3)
    assert [read_stamp(image) for image in images] == [5, 6]


@pytest.mark.parametrize(("size", "shape"), [((96, 128), (32, 43)), ((128, 64), (64, 32))])
def test_large_frames_are_scaled_down_and_small_ones_are_not(root, size, shape):
    write(root / "large.mp4", size=size)
    write(root / "small.mp4", size=(32, 32))
    videos = VideoFolder(root, max_side=32)
    whole = VideoFolder(root)
    images = videos.read(0, np.array([3, 33]))
    assert images.shape[1:3] == shape
    assert [read_stamp(image) for image in images] == [3, 33]
    assert videos.read(1, np.array([3])).shape[1:3] == (32, 32)
    smaller = cv2.resize(whole.read(0, np.array([3]))[0], shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(images[0].astype(int) - smaller).mean() < 3


def test_rows_that_are_not_there_are_named(root):
    write(root / "a.mp4")
    videos = VideoFolder(root)
    for rows in ([40], [-1], []):
        with pytest.raises(DatasetError, match=r"a\.mp4: frames .* but there are 40"):
            videos.read(0, np.array(rows, np.int64))


def test_a_file_that_changes_or_goes_while_it_is_read_is_named(root):
    path = write(root / "a.mp4")
    videos = VideoFolder(root)
    write(path, frames=20)
    with pytest.raises(DatasetError, match=r"a\.mp4: the file has changed"):
        videos.read(0, np.array([30]))
    path.unlink()
    with pytest.raises(DatasetError, match=r"a\.mp4: No such file"):
        videos.read(0, np.array([30]))


def test_threads_and_other_processes_read_the_same(root):
    write(root / "a.mp4", **REORDERED)
    write(root / "b.mkv", **REORDERED)
    videos = pickle.loads(pickle.dumps(VideoFolder(root, max_side=48)))
    jobs = [(video, row) for row in range(0, 40, 3) for video in range(2)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: videos.read(job[0], np.array([job[1]])), jobs))
    assert [read_stamp(images[0]) for images in found] == [row for _, row in jobs]


def test_clips_seek_rather_than_decode_the_whole_video(root, monkeypatch):
    write(root / "a.mp4", frames=200, gop_size=20, options={"sc_threshold": "0"})
    videos = VideoFolder(root)
    monkeypatch.setattr(seeking, "_counted", None)
    begun = []
    passes = seeking._passes
    monkeypatch.setattr(seeking, "_passes", lambda *a: begun.append(passes(*a)) or begun[-1])
    videos.read(0, np.array([12, 30, 150]))
    # From 12 to 30 it is quicker to go on; from 30 to 150 it is not.
    assert [(int(key), rows.tolist()) for key, rows in begun[0]] == [(0, [12, 30]), (7, [150])]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_decoding_begins_at_the_keyframe_and_no_earlier(root, ending, monkeypatch):
    write(root / f"a.{ending}", frames=90, **REORDERED, options={"sc_threshold": "0"})
    videos = VideoFolder(root)
    decoded = []
    sought = seeking._decoded

    def count(frames, *others):
        def counted():
            for frame in frames:
                decoded.append(frame)
                yield frame

        return sought(counted(), *others)

    monkeypatch.setattr(seeking, "_decoded", count)
    assert read_stamp(videos.read(0, np.array([61]))[0]) == 61
    assert len(decoded) == 2


def test_where_a_container_begins_too_late_it_is_sought_earlier(root, monkeypatch):
    write(root / "a.mp4", frames=90, gop_size=6, options={"sc_threshold": "0"})
    videos = VideoFolder(root)
    monkeypatch.setattr(seeking, "_counted", None)
    late, sought = [], seeking._decoded

    def too_late(frames, *others):
        late.append(True)
        return sought(frames, *others) if len(late) > 1 else []

    monkeypatch.setattr(seeking, "_decoded", too_late)
    assert read_stamp(videos.read(0, np.array([61]))[0]) == 61
    assert len(late) == 2


def test_a_second_start_looks_into_no_file_again_but_those_that_changed(root, monkeypatch):
    small = write(root / "0.mp4", frames=2, size=(16, 16)).read_bytes()
    for number in range(1, 500):
        (root / f"{number}.mp4").write_bytes(small)
    seen = []
    VideoFolder(root, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 500)
    assert seen[-1] == (500, 500)
    looked = []
    monkeypatch.setattr(
        "vjepa_gym.datasets.video.folder.probe_video",
        lambda path, check: looked.append(path.name) or probe_video(path, check),
    )
    began = perf_counter()
    assert len(VideoFolder(root)) == 500
    assert perf_counter() - began < 3
    assert looked == []
    write(root / "7.mp4", frames=3, size=(16, 16))
    os.utime(root / "8.mp4", (1, 1))
    (root / "9.mp4").unlink()
    write(root / "a.mp4", frames=4, size=(16, 16))
    videos = VideoFolder(root)
    assert sorted(looked) == ["7.mp4", "8.mp4", "a.mp4"]
    assert videos.lengths[videos.names.index("7.mp4")] == 3
    assert "9.mp4" not in videos.names


def test_who_looks_further_looks_anew_and_who_looks_less_far_does_not(root, monkeypatch):
    write(root / "a.mp4", frames=2)
    looked = []
    monkeypatch.setattr(
        "vjepa_gym.datasets.video.folder.probe_video",
        lambda path, check: looked.append(check) or probe_video(path, check),
    )
    VideoFolder(root)
    VideoFolder(root, on_defect="skip")
    VideoFolder(root)
    assert looked == ["keyframes", "frames"]


def test_what_is_remembered_may_be_damaged_deleted_or_of_another_format(root):
    write(root / "a.mp4")
    index = root.parent / "videos.cache/videos.json"
    VideoFolder(root)
    whole = json.loads(index.read_text())
    for text in ("", "{", "[]", '{"format": 1}', '{"format": 1, "files": {"a.mp4": 3}}'):
        index.write_text(text)
        assert VideoFolder(root).lengths.tolist() == [40]
        assert json.loads(index.read_text()) == whole
    index.write_text(json.dumps({**whole, "format": 0}))
    index.unlink()
    assert VideoFolder(root).lengths.tolist() == [40]
    assert [path.name for path in index.parent.glob("*.json")] == ["videos.json"]


def test_where_nothing_can_be_written_it_is_kept_elsewhere_or_not_at_all(root, monkeypatch):
    write(root / "a.mp4")
    (root.parent / "videos.cache").write_text("in the way")
    own = root.parent / "own"
    monkeypatch.setenv("XDG_CACHE_HOME", str(own))
    assert VideoFolder(root).lengths.tolist() == [40]
    (kept,) = own.rglob("videos.json")
    assert "a.mp4" in json.loads(kept.read_text())["files"]
    blocked = root.parent / "blocked"
    blocked.write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert VideoFolder(root).lengths.tolist() == [40]


def test_a_disk_that_is_full_is_no_reason_to_stop(root, monkeypatch, caplog):
    write(root / "a.mp4")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remembering, "replace_file", full)
    with caplog.at_level(logging.INFO):
        assert VideoFolder(root).lengths.tolist() == [40]
    assert "No space left" in caplog.text


def test_what_was_found_before_a_start_is_stopped_is_kept(root):
    for number in range(6):
        write(root / f"{number}.mp4", frames=2)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        VideoFolder(root, workers=1, on_progress=stop)
    index = json.loads((root.parent / "videos.cache/videos.json").read_text())
    assert sorted(index["files"]) == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_right_that_is_missing_is_not_remembered_as_damage(root, monkeypatch):
    write(root / "a.mp4")
    write(root / "b.mp4")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("vjepa_gym.datasets.video.probing.anybodys", refuse)
        with pytest.raises(DatasetError, match="Permission denied"):
            VideoFolder(root)
    assert VideoFolder(root).names == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    "times",
    [[], [5], [0, 1, 2], [-1024, 0, 512, 513], [7, 3, -2, 900], [0, 33, 67, 100, 133, 167]],
)
def test_times_are_written_down_and_read_back(times):
    values = np.array(times, np.int64)
    text = pack(values)
    assert text is not None
    np.testing.assert_array_equal(unpack(text), values)


def test_times_without_order_are_not_written_down():
    values = np.random.default_rng(0).integers(0, 10**6, 2 * MOST_RUNS).cumsum()
    assert pack(values) is None


def test_times_that_are_too_many_are_read_anew(root, monkeypatch):
    write(root / "uneven.mkv", times=UNEVEN, **REORDERED)
    monkeypatch.setattr("vjepa_gym.datasets.video.frame_times.MOST_RUNS", 3)
    for _ in range(2):
        videos = VideoFolder(root)
        assert read_stamp(videos.read(0, np.array([33]))[0]) == 33
    assert '"packed": null' in (root.parent / "videos.cache/videos.json").read_text()


def picture(size=64, number=5):
    return Image.fromarray(stamped_frame(number, size))


def test_images_of_any_kind_are_videos_of_one_frame(root):
    (root / "below").mkdir()
    picture().save(root / "a.jpg", quality=95)
    picture().save(root / "b.PNG")
    picture().save(root / "below/ünï.webp", lossless=True)
    picture().save(root / "c.bmp")
    picture().convert("L").save(root / "grey.jpeg", quality=95)
    picture().convert("CMYK").save(root / "cmyk.jpg", quality=95)
    picture().quantize(16).save(root / "palette.png")
    picture().convert("1").save(root / "bits.png")
    deep = np.asarray(picture().convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(root / "deep.png")
    cv2.imwrite(str(root / "deeper.png"), np.asarray(picture()).astype(np.uint16) * 257)
    images = ImageFolder(root)
    assert isinstance(images, Videos)
    assert len(images) == 10
    assert images.lengths.tolist() == [1] * 10
    assert images.rates.tolist() == [0.0] * 10
    expected = np.asarray(picture())
    for number, name in enumerate(images.names):
        found = images.read(number, np.array([0, 0]))
        assert found.shape == (2, 64, 64, 3)
        assert read_stamp(found[0]) == 5, name
        if name != "bits.png":
            assert np.abs(found[1].astype(int) - expected).mean() < 3, name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_the_right_way_up(root, orientation):
    """Stored as cameras store them: turned or mirrored, and a tag that says how to undo it."""
    upright = np.asarray(picture())[:, :48]
    undone = {
        **{1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1]},
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undone[orientation])).save(root / "a.png", exif=exif)
    np.testing.assert_array_equal(ImageFolder(root).read(0, np.array([0]))[0], upright)


def test_transparent_parts_are_white(root):
    image = np.zeros((16, 16, 4), np.uint8)
    image[:8] = (255, 0, 0, 255)
    Image.fromarray(image).save(root / "a.png")
    found = ImageFolder(root).read(0, np.array([0]))[0]
    assert (found[:8] == (255, 0, 0)).all()
    assert (found[8:] == 255).all()


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_large_images_are_scaled_down(root, ending):
    picture(512).crop((0, 0, 512, 256)).save(root / f"a.{ending}")
    found = ImageFolder(root, max_side=50).read(0, np.array([0]))
    assert found.shape == (1, 50, 100, 3)
    assert read_stamp(np.repeat(found[0], 2, axis=0)) == 5
    assert ImageFolder(root, max_side=300).read(0, np.array([0])).shape == (1, 256, 512, 3)


def test_broken_images_are_named_or_left_out(root):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
    for ending in ("jpg", "png", "webp", "bmp"):
        noise.save(root / f"cut.{ending}")
        truncate(root / f"cut.{ending}", 0.6)
    (root / "empty.png").touch()
    (root / "text.jpg").write_text("no image")
    picture().save(root / "whole.png")
    with pytest.raises(DatasetError, match="6 of 7 images cannot be used"):
        ImageFolder(root)
    images = ImageFolder(root, on_defect="skip")
    assert images.names == ["whole.png"]
    assert all("expected a whole image" in why for why in images.left_out.values())
    with pytest.raises(DatasetError, match=r"whole\.png: frames \[1\] were asked for"):
        images.read(0, np.array([1]))
    truncate(root / "whole.png", 0.5)
    with pytest.raises(DatasetError, match=r"whole\.png: expected a whole image"):
        images.read(0, np.array([0]))
