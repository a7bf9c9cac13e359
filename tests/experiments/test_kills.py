"""A sample of `tests/long/test_kills.py`."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]

from killing import Killer  # noqa: E402

from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402

SETTINGS = {"episodes": 16, "steps": 3, "workers": 2}


@pytest.mark.slow
def test_whoever_is_killed_and_whenever_all_that_is_visible_is_whole(tmp_path):
    (tmp_path / "unbroken").mkdir()
    unbroken = Killer(tmp_path / "unbroken", "record_slowly", SETTINGS, seed=0)
    unbroken.finish()
    killer = Killer(tmp_path, "record_slowly", SETTINGS, seed=1)
    for _ in range(5):
        killer.kill(latest=1.2)
    killer.finish()
    for name in ("index.jsonl", "collection.json"):
        assert (killer.root / name).read_bytes() == (unbroken.root / name).read_bytes()
    assert not killer.noise(), killer.errors()
    assert EpisodeStore(killer.root).recover().unlisted == 0
