import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

# The recorders below are imported by name in worker processes.
HELPERS = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]
sys.path[:0] = HELPERS

from collect_recorders import die_after_adding, die_once, fail, record_slowly, record_stub  # noqa: E402

from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402
from vjepa_gym.envs import SHORT, env_id  # noqa: E402
from vjepa_gym.errors import DatasetError, UnknownNameError  # noqa: E402
from vjepa_gym.experiments.jobs.collect import (  # noqa: E402
    CollectConfig,
    Draw,
    draw,
    open_simulation,
    run_collect,
)
from vjepa_gym.experiments.workers import LostWorkerError  # noqa: E402


def config(root: Path, **changes) -> CollectConfig:
    return CollectConfig(**({"root": str(root), "episodes": 5, "steps": 3, "workers": 1} | changes))


def contents(root: Path) -> dict[str, bytes]:
    names = ("index.jsonl", "collection.json")
    return {name: (root / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Five episodes that one worker recorded without a break."""
    root = tmp_path_factory.mktemp("unbroken") / "set"
    run_collect(config(root), open_recorder=record_stub)
    return root


def test_an_episode_is_a_function_of_seed_and_number():
    assert draw(CollectConfig(seed=3), 7) == draw(CollectConfig(seed=3, episodes=9), 7)
    seeds = {draw(CollectConfig(seed=seed), index)[2] for seed in range(5) for index in range(50)}
    assert len(seeds) == 250


def test_behaviours_are_drawn_as_often_as_the_mix_says():
    mix = {"scripted": 6.0, "random": 2.0, "play": 0.0}
    drawn = Counter(draw(CollectConfig(mix=mix), index)[1] for index in range(800))
    assert drawn["play"] == 0
    assert drawn["scripted"] / 800 == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"episodes": 0}, "at least 1"),
        ({"workers": -1}, "at least 0"),
        ({"mix": {"play": 0.0}}, "positive weight"),
        ({"tasks": {"reach": 0.0}}, "positive weight"),
        ({"variation": "wid"}, "narrow, none, roaming, wide"),
        ({"tasks": {"vjepa_gym/FrankaReech-v0": 1.0}}, "FrankaReach-v0"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises((ValueError, UnknownNameError), match=message):
        CollectConfig(**wrong)


def test_collecting_reports_every_episode(tmp_path):
    reports = []
    done = run_collect(
        config(tmp_path / "set"), lambda *args: reports.append(args), open_recorder=record_stub
    )
    assert (done.found, done.recorded, done.lost_workers) == (0, 5, 0)
    assert [report[:2] for report in reports] == [(count, 5) for count in range(6)]
    assert reports[-1][2:] == (done.successes, done.bytes)
    store = EpisodeStore(tmp_path / "set")
    assert done.successes == sum(episode.success for episode in store)
    assert [(episode.policy, episode.seed) for episode in store] == [
        draw(config(tmp_path / "set"), index)[1:3] for index in range(5)
    ]


def test_resuming_records_only_what_is_missing(unbroken, tmp_path, caplog):
    run_collect(config(tmp_path / "set", episodes=2), open_recorder=record_stub)
    with caplog.at_level("INFO"):
        done = run_collect(config(tmp_path / "set"), open_recorder=record_stub)
    assert (done.found, done.recorded) == (2, 3)
    assert "found 2 whole episodes" in caplog.text
    assert contents(tmp_path / "set") == contents(unbroken)
    assert run_collect(config(tmp_path / "set"), open_recorder=fail).recorded == 0


def test_several_workers_collect_what_one_does(unbroken, tmp_path):
    done = run_collect(config(tmp_path / "two", workers=0), open_recorder=record_stub)
    assert done.recorded == 5
    assert contents(tmp_path / "two") == contents(unbroken)


def test_other_settings_do_not_mix(unbroken):
    with pytest.raises(DatasetError, match=r"collection\.json.*seed=0, steps=3"):
        run_collect(config(unbroken, seed=1, steps=4), open_recorder=record_stub)


def test_a_lost_worker_loses_no_finished_episode(unbroken, tmp_path):
    done = run_collect(config(tmp_path / "set", workers=2), open_recorder=die_once)
    assert done.lost_workers == 1
    assert done.recorded == 5
    assert contents(tmp_path / "set") == contents(unbroken)


def test_a_worker_that_dies_before_it_says_what_it_added_is_no_trouble(unbroken, tmp_path):
    done = run_collect(config(tmp_path / "set", workers=2), open_recorder=die_after_adding)
    assert (done.lost_workers, done.recorded) == (1, 5)
    assert contents(tmp_path / "set") == contents(unbroken)


def test_workers_that_always_die_end_the_run(tmp_path):
    options = {"always": True}
    with pytest.raises(LostWorkerError):
        run_collect(
            config(tmp_path / "set", workers=2, env_options=options), open_recorder=die_once
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_worker_reaches_the_caller(tmp_path, workers):
    with pytest.raises(RuntimeError, match="no such arm"):
        run_collect(config(tmp_path / "set", workers=workers), open_recorder=fail)


def test_the_simulators_episodes_fit_the_format(tmp_path):
    settings = config(tmp_path / "set", image_size=64, steps=2)
    episode = open_simulation(settings)(Draw(env_id("GraspBox"), "random", 5, "train"))
    store = EpisodeStore(settings.root)
    store.write(0, episode)
    assert store[0].images["left"].shape == (3, 64, 64, 3)
    assert store[0].policy == "random"
    np.testing.assert_array_equal(store[0].poses, episode.poses)


RUN = """
import signal, sys
# What was begun in the background inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = {helpers!r}
from collect_recorders import record_slowly
from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect

if __name__ == "__main__":
    config = CollectConfig(root={root!r}, episodes=500, steps=3, workers=2)
    run_collect(config, lambda *now: print(now[0], flush=True), open_recorder=record_slowly)
"""


def start_run(folder: Path, episodes: int = 2) -> subprocess.Popen[str]:
    script = folder / "run.py"
    script.write_text(RUN.format(helpers=HELPERS, root=str(folder / "set")))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < episodes:
        pass
    return process


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ctrl_c_ends_all_processes_and_leaves_whole_episodes(tmp_path):
    process = start_run(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    found = EpisodeStore(tmp_path / "set").recover()
    assert (found.unfinished, found.unlisted, found.damaged) == (0, 0, {})
    assert found.episodes >= 2


@pytest.mark.parametrize("patience", [0.0, 0.1, 0.3])
def test_ctrl_c_that_meets_workers_who_are_still_importing_is_for_their_parent_alone(
    tmp_path, patience
):
    process = start_run(tmp_path, episodes=0)
    while not children(process.pid):
        time.sleep(0.01)
    time.sleep(patience)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1


def test_workers_die_with_a_killed_parent_and_the_rest_is_recorded_later(unbroken, tmp_path):
    process = start_run(tmp_path)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    _, errors = process.communicate(timeout=30)
    assert errors == ""
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = EpisodeStore(tmp_path / "set").recover().episodes
    done = run_collect(config(tmp_path / "set", episodes=before + 3), open_recorder=record_slowly)
    assert done.recorded == 3
    assert EpisodeStore(tmp_path / "set").entries()[:5] == EpisodeStore(unbroken).entries()


def test_settings_are_kept_beside_the_episodes(unbroken):
    kept = json.loads((unbroken / "collection.json").read_text())
    assert kept["steps"] == 3
    assert set(kept["tasks"]) == set(SHORT)
    assert (kept["labs"], kept["gripper"], kept["variation"]) == ({"train": 1.0}, "panda", "none")
