"""The nouns of the project. NumPy only, so that a robot's computer can import them without torch.

Conventions, relied on everywhere and written out in `docs/conventions.md`:

- image: uint8 RGB, `(height, width, 3)`, row 0 at the top.
- pose: `x y z` [m], `roll pitch yaw` [rad, extrinsic xyz], gripper closedness [0 open, 1 closed];
  the flange (panda_link8) in the robot's base frame (x forward, y left, z up), as in DROID.
- action: the displacement of that pose over one control step; the rotation composes on the left,
  `R_new = R(action) R(pose)`.
- An agent drives `n` robots at once, so that its arrays have a leading axis `n`; a single
  environment has none, and a `gymnasium.vector.VectorEnv` adds it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, TypedDict, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

Image: TypeAlias = UInt8[np.ndarray, "height width 3"]
Pose: TypeAlias = Float32[np.ndarray, "7"]
Action: TypeAlias = Float32[np.ndarray, "7"]


class Observation(TypedDict):
    """What is seen at one control step; the same in simulation and on hardware."""

    image: UInt8[np.ndarray, "*n height width 3"]
    pose: Float32[np.ndarray, "*n 7"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Views that each of `n` robots is to make true, in order; the last is the goal itself.

    Attributes:
        images: The `k` views of each robot; those before the last are sub-goals.
        poses: The poses at which the views were taken; None where a goal is a photograph. Agents
            that are compared by their success never see them (`images_only`).
        steps: Control steps allowed for each of the `k` views.
    """

    images: UInt8[np.ndarray, "n k height width 3"]
    poses: Float32[np.ndarray, "n k 7"] | None = None
    steps: tuple[int, ...]

    def images_only(self) -> "Goal":
        """Return this goal without its poses."""
        return replace(self, poses=None)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One trajectory: `steps` actions between `steps + 1` observations, the rows.

    A row is what was seen when a move had settled, or, if `record_hz` is given, a moment of a clock
    that ticks within the moves as well.

    Attributes:
        commands: The action asked for at each step, after clipping to the action space.
        poses: Measured pose at each observation. The *achieved* displacement, which models learn
            from, is `kinematics.difference(poses[:-1], poses[1:])`.
        images: One video a camera; the exterior camera `left` is always there.
        joints: Joint positions [rad].
        step_seconds: The true time from each row to the next [s].
        cameras: The calibration of each camera: `extrinsics` (6, or `rows 6` if it moves: the
            camera's pose in the base frame, x right, y down, z forward; m and extrinsic xyz rad)
            and, where they are known, `intrinsics` (3 x 3, or `rows 3 3`).
        success: Whether the task's own predicate held at the end.
        task: What was to be done, in words.
        policy: The behaviour that chose the commands.
        seed: The whole episode is a function of this and of the configuration; -1 if it is not.
        extras: What DROID has no place for: arrays with one row an observation (object poses, full
            simulator state) by name.
        info: Anything else worth keeping, as JSON values.
        record_hz: Rows a second if they are those of a clock; None if each is a settled move.
    """

    commands: Float32[np.ndarray, "steps 7"]
    poses: Float32[np.ndarray, "steps+1 7"]
    images: Mapping[str, UInt8[np.ndarray, "rows height width 3"]]
    joints: Float32[np.ndarray, "steps+1 7"]
    step_seconds: Float32[np.ndarray, "steps"]
    cameras: Mapping[str, Mapping[str, np.ndarray]]
    success: bool
    task: str
    policy: str
    seed: int
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    record_hz: float | None = None

    def __len__(self) -> int:
        return len(self.commands)

    @property
    def times(self) -> Float64[np.ndarray, " rows"]:
        """When each row was, since the first [s]."""
        return np.concatenate([[0.0], np.cumsum(self.step_seconds, dtype=np.float64)])


@runtime_checkable
class Images(Protocol):
    """Images that are read like an array's, wherever and however they are kept.

    A slice may be a view, of which `copy()` makes an array; an array of numbers gives an array.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are, their height and width [px], and 3."""
        ...

    @property
    def dtype(self) -> Any:
        """Always uint8."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Many episodes of one camera laid end to end: what training reads, memory-mapped.

    Attributes:
        images: Every frame of every episode, at the training resolution; perhaps kept as JPEG and
            decoded when asked for.
        poses: The measured pose of each frame.
        offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
    """

    images: UInt8[Images, "rows height width 3"]
    poses: Float32[np.ndarray, "rows 7"]
    offsets: Int64[np.ndarray, "episodes_plus_one"]

    @property
    def num_episodes(self) -> int:
        """How many episodes there are."""
        return len(self.offsets) - 1

    def split(self, held_out: int) -> tuple["Frames", "Frames"]:
        """Return all but the last `held_out` episodes, and those."""
        if not 0 < held_out < self.num_episodes:
            raise ValueError(
                f"held_out must lie between 1 and {self.num_episodes - 1}, got {held_out}"
            )
        cut = self.num_episodes - held_out
        row = int(self.offsets[cut])
        first = replace(
            self, images=self.images[:row], poses=self.poses[:row], offsets=self.offsets[: cut + 1]
        )
        rest = replace(
            self,
            images=self.images[row:],
            poses=self.poses[row:],
            offsets=self.offsets[cut:] - row,
        )
        return first, rest


@runtime_checkable
class Videos(Protocol):
    """Videos that clips for pretraining are cut from; they may differ in size and in frame rate.

    It can be pickled, and keeps no file open that two processes would share the position of.
    """

    @property
    def names(self) -> Sequence[str]:
        """What each video is called in messages: its path, or its episode's."""
        ...

    @property
    def lengths(self) -> Int64[np.ndarray, " videos"]:
        """How many frames each has; 1 for a still image."""
        ...

    @property
    def rates(self) -> Float64[np.ndarray, " videos"]:
        """Frames a second of each; 0 where nothing is known of the time between frames."""
        ...

    def read(
        self, video: int, rows: Int64[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of a video by their numbers in it.

        Raises:
            DatasetError: The video cannot be decoded there; the message names it.
        """
        ...


@runtime_checkable
class Agent(Protocol):
    """Decides how `n` robots move next; keeps nothing across `reset`."""

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin anew towards `goal`, for all robots or only for those marked in `which`."""
        ...

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return one action a robot."""
        ...


@runtime_checkable
class Robot(Protocol):
    """An arm that reports its pose and can be asked to move a little."""

    @property
    def pose(self) -> Pose:
        """The measured pose."""
        ...

    def move(self, action: Action) -> Action:
        """Move by `action`, wait until settled, return what was really commanded."""
        ...

    def home(self) -> None:
        """Go to the starting configuration."""
        ...

    def stop(self) -> None:
        """Stop at once; safe from any thread, any number of times."""
        ...


@runtime_checkable
class Camera(Protocol):
    """Takes pictures of the scene."""

    def capture(self) -> tuple[Image, float]:
        """Return an image and the time at which it was taken [s]."""
        ...
