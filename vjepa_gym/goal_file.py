"""A goal made by hand, kept in one file: what is to be seen, where the hand is then, what it is of.

The file is a NumPy archive without pickles:

    images  uint8 [k height width 3]    poses  float32 [k 7], only if they are known
    steps   int [k]                     about  JSON: format, version, source, scene, tool_offset

NumPy only, like `types`, so that a robot's computer reads what a simulation made.
"""

import io
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.errors import GoalError, WorkspaceError
from vjepa_gym.images import ImageSize, fit_height, resize
from vjepa_gym.kinematics import ROTATION, rotation_matrix
from vjepa_gym.spaces import WORKSPACE_HIGH, WORKSPACE_LOW
from vjepa_gym.types import Goal

FORMAT, VERSION = "vjepa_gym goal", 1
TOLERANCE = 0.005
"""A measured pose may lie this far outside of the workspace [m]: the arm settles near its edge."""


@dataclass(frozen=True, kw_only=True)
class GoalScene:
    """The simulated episode whose lab the views show.

    Attributes:
        env: Registered name of the environment.
        seed: Of the reset.
        options: Keyword arguments of the environment, such as `lab` and `gripper`, as JSON values.
        variation: What was said to differ there, by factor, as JSON values.
    """

    env: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    variation: Mapping[str, Any] = field(default_factory=dict)

    def keywords(self) -> dict[str, Any]:
        """Return what the environment is made with, but for the size of its images."""
        return {**self.options, "variation": dict(self.variation)}


@dataclass(frozen=True, kw_only=True)
class GoalFile:
    """Views that one robot is to make true, in order; the last is the goal itself.

    Attributes:
        images: The `k` views.
        poses: Flange pose at each view; None where they are photographs.
        steps: Control steps allowed for each view.
        source: Where the views came from: `kind` (`keyboard`, `episode`, `photograph`) and whatever
            else is worth telling, as JSON values.
        scene: The simulated lab in which they were taken; None if it was no simulated one.
        tool_offset: From the flange along its z axis to the tool centre [m]; needed with poses.

    Raises:
        GoalError: A value is impossible, or some are missing; the message says which.
        WorkspaceError: A pose has its tool centre outside of the workspace.
    """

    images: UInt8[np.ndarray, "k height width 3"]
    poses: Float32[np.ndarray, "k 7"] | None = None
    steps: tuple[int, ...]
    source: Mapping[str, Any]
    scene: GoalScene | None = None
    tool_offset: float | None = None

    def __post_init__(self) -> None:
        if not self.images.size:
            raise GoalError(f"there must be a view, got images {list(self.images.shape)}.")
        if len(self.steps) != len(self.images) or min(self.steps) < 1:
            raise GoalError(
                f"steps must be {len(self.images)} positive numbers, one a view, got "
                f"{', '.join(map(str, self.steps))}."
            )
        if self.poses is not None:
            _check_values(self.poses)
            _check_workspace(self.poses, self.tool_offset)

    def to_goal(self, n: int) -> Goal:
        """Return the same goal for each of `n` robots."""
        poses = None if self.poses is None else np.stack([self.poses] * n)
        return Goal(images=np.stack([self.images] * n), poses=poses, steps=self.steps)

    def resized(self, size: ImageSize) -> "GoalFile":
        """Return this goal with views of `size` px, see `images.resize`."""
        return replace(self, images=resize(self.images, size))

    def reset_options(self, image_size: ImageSize) -> dict[str, Any]:
        """Return what an environment is reset with, so that this is its goal.

        Views narrower than what is observed there are black at the sides, which leaves the centred
        square, all that planning agents look at, what it was.

        Args:
            image_size: Of what is observed there: a side, or height and width [px].

        Raises:
            ValueError: It is no size of an image.
        """
        views = fit_height(self.images, image_size)
        goal = {"images": views, "steps": np.array(self.steps)}
        return {"goal": goal if self.poses is None else goal | {"poses": self.poses}}


