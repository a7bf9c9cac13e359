"""`vjepa-gym compare`, end to end in the simulator: killed, resumed, and asked for nonsense."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vjepa_gym.experiments.cli import main

TINY = ["env.image_size=32", "env.options.horizon=2", "job.tasks=[reach]", "job.labs=[train]"]
WORDS = ["compare", *TINY, "job.agents=[random,hold_still]", "job.episodes=6", "job.num_envs=2"]


def lines(folder):
    """Return what was written, without the times, by file."""
    found = {}
    for path in sorted(Path(folder).glob("episodes/*/*/*.jsonl")):
        said = [json.loads(line) for line in path.read_text().splitlines()]
        found["/".join(path.parts[-3:])] = [{**one, "seconds": None} for one in said]
    return found


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    return tmp_path


def test_a_process_that_is_killed_goes_on_where_it_was(workplace, capsys):
    command = [sys.executable, "-m", "vjepa_gym", *WORDS, "job.folder=killed"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path, deadline = workplace / "killed/episodes/train/reach/random.jsonl", time.monotonic() + 120
    while not (path.exists() and path.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = sum(map(len, lines("killed").values()))
    assert 0 < there < 12
    assert main([*WORDS, "job.folder=killed"]) == 0
    told = capsys.readouterr()
    assert f"compare: {there}/12" in told.err
    assert "hold_still" in told.out
    assert "table.md" in told.out
    assert main([*WORDS, "job.folder=whole"]) == 0
    assert lines("killed") == lines("whole")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["env=grasp_cup"], "job.tasks"),
        (["env.lab=test"], "job.labs"),
        (["env.variation.preset=wide"], "job.variation"),
        (["world_model=oracle"], "add oracle to job.agents"),
        (["agent=expert", "job.agents=[planning]"], "agent=two_level"),
        (["job.agents=[x]"], "Unknown agent 'x'"),
        (["job.folder=/proc/x"], "job.folder=/proc/x: nothing can be written there"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(workplace, capsys, words, said):
    assert main([*WORDS, *words]) == 2
    assert said in capsys.readouterr().err


def test_a_mapping_may_say_what_varies(workplace):
    words = ["job.variation={preset:narrow,camera_azimuth:100}", "job.episodes=1", "job.num_envs=1"]
    assert main([*WORDS, *words, "job.agents=[expert]", "job.few={expert:1}"]) == 0
    ((one,),) = lines("runs/compare").values()
    assert one["variation"]["camera_azimuth"] == 100
