import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]

from clustering import environment, script  # noqa: E402
from collect_recorders import record_slowly  # noqa: E402

from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402
from vjepa_gym.experiments.cluster import ClusterError  # noqa: E402
from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect  # noqa: E402

SETTINGS = {"episodes": 12, "steps": 3}


@pytest.mark.slow
def test_a_cluster_that_loses_a_machine_collects_what_one_process_does(tmp_path):
    (tmp_path / "run.py").write_text(script("record_slowly", SETTINGS, loss=4, deaths=False))
    # Sockets have short names only.
    with tempfile.TemporaryDirectory(prefix="ray") as short:
        run = subprocess.run(
            [sys.executable, "run.py"],
            cwd=tmp_path,
            env=environment(Path(short)),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout.splitlines()[-1])
    assert said["recorded"] == 12
    assert 0 <= said["lost"] <= 12
    assert said["error"] == ["RuntimeError", "no such arm: train"]

    alone = CollectConfig(root=str(tmp_path / "alone"), workers=1, **SETTINGS)
    run_collect(alone, open_recorder=record_slowly)
    for name in ("index.jsonl", "collection.json"):
        assert (tmp_path / "set" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    first, second = EpisodeStore(tmp_path / "set")[3], EpisodeStore(tmp_path / "alone")[3]
    np.testing.assert_array_equal(first.images["left"], second.images["left"])


def test_without_ray_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    settings = CollectConfig(root=str(tmp_path / "set"), runner="ray", **SETTINGS)
    with pytest.raises(ClusterError, match=r"pip install 'vjepa-gym\[cluster\]'"):
        run_collect(settings, open_recorder=record_slowly)


def test_where_there_is_no_cluster_is_said_at_once(tmp_path):
    settings = CollectConfig(
        root=str(tmp_path / "set"), runner="ray", ray_address="127.0.0.1:1", **SETTINGS
    )
    with pytest.raises(ClusterError, match=r"No Ray cluster at 127\.0\.0\.1:1.*ray start"):
        run_collect(settings, open_recorder=record_slowly)