def write_goal(path: str | Path, goal: GoalFile) -> None:
    """Write a goal file; readers, and a crash, see the old or the new one but never a part.

    Raises:
        GoalError: The source or the scene has something in it that JSON has not.
        OSError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "version": VERSION,
        "source": dict(goal.source),
        "scene": None if goal.scene is None else asdict(goal.scene),
        "tool_offset": goal.tool_offset,
    }
    try:
        text = json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise GoalError(f"Only finite JSON values can be kept with a goal, but {error}.") from error
    arrays = {"images": goal.images, "steps": np.array(goal.steps), "about": np.array(text)}
    if goal.poses is not None:
        arrays["poses"] = goal.poses
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    _replace(Path(path), file.getvalue())


def read_goal(path: str | Path) -> GoalFile:
    """Return the goal in a file, every part of it checked.

    Raises:
        GoalError: There is no such file, it is no goal file, or something in it is impossible.
        WorkspaceError: A pose has its tool centre outside of the workspace.
    """
    path = Path(path)
    try:
        return _parse(_read_archive(path))
    except (GoalError, WorkspaceError) as error:
        raise type(error)(f"{path}: {error}") from error.__cause__


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file:
            if not is_zipfile(file):
                raise GoalError("no goal file, or a damaged one; `vjepa-gym goal` makes one.")
            file.seek(0)
            return dict(np.load(file, allow_pickle=False))
    except FileNotFoundError:
        raise GoalError("not found; `vjepa-gym goal` makes one.") from None
    # What zipfile cannot read, such as an encrypted archive, is a RuntimeError.
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise GoalError(f"damaged, or no goal file: {_line(error)}") from error


def _parse(arrays: Mapping[str, np.ndarray]) -> GoalFile:
    about = _about(arrays)
    _check_arrays(arrays)
    tool_offset = about.get("tool_offset")
    if not isinstance(tool_offset, float | None) or not isinstance(about.get("source"), dict):
        raise GoalError(
            "its tool_offset must be a number [m], if there is one, and its source be by name, got "
            f"{tool_offset!r} and {about.get('source')!r}."
        )
    return GoalFile(
        images=arrays["images"],
        poses=arrays.get("poses"),
        steps=tuple(int(count) for count in arrays["steps"]),
        source=about["source"],
        scene=_scene(about.get("scene")),
        tool_offset=tool_offset,
    )


def _about(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        about = json.loads(str(arrays["about"]))
    except (KeyError, ValueError):
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise GoalError(
            f"an archive of {', '.join(sorted(arrays)) or 'nothing'}, and no goal file; "
            "`vjepa-gym goal` makes one."
        )
    if about.get("version") != VERSION:
        raise GoalError(
            f"a goal file of version {about.get('version')}; this vjepa_gym reads version "
            f"{VERSION}. Make it again with `vjepa-gym goal`."
        )
    return about


def _scene(told: Any) -> GoalScene | None:
    if told is None:
        return None
    kinds = {"env": str, "seed": int, "options": dict, "variation": dict}
    whole = isinstance(told, dict) and told.keys() == kinds.keys()
    if not whole or any(type(told[name]) is not kind for name, kind in kinds.items()):
        raise GoalError(
            "its scene must be env (a name), seed (a number), options and variation (by name), "
            f"got {told}."
        )
    if told["seed"] < 0:
        raise GoalError(f"the seed of its scene must not be negative, got {told['seed']}.")
    return GoalScene(**told)


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    for name in ("images", "steps"):
        if name not in arrays:
            raise GoalError(f"{name} are missing.")
    images, steps, poses = arrays["images"], arrays["steps"], arrays.get("poses")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise GoalError(f"images must be uint8 [k height width 3], got {_told(images)}.")
    if steps.ndim != 1 or not np.issubdtype(steps.dtype, np.integer):
        raise GoalError(f"steps must be whole numbers [k], got {_told(steps)}.")
    if poses is not None and (poses.dtype != np.float32 or poses.shape != (len(images), 7)):
        raise GoalError(
            f"poses must be float32 [{len(images)} 7], one a view: x y z [m], roll pitch yaw "
            f"[rad], closedness; got {_told(poses)}."
        )


def _check_values(poses: Float32[np.ndarray, "k 7"]) -> None:
    for i, pose in enumerate(poses):
        if not np.isfinite(pose).all() or not -1e-3 <= pose[6] <= 1 + 1e-3:
            raise GoalError(
                f"the pose of view {i} must be finite, its closedness from 0 to 1, got "
                f"{pose.round(3).tolist()}."
            )


def _check_workspace(poses: Float32[np.ndarray, "k 7"], tool_offset: float | None) -> None:
    if tool_offset is None or not 0 <= tool_offset < 1:
        raise GoalError(
            "poses need tool_offset, from the flange to the tool centre, 0 to 1 m, got "
            f"{tool_offset!r}."
        )
    down = rotation_matrix(poses[:, ROTATION].astype(np.float64))[..., 2]
    tools = poses[:, :3] + tool_offset * down
    low, high = WORKSPACE_LOW - TOLERANCE, WORKSPACE_HIGH + TOLERANCE
    outside = np.flatnonzero(np.any((tools < low) | (tools > high), axis=1))
    if len(outside):
        x, y, z = tools[outside[0]]
        ranges = ", ".join(
            f"{axis} {least:g} to {most:g}"
            for axis, least, most in zip("xyz", WORKSPACE_LOW, WORKSPACE_HIGH, strict=True)
        )
        raise WorkspaceError(
            f"the tool centre of view {outside[0]} is at x {x:.3f}, y {y:.3f}, z {z:.3f} m, "
            f"outside of the workspace: {ranges} m."
        )


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _told(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
