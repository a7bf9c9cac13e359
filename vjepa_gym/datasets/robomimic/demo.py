"""What one episode becomes in a file for robomimic; see `robomimic` for the whole of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from vjepa_gym import kinematics
from vjepa_gym.errors import DatasetError
from vjepa_gym.images import ImageSize, resize
from vjepa_gym.spaces import ACTION_LIMIT
from vjepa_gym.types import Episode

COMPRESSION = {"compression": "gzip", "compression_opts": 1}
Rows: TypeAlias = dict[str, np.ndarray]
"""Arrays with one row an observation, by robomimic's name for them."""


def low_dimensional(episode: Episode) -> Rows:
    """Return what is no image: the arm, and the objects where they were recorded."""
    rows: Rows = {
        "robot0_eef_pos": episode.poses[:, :3],
        "robot0_eef_quat": quaternion_xyzw(episode.poses[:, kinematics.ROTATION]),
        "robot0_gripper_closedness": episode.poses[:, 6:],
        "robot0_joint_pos": episode.joints,
    }
    objects = episode.extras.get("object_poses")
    if objects is not None and objects.size:
        position, w, xyz = objects[..., :3], objects[..., 3:4], objects[..., 4:]
        quaternion = _towards_x(np.concatenate([xyz, w], axis=-1))
        poses = np.concatenate([position, quaternion], axis=-1)
        rows["object"] = poses.reshape(len(objects), -1).astype(np.float32)
    return rows


def image_rows(
    episode: Episode, cameras: Sequence[str], size: ImageSize | None
) -> dict[str, UInt8[np.ndarray, "rows height width 3"]]:
    """Return the images of `cameras`, at `size` px (see `images.resize`) or as they are.

    Raises:
        DatasetError: There is no such camera.
    """
    if absent := [camera for camera in cameras if camera not in episode.images]:
        raise DatasetError(
            f"no camera {absent[0]!r}, only {', '.join(episode.images)}; robomimic needs the same "
            "of all episodes: name the cameras that all have"
        )
    images = {f"{camera}_image": episode.images[camera] for camera in cameras}
    return images if size is None else {key: resize(rows, size) for key, rows in images.items()}


def write_demo(
    demo: h5py.Group, episode: Episode, rows: Rows, images: Rows, *, source: Path
) -> None:
    """Fill the group of an episode.

    Args:
        demo: The empty group.
        episode: What happened.
        rows: What `low_dimensional` made of it.
        images: What `image_rows` made of it.
        source: The episode's folder, relative to the dataset.

    Raises:
        DatasetError: There is no action, or something is not finite.
    """
    if not len(episode):
        raise DatasetError("one row and thus no action; robomimic needs at least one")
    steps = _steps(episode)
    for name, values in {**rows, **steps}.items():
        if not np.isfinite(values).all():
            raise DatasetError(f"{name} has values that are not finite")
    demo.attrs.update(_attributes(episode, source))
    for name, values in steps.items():
        demo[name] = values
    for key, values in rows.items():
        demo[f"obs/{key}"], demo[f"next_obs/{key}"] = values[:-1], values[1:]
    for key, values in images.items():
        _write_images(demo, key, values)


def quaternion_xyzw(euler: Float32[np.ndarray, "rows 3"]) -> Float32[np.ndarray, "rows 4"]:
    """Return extrinsic xyz angles [rad] as quaternions `x y z w`, as robosuite orders them.

    Of the two that mean the same it is that with `x >= 0`: a hand that looks down has `x` near 1,
    so that nothing jumps while it turns about the vertical.
    """
    half = euler.T.astype(np.float64) / 2
    (cr, cp, cy), (sr, sp, sy) = np.cos(half), np.sin(half)
    parts = [
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    ]
    return _towards_x(np.stack(parts, axis=-1)).astype(np.float32)


def _towards_x(quaternions: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    return np.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def env_name(episode: Episode) -> str:
    """Return the environment in which an episode was recorded; DROID's have none."""
    return str(episode.info.get("env", "DROID"))


def _steps(episode: Episode) -> Rows:
    done = _successes(episode)
    state = episode.extras.get("sim_state", np.zeros((len(episode) + 1, 0)))
    return {
        "actions": np.clip(episode.commands / ACTION_LIMIT, -1.0, 1.0),
        "actions_metric": episode.commands,
        "actions_achieved": kinematics.difference(episode.poses[:-1], episode.poses[1:]),
        "rewards": done.astype(np.float32),
        # As in robomimic's own datasets: where the task is done, and where the episode ends.
        "dones": np.append(done[:-1], True).astype(np.int64),
        "step_seconds": episode.step_seconds,
        "states": state[:-1],
    }


def _successes(episode: Episode) -> Bool[np.ndarray, " steps"]:
    """Return whether the task was done after each step, as far as it was told."""
    done = np.zeros(len(episode), bool)
    done[-1] = episode.success
    told = episode.info.get("successes", ())
    # A move ends at a row; by a clock there are rows within it.
    ends = episode.info.get("move_rows", range(1, len(told) + 1))
    for row, success in zip(ends, told, strict=False):
        if row <= len(episode):
            done[row - 1] |= success
    return done


def _write_images(demo: h5py.Group, key: str, images: UInt8[np.ndarray, "rows h w 3"]) -> None:
    # One image a chunk: a sequence that begins anywhere decompresses nothing in vain.
    chunk = (1, *images.shape[1:])
    seen = demo.create_dataset(f"obs/{key}", data=images[:-1], chunks=chunk, **COMPRESSION)
    last = demo.create_dataset(f"last_obs/{key}", data=images[-1:], chunks=chunk, **COMPRESSION)
    layout = h5py.VirtualLayout(seen.shape, seen.dtype)
    if len(seen) > 1:
        layout[:-1] = h5py.VirtualSource(seen)[1:]
    layout[-1:] = h5py.VirtualSource(last)
    demo.create_virtual_dataset(f"next_obs/{key}", layout)


def _attributes(episode: Episode, source: Path) -> Mapping[str, Any]:
    outside = np.abs(episode.commands) > ACTION_LIMIT * (1 + 1e-5)
    return {
        "num_samples": len(episode),
        "success": episode.success,
        "task": episode.task,
        "policy": episode.policy,
        "seed": episode.seed,
        "env": env_name(episode),
        "source": source.as_posix(),
        "objects": json.dumps(episode.info.get("objects", [])),
        "clipped_actions": int(outside.any(axis=1).sum()),
    }
