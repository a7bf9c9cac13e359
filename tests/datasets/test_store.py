import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from episodes import make_episode, read_stamp

from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video import mp4 as video
from vjepa_gym.errors import DatasetError

WRITE_MANY = """
import sys
sys.path.insert(0, {helpers!r})
from episodes import make_episode
from vjepa_gym.datasets.storage.store import EpisodeStore
store = EpisodeStore({root!r})
for index in {indices}:
    store.write(index, make_episode(seed=index, success=index % 3 != 0))
    sys.stdout.write("written\\n")
    sys.stdout.flush()
"""


def start_writer(root: Path, indices: list[int]) -> subprocess.Popen[str]:
    code = WRITE_MANY.format(helpers=str(Path(__file__).parent), root=str(root), indices=indices)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def write_all(root: Path, indices) -> EpisodeStore:
    store = EpisodeStore(root)
    for index in indices:
        store.write(index, make_episode(seed=index, success=index % 3 != 0))
    return store


@pytest.fixture
def store(tmp_path):
    return write_all(tmp_path / "set", range(3))


def test_what_was_written_is_read_back(store):
    written, read = make_episode(seed=1), store[1]
    for name in ("commands", "poses", "joints", "step_seconds"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    for name in ("success", "task", "policy", "seed", "info"):
        assert getattr(read, name) == getattr(written, name)
    for name, values in written.extras.items():
        np.testing.assert_array_equal(read.extras[name], values)
        assert read.extras[name].dtype == values.dtype
    for name, values in written.cameras["left"].items():
        np.testing.assert_array_equal(read.cameras["left"][name], values)
    assert [read_stamp(image) for image in read.images["left"]] == list(range(5))
    difference = read.images["left"].astype(int) - written.images["left"]
    assert np.abs(difference).mean() < 3


def test_a_store_is_a_sequence_in_order_of_the_numbers(tmp_path):
    store = write_all(tmp_path / "set", [2, 0, 1])
    assert [episode.seed for episode in store] == [0, 1, 2]
    assert [episode.seed for episode in store[1:]] == [1, 2]
    assert store[-1].seed == 2
    assert store.indices() == {0, 1, 2}
    with pytest.raises(IndexError):
        store[3]


def test_an_empty_store_has_nothing(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    assert len(store) == 0
    assert store.recover().episodes == 0
    assert list(tmp_path.iterdir()) == []


def test_a_number_is_written_once(store):
    with pytest.raises(DatasetError, match="episode 1 is there already"):
        store.write(1, make_episode(success=False))
    assert len(store) == 3
    assert store.recover().unfinished == 0


def test_the_index_is_made_anew_from_the_folders(store):
    before = [(store.root / name).read_bytes() for name in ("index.jsonl", "droid_paths.csv")]
    (store.root / "index.jsonl").unlink()
    (store.root / "droid_paths.csv").unlink()
    found = store.recover()
    assert (found.episodes, found.unlisted) == (3, 3)
    after = [(store.root / name).read_bytes() for name in ("index.jsonl", "droid_paths.csv")]
    assert after == before


def test_a_torn_line_is_left_out_and_mended_by_the_next_writer(store):
    index = store.root / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:-40])
    assert store.indices() == {0, 1}
    store.write(3, make_episode(seed=3, success=False))
    assert store.indices() == {0, 1, 2, 3}
    assert index.read_bytes().startswith(whole)


def test_a_foreign_index_is_refused_by_name(store):
    (store.root / "index.jsonl").write_text('{"episode": 1}\n')
    with pytest.raises(DatasetError, match=r"index\.jsonl.*recover"):
        len(store)


def test_damaged_episodes_are_set_aside_and_named(store):
    broken, copied = store.entries()[0], store.entries()[2]
    (store.folder(broken) / "trajectory.h5").write_bytes(b"short")
    shutil.copytree(store.folder(copied), store.root / "SIM/success/2030-01-01/copy")
    found = store.recover()
    assert found.episodes == 2
    assert "trajectory.h5: changed" in found.damaged[broken.path]
    assert "same number" in found.damaged["SIM/success/2030-01-01/copy"]
    assert "2 damaged" in str(found)
    assert (store.root.with_name("set.damaged") / broken.path / "trajectory.h5").exists()
    store.write(0, make_episode(success=False))
    assert store.indices() == {0, 1, 2}
    # The same again: nothing set aside is overwritten.
    (store.folder(broken) / "trajectory.h5").unlink()
    assert "missing" in store.recover().damaged[broken.path]


def test_a_failed_write_leaves_nothing(tmp_path):
    store = EpisodeStore(tmp_path / "set")
    with pytest.raises(DatasetError, match="even height and width"):
        store.write(0, make_episode(size=63))
    assert store.recover().unfinished == 0
    assert not store.root.exists()


def test_two_writers_at_once_lose_nothing(tmp_path):
    writers = [start_writer(tmp_path / "set", list(range(first, 12, 2))) for first in (0, 1)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    store = EpisodeStore(tmp_path / "set")
    assert store.indices() == set(range(12))
    assert store.recover().unlisted == 0
    assert len((store.root / "droid_paths.csv").read_text().splitlines()) == 12


@pytest.mark.parametrize("patience", [0.0, 0.01, 0.02, 0.03])
def test_a_kill_leaves_whole_episodes_and_resuming_equals_an_unbroken_run(tmp_path, patience):
    writer = start_writer(tmp_path / "broken", list(range(1000)))
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(patience)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate(timeout=60)

    store = EpisodeStore(tmp_path / "broken")
    found = store.recover()
    assert found.episodes >= 1
    assert found.damaged == {}
    assert store.indices() == set(range(found.episodes))
    assert [path.name for path in (tmp_path / "broken.staging").iterdir()] == ["lock"]
    wanted = found.episodes + 1
    write_all(tmp_path / "broken", range(found.episodes, wanted))
    unbroken = write_all(tmp_path / "unbroken", range(wanted))
    assert store.entries() == unbroken.entries()


def test_a_living_writers_folder_is_not_swept(store):
    with store.staging.folder("000007") as folder:
        assert store.recover().unfinished == 0
        assert folder.is_dir()
    assert not folder.exists()


def test_a_dead_writers_folder_is_swept(store):
    (store.root.with_name("set.staging") / "000007-abc").mkdir()
    assert store.recover().unfinished == 1


def test_paths_with_a_space_are_quoted_for_droids_readers(tmp_path):
    store = write_all(tmp_path / "a set", [0])
    line = (store.root / "droid_paths.csv").read_text()
    assert line == f'"{store.root / store.entries()[0].path}" 0\n'


def test_an_index_line_says_what_there_is(store):
    line = json.loads((store.root / "index.jsonl").read_text().splitlines()[1])
    assert line["path"] == str(droid.relative_path(1, True))
    assert (line["rows"], line["success"]) == (5, True)
    folder = store.root / line["path"]
    assert store.size(store.entries()[1]) >= sum(path.stat().st_size for path in folder.glob("*.*"))


def test_the_digest_is_of_the_pixels_and_not_of_their_encoding(store, tmp_path, monkeypatch):
    monkeypatch.setitem(video.ENCODER, "crf", "30")
    coarse = write_all(tmp_path / "coarse", range(3))
    assert coarse.size(coarse.entries()[0]) != store.size(store.entries()[0])
    assert coarse.entries() == store.entries()


def test_other_pixels_have_another_digest(store, tmp_path):
    episode = make_episode(seed=0, success=False)
    episode.images["left"][0, 0, 0] += 1
    other = EpisodeStore(tmp_path / "other").write(0, episode)
    assert other.digest != store.entries()[0].digest
