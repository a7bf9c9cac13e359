"""Collections killed hundreds of times: nothing is lost, nothing half is ever visible."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "experiments"), str(TESTS / "datasets")]

from killing import Killer  # noqa: E402

from vjepa_gym.datasets.store import EpisodeStore  # noqa: E402

FAKE = {"episodes": 60, "steps": 3, "workers": 8}
REAL = {"episodes": 8, "steps": 4, "workers": 2, "image_size": 64}


def check_alike(killed: Path, unbroken: Path) -> None:
    """Assert that two datasets have the same index and the same episodes."""
    for name in ("index.jsonl", "collection.json"):
        assert (killed / name).read_bytes() == (unbroken / name).read_bytes()
    for mine, theirs in zip(EpisodeStore(killed), EpisodeStore(unbroken), strict=True):
        for name in ("commands", "poses", "joints", "step_seconds"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        for camera, images in mine.images.items():
            np.testing.assert_array_equal(images, theirs.images[camera])
        for name, values in mine.extras.items():
            np.testing.assert_array_equal(values, theirs.extras[name])


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
            folder = tmp_path / f"killed-{done['alive']}"
            folder.mkdir()
            killer = Killer(folder, recorder, settings, seed=done["alive"])
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
