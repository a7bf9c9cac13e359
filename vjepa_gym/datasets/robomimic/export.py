"""A dataset as the one HDF5 file that robomimic's `SequenceDataset` reads.

    data                     attributes total, env_args (JSON: units, frames, keys that all have)
    data/demo_<i>            attributes num_samples, success, task, policy, seed, env, source, ...
        actions              [steps 7] what was asked for, in fractions of `spaces.ACTION_LIMIT`
        actions_metric       [steps 7] the same [m, rad, closedness], not clipped
        actions_achieved     [steps 7] what came of it: the difference of measured poses
        rewards dones        [steps] 1 where the task was done; and at the end
        states               [steps n] the simulator's state, if it was recorded
        step_seconds         [steps] how long each step took [s]
        obs/<key>            [steps ...] what was seen before each action
        next_obs/<key>       [steps ...] what was seen after it
        last_obs/<key>       [1 ...] the last image, which only `next_obs` has
    mask/<filter key>        names of demos

robomimic wants actions within [-1, 1] (its `docs/datasets/overview.md`; `get_dataset_info.py`
refuses others), hence `actions`. Whoever wants another scale names `actions_metric` in its
`train.action_keys` and has robomimic normalise it. The images of `next_obs` are those of `obs` one
row on, by reference: HDF5 virtual datasets, which take no space. Every observation key is named as
robosuite names it where it means the same, or nearly (`CONVENTIONS`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.robomimic.demo import (
    Rows,
    env_name,
    image_rows,
    low_dimensional,
    write_demo,
)
from vjepa_gym.datasets.storage.staging import Staging, synchronise
from vjepa_gym.errors import DatasetError
from vjepa_gym.images import ImageSize, image_shape
from vjepa_gym.spaces import ACTION_LIMIT
from vjepa_gym.types import Episode

SIZE = 84
"""Height and width of robomimic's own images (`dataset_states_to_obs.py`) [px]."""
HELD_OUT = 0.1
"""The share of episodes for validation (`split_train_val.py`)."""
ENV_TYPE = 2
"""What robomimic calls an environment of Gym's (`envs/env_base.py`)."""
CONVENTIONS = {
    "frame": "the robot's base: x forward, y left, z up [m]",
    "actions": "displacement of the flange over one step in fractions of action_scale, clipped to "
    "[-1, 1]: x y z, extrinsic xyz angles composed on the left, gripper closedness",
    "actions_metric": "the same, neither scaled nor clipped [m, rad, closedness]",
    "actions_achieved": "the difference of the measured poses [m, rad, closedness]",
    "robot0_eef_pos": "the flange (panda_link8), not a point between the fingers [m]",
    "robot0_eef_quat": "x y z w, with x >= 0",
    "robot0_gripper_closedness": "0 open, 1 closed",
    "robot0_joint_pos": "[rad]",
    "object": "for each of the attribute `objects`: x y z [m], quaternion x y z w with x >= 0",
}
OnEpisode: TypeAlias = Callable[[int, int], None]
"""Called with episodes written, and episodes in all."""


def _ignore(done: int, total: int) -> None:
    pass


def write_robomimic(
    episodes: DroidEpisodes,
    target: Path,
    *,
    size: ImageSize | None = SIZE,
    cameras: Sequence[str] | None = None,
    on_episode: OnEpisode = _ignore,
) -> None:
    """Write all `episodes` to one new file, which appears when it is whole.

    Args:
        episodes: What to write.
        target: The file, which must not be there yet.
        size: A side of the images, for the centred square, or height and width [px], see
            `images.resize`. None keeps them as they were recorded.
        cameras: Whose images; those of the first episode unless told otherwise.
        on_episode: Called after each episode.

    Raises:
        DatasetError: The file is there already, or an episode is damaged, has no action, lacks a
            camera, or has images of another shape.
        ValueError: `size` is no size of an image.
    """
    if size is not None:
        image_shape(size, smallest=1)
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Staging(target.with_name(f"{target.name}.staging"))
    staging.sweep()
    try:
        with staging.folder("file") as folder:
            path = folder / target.name
            with h5py.File(path, "w") as file:
                _write(file, episodes, size, cameras, on_episode)
            synchronise(path)
            with staging.lock():
                _refuse_existing(target)
                path.rename(target)
            synchronise(target.parent)
    finally:
        # Nothing is left beside the file, unless another writer is at work there.
        with suppress(OSError):
            (staging.path / "lock").unlink()
            staging.path.rmdir()


