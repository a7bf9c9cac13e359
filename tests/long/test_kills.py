"""Collections killed hundreds of times: nothing is lost, nothing half is ever visible."""

import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "experiments"), str(TESTS / "datasets")]

from killing import Killer, check_alike  # noqa: E402

from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402

FAKE = {"episodes": 60, "steps": 3, "workers": 8}
REAL = {"episodes": 8, "steps": 4, "workers": 2, "image_size": 64}


@pytest.mark.parametrize(
    ("recorder", "settings", "kills", "latest"),
    [("record_slowly", FAKE, 200, 5.0), ("open_simulation", REAL, 5, 10.0)],
)
def test_kills_lose_nothing_and_show_nothing_half(
    tmp_path, record_property, recorder, settings, kills, latest
):
    (tmp_path / "unbroken").mkdir()
    unbroken = Killer(tmp_path / "unbroken", recorder, settings, seed=0)
    unbroken.finish()
    done, said, looks, killer = Counter(), [], 0, None
    while done["alive"] < kills:
        if killer is None:
            folder = tmp_path / f"killed-{len(said)}"
            folder.mkdir()
            killer = Killer(folder, recorder, settings, seed=len(said))
        before = len(EpisodeStore(killer.root))
        kind, alive = killer.kill(latest)
        done["alive"] += alive
        done[kind] += alive
        said.append(len(EpisodeStore(killer.root)) - before)
        if len(EpisodeStore(killer.root)) == settings["episodes"] or done["alive"] == kills:
            killer.finish()
            check_alike(killer.root, unbroken.root)
            assert not killer.noise(), killer.errors()
            looks, killer = looks + killer.looks, None
    record_property("kills", dict(done))
    print(f"{dict(done)}, {looks} looks, episodes between kills {said}")
