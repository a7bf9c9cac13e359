"""Trainings that are killed again and again: what is left is what an unbroken one leaves."""

import random
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "learning")]

from training_toys import contents, start  # noqa: E402

KILLS = 20


def rows(folder: Path) -> int:
    log = folder / "losses.csv"
    return log.read_text().count("\n") if log.exists() else 0


def kill_once(run: dict, folder: Path, processes: int, rng: random.Random) -> bool:
    """Start a run, and kill one of its processes at some moment after it got under way.

    Returns whether it was still at it.
    """
    started = start([run], processes)
    before, deadline = rows(folder), time.monotonic() + 120
    while rows(folder) == before and started[0].poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(rng.uniform(0.0, 0.6))
    alive = started[0].poll() is None
    rng.choice(started).send_signal(signal.SIGKILL)
    for process in started:
        process.communicate(timeout=120)
    return alive


@pytest.mark.parametrize(
    ("processes", "fields"), [(1, {}), (2, {}), (2, {"sharding": "full", "accumulate": 2})]
)
def test_a_training_killed_at_random_ends_with_the_same_bytes(
    tmp_path: Path, processes: int, fields: dict
) -> None:
    rng = random.Random(processes + len(fields))
    settings = {**fields, "steps": 1500, "checkpoint_every": 7, "keep_checkpoints": 3}
    alive = 0
    for name in ("whole", "killed"):
        run = {"folder": str(tmp_path / name), "config_of": settings}
        if name == "killed":
            for _ in range(KILLS):
                alive += kill_once(run, tmp_path / name, processes, rng)
        told = [process.communicate(timeout=600) for process in start([run], processes)]
        assert not any("Error" in out for out, _ in told), told
    assert alive >= KILLS // 2
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
