"""A second opinion on a file for robomimic, written from its documentation: `h5py` and no more."""

import json

import h5py
import numpy as np


def read_demos(path, mask=None):
    """Return every demo as nested dictionaries of arrays, and the description of the file."""
    with h5py.File(path, "r", swmr=True, libver="latest") as file:
        data = file["data"]
        names = [name.decode() for name in file[f"mask/{mask}"]] if mask else list(data)
        names.sort(key=lambda name: int(name.removeprefix("demo_")))
        demos = {name: {**_arrays(data[name]), "attrs": dict(data[name].attrs)} for name in names}
        assert mask or data.attrs["total"] == sum(d["attrs"]["num_samples"] for d in demos.values())
        return demos, json.loads(data.attrs["env_args"])


def read_masks(path):
    with h5py.File(path) as file:
        return {key: [name.decode() for name in names] for key, names in file["mask"].items()}


def _arrays(group):
    return {
        key: _arrays(value) if isinstance(value, h5py.Group) else value[()]
        for key, value in group.items()
    }


def sequences(demos, *, key, frames=1, length=1):
    """Return what robomimic calls the sequences: one a step, padded with the outermost rows."""
    windows = []
    for demo in demos.values():
        *groups, name = key.split("/")
        rows = demo[groups[0]][name] if groups else demo[name]
        for step in range(demo["attrs"]["num_samples"]):
            wanted = np.arange(step - frames + 1, step + length)
            windows.append(rows[np.clip(wanted, 0, len(rows) - 1)])
    return np.stack(windows)
