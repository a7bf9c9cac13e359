"""Sixty-four simulated episodes on a cluster that loses a machine."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "experiments"), str(TESTS / "datasets")]

from clustering import environment, script  # noqa: E402
from killing import check_alike  # noqa: E402

from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect  # noqa: E402

SETTINGS = {"episodes": 64, "steps": 6, "image_size": [64, 96], "cameras": ["left", "wrist"]}


def test_a_cluster_that_loses_a_machine_collects_what_one_process_does(tmp_path):
    code = script("open_simulation", SETTINGS, loss=20, deaths=True)
    (tmp_path / "run.py").write_text(code)
    with tempfile.TemporaryDirectory(prefix="ray") as short:
        run = subprocess.run(
            [sys.executable, "run.py"],
            cwd=tmp_path,
            env=environment(Path(short)),
            capture_output=True,
            text=True,
            timeout=1200,
        )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout.splitlines()[-1])
    print(said)
    assert said["recorded"] == 64
    assert said["death"][0] == "LostWorkerError"
    assert "3 processes died at episode" in said["death"][1]
    run_collect(CollectConfig(root=str(tmp_path / "alone"), workers=2, **SETTINGS))
    check_alike(tmp_path / "set", tmp_path / "alone")