@dataclass
class _Contents:
    """What was written so far, as far as the whole file's description and masks need it."""

    low_dim: dict[str, tuple[int, ...]] | None = None
    images: dict[str, tuple[int, ...]] | None = None
    total: int = 0
    masks: dict[str, list[str]] = field(default_factory=dict)
    tasks: set[str] = field(default_factory=set)
    envs: set[str] = field(default_factory=set)
    rates: set[float | None] = field(default_factory=set)

    def add(self, name: str, episode: Episode, rows: Rows, images: Rows) -> None:
        """Count an episode; keys of no image are those that all have in the same shape."""
        shapes = _shapes(images)
        self.images = shapes if self.images is None else self.images
        if shapes != self.images:
            raise DatasetError(
                f"images of shape {shapes}, but {self.images} in the first episode; robomimic "
                "needs the same of all: give a size"
            )
        low_dim = _shapes(rows)
        known = low_dim if self.low_dim is None else self.low_dim
        self.low_dim = {key: shape for key, shape in known.items() if low_dim.get(key) == shape}
        self.total += len(episode)
        policy = f"policy_{episode.policy}".replace("/", "_")
        for mask in ("success" if episode.success else "failure", policy):
            self.masks.setdefault(mask, []).append(name)
        self.tasks.add(episode.task)
        self.envs.add(env_name(episode))
        self.rates.add(episode.record_hz)


def _write(
    file: h5py.File,
    episodes: DroidEpisodes,
    size: ImageSize | None,
    cameras: Sequence[str] | None,
    on_episode: OnEpisode,
) -> None:
    data, contents = file.create_group("data"), _Contents()
    for number, folder in enumerate(episodes.folders):
        episode, name = episodes[number], f"demo_{number}"
        cameras = tuple(episode.images) if cameras is None else cameras
        try:
            rows, images = low_dimensional(episode), image_rows(episode, cameras, size)
            contents.add(name, episode, rows, images)
            source = folder.relative_to(episodes.root)
            write_demo(data.create_group(name), episode, rows, images, source=source)
        except DatasetError as error:
            raise DatasetError(f"{folder}: {error}.") from error
        on_episode(number + 1, len(episodes))
    data.attrs["total"] = contents.total
    data.attrs["env_args"] = json.dumps(_description(contents), indent=1)
    for mask, names in {**contents.masks, **_split(contents.masks, len(data))}.items():
        file[f"mask/{mask}"] = np.array(names, "S")


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise DatasetError(f"{target}: is there already; remove it, or name another file.")


def _shapes(rows: Rows) -> dict[str, tuple[int, ...]]:
    return {key: values.shape[1:] for key, values in rows.items()}


def _description(contents: _Contents) -> dict[str, Any]:
    """Return robomimic's `env_args`; what it does not know is for people."""
    several, rates = "several; see the attribute `env` of each demo", contents.rates
    description = {
        "env_name": next(iter(contents.envs)) if len(contents.envs) == 1 else several,
        "env_version": version("vjepa-gym"),
        "type": ENV_TYPE,
        "env_kwargs": {},
        "action_scale": [float(f"{limit:.6g}") for limit in ACTION_LIMIT],
        "record_hz": next(iter(rates)) if len(rates) == 1 else "several",
        "modalities": {"low_dim": list(contents.low_dim or ()), "rgb": list(contents.images or ())},
        "conventions": CONVENTIONS,
    }
    if len(contents.tasks) == 1:
        description["lang"] = next(iter(contents.tasks))
    return description


def _split(masks: Mapping[str, list[str]], count: int) -> dict[str, list[str]]:
    """Draw the episodes for validation, always the same, and name the successful ones of both."""
    held_out = max(1, round(HELD_OUT * count)) if count > 1 else 0
    drawn = set(np.random.default_rng(0).permutation(count)[:held_out].tolist())
    named: dict[str, list[str]] = {"train": [], "valid": []}
    for number in range(count):
        named["valid" if number in drawn else "train"].append(f"demo_{number}")
    successes = set(masks.get("success", ()))
    among = {
        f"success_{part}": [name for name in names if name in successes]
        for part, names in named.items()
    }
    return {mask: names for mask, names in {**named, **among}.items() if names}
