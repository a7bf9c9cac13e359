"""robomimic's own code, unmodified, reads what we write; in a process of its own.

Of what it wants (torch, h5py, NumPy, tqdm, termcolor) nothing is stubbed: `SequenceDataset` needs
neither torchvision nor transformers unless it is asked for language.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robomimic_reader import read_demos, sequences
from robomimic_sets import LENGTHS, LOW_DIM, make_dataset

from vjepa_gym.datasets.robomimic.export import write_robomimic

pytestmark = pytest.mark.external
MODALITIES = {"low_dim": [*LOW_DIM, "object"], "rgb": ["left_image"]}
READINGS = {
    "from the file": {"hdf5_cache_mode": None, "seq_length": 3, "frame_stack": 2},
    "low_dim in memory": {"hdf5_cache_mode": "low_dim", "seq_length": 1, "frame_stack": 3},
    "all in memory": {"hdf5_cache_mode": "all", "seq_length": 4, "frame_stack": 1},
    "for training": {
        **{"hdf5_cache_mode": "all", "seq_length": 2, "frame_stack": 2},
        "filter_by_attribute": "train",
    },
    "longer than episodes": {
        **{"hdf5_cache_mode": None, "seq_length": 10, "frame_stack": 1},
        "filter_by_attribute": "success",
    },
    "without next_obs": {
        **{"hdf5_cache_mode": None, "seq_length": 2, "frame_stack": 1},
        "load_next_obs": False,
    },
}
NORMALISED = {"action_keys": ["actions_metric"], "normalization": "min_max", "seq_length": 2}


@pytest.fixture(scope="module")
def source():
    path = os.environ.get("ROBOMIMIC_SOURCE")
    if not path:
        pytest.skip("ROBOMIMIC_SOURCE names no checkout of ARISE-Initiative/robomimic")
    return Path(path)


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robomimic")
    write_robomimic(make_dataset(folder / "set"), folder / "set.hdf5", size=32)
    return folder / "set.hdf5"


@pytest.fixture(scope="module")
def found(source, file):
    """Every sample of every reading, from one process that imports torch once."""
    options = {**READINGS, "normalised": NORMALISED}
    common = {"action_keys": ["actions"], "modalities": MODALITIES, "normalization": None}
    words = {name: {**common, **given} for name, given in options.items()}
    program = Path(__file__).with_name("read_with_robomimic.py")
    run(source, program, file, file.parent, json.dumps(words))
    return {name: dict(np.load(file.parent / f"{name}.npz")) for name in options}


def run(source, *words):
    own = {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", READINGS)
def test_its_dataset_reads_the_same(file, found, name):
    options = READINGS[name]
    demos, _ = read_demos(file, options.get("filter_by_attribute"))
    window = {"frames": options["frame_stack"], "length": options["seq_length"]}
    groups = ["obs", "next_obs"] if options.get("load_next_obs", True) else ["obs"]
    keys = [f"{g}/{key}" for g in groups for keys in MODALITIES.values() for key in keys]
    assert set(found[name]) == {"actions", "rewards", "dones", "index", *keys}
    for key in ("actions", "rewards", "dones", *keys):
        expected = sequences(demos, key=key, **window)
        np.testing.assert_array_equal(found[name][key], expected, key)


def test_it_normalises_metric_actions_itself(file, found):
    metric = sequences(read_demos(file)[0], key="actions_metric", length=2)
    low, high = metric.min(axis=(0, 1)), metric.max(axis=(0, 1))
    expected = 2 * (metric - low) / (high - low) - 1
    np.testing.assert_allclose(found["normalised"]["actions"], expected, atol=1e-4)


def test_its_own_check_finds_nothing_to_complain_of(source, file):
    told = run(source, source / "robomimic/scripts/get_dataset_info.py", "--dataset", file)
    assert f"total transitions: {sum(LENGTHS)}" in told
    assert "filter key success with 3 demos" in told
