"""Run in a process of its own: read a file with robomimic's `SequenceDataset`, write what came.

    python read_with_robomimic.py <file.hdf5> <folder> <JSON: keyword arguments by name>

The samples of each reading come to lie in `<folder>/<name>.npz`.
"""

import json
import sys

import numpy as np
import robomimic.utils.obs_utils as obs_utils
from robomimic.utils.dataset import SequenceDataset


def read(path, modalities, action_keys, normalization, **options):
    dataset = SequenceDataset(
        hdf5_path=path,
        obs_keys=[key for keys in modalities.values() for key in keys],
        action_keys=action_keys,
        action_config={key: {"normalization": normalization} for key in action_keys},
        dataset_keys=["actions", "rewards", "dones"],
        **options,
    )
    arrays = {}
    for sample in map(dataset.__getitem__, range(len(dataset))):
        for name, value in sample.items():
            inner = value if isinstance(value, dict) else {"": value}
            for key, array in inner.items():
                arrays.setdefault(f"{name}/{key}".strip("/"), []).append(np.asarray(array))
    return {key: np.stack(values) for key, values in arrays.items()}


path, folder, words = sys.argv[1:]
readings = json.loads(words)
first = next(iter(readings.values()))
obs_utils.initialize_obs_utils_with_obs_specs({"obs": first["modalities"]})
for name, options in readings.items():
    np.savez(f"{folder}/{name}.npz", **read(path, **options))
