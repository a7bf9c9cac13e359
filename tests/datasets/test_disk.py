"""A disk that is full, at each moment at which that can come out."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from episodes import make_episode

from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage import disk
from vjepa_gym.datasets.storage.disk import DiskFullError, free_bytes, is_full
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError


def write_all(root: Path, indices) -> EpisodeStore:
    store = EpisodeStore(root)
    for index in indices:
        store.write(index, make_episode(seed=index, success=index % 2 == 0))
    return store


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


class Fuller:
    """Lets a function work a number of times; then the disk is full."""

    def __init__(self, work, times: int) -> None:
        self.work, self.left = work, times

    def __call__(self, *args, **kwargs):
        if not self.left:
            full()
        self.left -= 1
        return self.work(*args, **kwargs)


def contents(root: Path) -> list[bytes]:
    return [(root / name).read_bytes() for name in ("index.jsonl", "droid_paths.csv")]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return contents(write_all(tmp_path_factory.mktemp("unbroken") / "set", range(3)).root)


def check_whole_or_nothing_and_resume(store: EpisodeStore, unbroken: list[bytes]) -> None:
    """Assert that what is visible is whole, and that going on gives what never stopping does."""
    for sidecar in store.root.glob("*/*/*/*/vjg"):
        droid.verify(sidecar.parent)
    assert {0, 1} <= store.indices()
    assert [path for path in store.staging.path.iterdir() if path.is_dir()] == []
    store.recover()
    write_all(store.root, sorted({0, 1, 2} - store.indices()))
    mine = [text.replace(bytes(store.root), b"") for text in contents(store.root)]
    theirs = [text.replace(bytes(store.root), b"") for text in unbroken]
    assert mine[0] == theirs[0]
    assert mine[1].count(b"\n") == 3


@pytest.mark.parametrize("times", range(16))
def test_a_disk_full_at_any_forcing_to_disk_leaves_whole_episodes(
    tmp_path, monkeypatch, unbroken, times
):
    store = write_all(tmp_path / "set", range(2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Fuller(os.fsync, times))
        with pytest.raises(DiskFullError, match=r"bytes are still needed, .* are free"):
            store.write(2, make_episode(seed=2))
    check_whole_or_nothing_and_resume(store, unbroken)


@pytest.mark.parametrize(
    "where",
    [
        "tempfile.mkdtemp",
        "vjepa_gym.datasets.droid.writing.write_video",
        "vjepa_gym.datasets.droid.writing.write_trajectory",
        "numpy.savez_compressed",
        "pathlib.Path.rename",
    ],
)
def test_a_disk_full_at_any_writing_leaves_whole_episodes(tmp_path, monkeypatch, unbroken, where):
    store = write_all(tmp_path / "set", range(2))
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(DiskFullError):
            store.write(2, make_episode(seed=2))
    assert store.indices() == {0, 1}
    check_whole_or_nothing_and_resume(store, unbroken)


@pytest.mark.parametrize("name", ["droid_paths.csv", "index.jsonl"])
def test_a_line_that_does_not_fit_is_taken_back(tmp_path, monkeypatch, unbroken, name):
    store = write_all(tmp_path / "set", range(2))
    before = (store.root / name).read_bytes()
    open_file = Path.open

    class Short:
        """Takes ten bytes, and then no more."""

        def __init__(self, file) -> None:
            self.file, self.left = file, 10

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            if not self.left:
                full()
            taken, self.left = self.file.write(content[: self.left]), 0
            return taken

        def __getattr__(self, name):
            return getattr(self.file, name)

    def open_short(self, mode="r", *args, **kwargs):
        file = open_file(self, mode, *args, **kwargs)
        return Short(file) if mode == "ab" and self.name == name else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_short)
        with pytest.raises(DiskFullError):
            store.write(2, make_episode(seed=2))
    assert (store.root / name).read_bytes() == before
    check_whole_or_nothing_and_resume(store, unbroken)


@pytest.mark.parametrize("times", range(4))
def test_a_disk_full_while_the_index_is_made_anew_keeps_the_old(
    tmp_path, monkeypatch, unbroken, times
):
    store = write_all(tmp_path / "set", range(2))
    before = contents(store.root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Fuller(os.fsync, times))
        with pytest.raises(OSError, match="No space left"):
            store.arrange()
    assert contents(store.root) == before
    check_whole_or_nothing_and_resume(store, unbroken)


def test_what_is_missing_is_named_in_bytes(tmp_path, monkeypatch):
    store = write_all(tmp_path / "set", range(2))
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1234)
    )
    monkeypatch.setattr(droid, "write_video", full)
    each = store.mean_size() + disk.BESIDES
    with pytest.raises(DatasetError) as told:
        store.write(2, make_episode(seed=2))
    assert f"{each:,} bytes are still needed, 1,234 are free" in str(told.value)
    assert f"{each - 1234:,} bytes are missing" in str(told.value)


def test_other_errors_are_left_as_they_are(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(droid, "write_video", refuse)
    with pytest.raises(PermissionError):
        EpisodeStore(tmp_path / "set").write(0, make_episode())


def test_hdf5_says_it_in_words():
    assert is_full(OSError("Can't write data (file write failed: errno = 28, error message = ..."))
    assert not is_full(OSError("Can't write data (file write failed: errno = 2, error message"))


def test_room_is_counted_where_a_folder_is_to_be(tmp_path):
    assert free_bytes(tmp_path / "not" / "yet") == free_bytes(tmp_path)
