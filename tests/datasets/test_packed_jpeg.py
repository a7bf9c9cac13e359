import pickle

import numpy as np
import pytest

from vjepa_gym.datasets.caching.packed_jpeg import JpegWriter, PackedImages, encode
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Frames, Images


@pytest.fixture
def images():
    row, column = np.mgrid[:48, :64]
    ramps = [[row * 5, column * 3, (row + 20 * number) % 256] for number in range(6)]
    return np.stack([np.stack(ramp, -1) for ramp in ramps]).astype(np.uint8)


@pytest.fixture
def packed(images, tmp_path):
    with JpegWriter(tmp_path / "left.jpeg") as writer:
        writer.append(encode(images[:4]))
        writer.append(encode(images[4:]))
    return PackedImages(tmp_path / "left.jpeg")


def test_what_is_read_is_what_was_written_but_for_the_codec(packed, images):
    assert isinstance(packed, Images)
    assert packed.shape == images.shape
    assert len(packed) == 6
    assert packed.dtype == np.uint8
    assert np.abs(packed.copy().astype(int) - images).mean() < 3
    np.testing.assert_array_equal(np.asarray(packed), packed.copy())


@pytest.mark.parametrize(
    "rows",
    [2, -1, [3, 0, 3], np.array([[0, 5], [1, -1]]), np.array([True, False] * 3), slice(1, 5, 2)],
)
def test_it_is_read_like_an_array(packed, rows):
    np.testing.assert_array_equal(np.asarray(packed[rows]), packed.copy()[rows])


def test_a_slice_decodes_nothing_and_slices_again(packed, monkeypatch):
    whole = packed.copy()
    monkeypatch.setattr(PackedImages, "_decode", None)
    part = packed[2:][1:3]
    assert part.shape == (2, 48, 64, 3)
    monkeypatch.undo()
    np.testing.assert_array_equal(part.copy(), whole[3:5])


@pytest.mark.parametrize("row", [6, -7])
def test_beyond_the_end_there_is_nothing(packed, row):
    with pytest.raises(IndexError):
        packed[row]
    with pytest.raises(IndexError):
        packed[[0, row]]


def test_frames_kept_so_are_split_like_others(packed):
    poses = np.zeros((6, 7), np.float32)
    first, rest = Frames(images=packed, poses=poses, offsets=np.array([0, 2, 4, 6])).split(1)
    np.testing.assert_array_equal(first.images[[3]], packed[[3]])
    np.testing.assert_array_equal(rest.images[0:2].copy(), packed[[4, 5]])


def test_another_process_is_sent_the_name_only(packed):
    sent = pickle.dumps(packed[1:3])
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).copy(), packed.copy()[1:3])


def test_damage_is_named(packed, tmp_path):
    path = tmp_path / "left.jpeg"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 3000 : middle + 3000] = b"\0" * 6000
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"left\.jpeg: image \d is damaged; delete"):
        PackedImages(path).copy()
    path.unlink()
    with pytest.raises(DatasetError, match=r"left\.jpeg: expected packed JPEG"):
        PackedImages(path)
