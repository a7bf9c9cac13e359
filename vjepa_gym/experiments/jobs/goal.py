"""Make a goal by hand: drive the simulated arm there, or take frames of an episode or photographs.

Whatever it is made from, one file comes of it, which `evaluate` and robots read.
"""

import os
from collections.abc import Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np

from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import GoalError, UnknownNameError
from vjepa_gym.experiments.keyboard import Drivable, Status, drive
from vjepa_gym.experiments.settings import EnvConfig
from vjepa_gym.experiments.terminal import Cockpit
from vjepa_gym.goal_file import GoalFile, GoalScene, write_goal
from vjepa_gym.images import ImageSize, resize
from vjepa_gym.spaces import MAX_TRANSLATION
from vjepa_gym.types import Image

SOURCES = ("keyboard", "episode", "photograph")
STEPS = 10
"""Control steps allowed for a view unless something else is said."""
TOOL_OFFSETS = {"panda": 0.1034, "robotiq": 0.153}
"""From the flange to the tool centre [m] by gripper, see docs/conventions.md."""
BEGINNINGS = ("object_start", "arm_start", "goal")
"""Factors of an episode that its task draws."""
PREVIEW = "preview.png"


@dataclass(kw_only=True)
class GoalConfig:
    """What the goal is made from, and where it is kept."""

    source: str = "keyboard"
    """`keyboard` drives the simulated arm, `episode` takes frames of a recorded one, `photograph`
    any picture."""
    file: str = "goal.npz"
    """Where the goal is kept."""
    overwrite: bool = False
    """Whether a file that is there already may be replaced."""
    steps: list[int] = field(default_factory=list)
    """Control steps allowed for each view; 10 each unless something is said here, and one number
    holds for all of them."""
    path: str = ""
    """The photograph; or the folder of an episode, or of a dataset."""
    paths: list[str] = field(default_factory=list)
    """Several photographs instead of one; those before the last are sub-goals."""
    index: int = 0
    """Number of the episode in a dataset."""
    frame: int = -1
    """Which frame of the episode; -1 is the last."""
    frames: list[int] = field(default_factory=list)
    """Several frames instead of one; those before the last are sub-goals."""
    camera: str = "left"
    """Which camera's video the frames are taken from."""
    seed: int = 0
    """Of the first lab; the key `n` goes on to the next."""
    step: float = 0.03
    """How far one key moves at first [m]."""
    pictures: bool = True
    """Whether the terminal shows what the camera sees; preview.png does in any case."""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UnknownNameError("source of goals", self.source, SOURCES)
        if not self.file.endswith(".npz"):
            raise ValueError(f"file must end in .npz, got {self.file!r}")
        if any(count < 1 for count in self.steps):
            raise ValueError(f"steps must be positive, got {self.steps}")
        if self.seed < 0 or not 0 < self.step <= MAX_TRANSLATION:
            raise ValueError(
                f"seed must not be negative, and step be above 0 and at most {MAX_TRANSLATION} m, "
                f"got {self.seed} and {self.step}"
            )
        if self.source != "keyboard" and not self.path and not self.paths:
            raise ValueError(f"source={self.source} needs a path")
        if self.paths and (self.path or self.source != "photograph"):
            raise ValueError("paths are of photographs, and instead of path")


def run_goal(
    config: GoalConfig, env: EnvConfig, folder: Path, *, keys: Iterable[str] | None = None
) -> GoalFile | None:
    """Make a goal, write it to the file of `config`, and a picture of its views to `folder`.

    Args:
        config: What from, and where to.
        env: What is driven; photographs are scaled to the size of its images.
        folder: Gets `preview.png`: what is seen while driving, in the end the views.
        keys: What is pressed, for a driver that is no person; otherwise it comes from the terminal.

    Returns:
        The goal; None if who drove left without saving.

    Raises:
        GoalError: There is nothing to make a goal from, or the file is there already.
        DatasetError: There is no such episode, or it is damaged.
        WorkspaceError: In an episode the hand was outside of the workspace.
    """
    if Path(config.file).exists() and not config.overwrite:
        raise GoalError(
            f"{config.file} is there already: choose another job.file, or job.overwrite=true."
        )
    match config.source:
        case "episode":
            goal = goal_from_episode(config)
        case "photograph":
            goal = goal_from_photographs(config, env.image_size)
        case _:
            goal = goal_by_keyboard(config, env, folder, keys)
    if goal is not None:
        write_goal(config.file, goal)
        _write_picture(folder / PREVIEW, np.concatenate(list(goal.images), axis=1))
    return goal


def goal_by_keyboard(
    config: GoalConfig, env: EnvConfig, folder: Path, keys: Iterable[str] | None = None
) -> GoalFile | None:
    """Return the views that were taken while driving, None if nothing is to be saved."""
    tabletop = gym.make(env.id, **env.keywords())
    drivable = tabletop.unwrapped
    if not isinstance(drivable, Drivable):
        raise GoalError(f"{env.id} has no arm that can be driven; the environments of ours have.")
    preview = folder / PREVIEW
    cockpit = None
    if keys is None:
        cockpit = Cockpit(footer=f"The picture is in {preview} too.", pictures=config.pictures)

    def show(status: Status) -> None:
        _write_picture(preview, status.image)
        if cockpit is not None:
            cockpit.show(status)

    with closing(tabletop), cockpit.opened() if cockpit else nullcontext(keys or ()) as pressed:
        result = drive(
            drivable,
            pressed,
            seed=config.seed,
            step=config.step,
            camera=env.options.get("cameras", ["left"])[0],
            on_status=show,
        )
    if result is None:
        return None
    return GoalFile(
        images=np.stack([view.image for view in result.views]),
        poses=np.stack([view.pose for view in result.views]),
        steps=_steps(config, len(result.views)),
        source={"kind": "keyboard"},
        scene=_driven_scene(env, result.seed),
        tool_offset=result.tool_offset,
    )


def goal_from_episode(config: GoalConfig) -> GoalFile:
    """Return frames of a recorded episode, with the poses of the hand."""
    folder = _episode_folder(Path(config.path), config.index)
    about = droid.read_sidecar(folder)
    images, poses = droid.read_frames(folder, config.camera)
    frames = config.frames or [config.frame]
    for frame in frames:
        if not -len(images) <= frame < len(images):
            raise GoalError(
                f"{folder} has the frames 0 to {len(images) - 1}, or -1 for the last; got {frame}."
            )
    rows = [frame % len(images) for frame in frames]
    gripper = about["info"].get("gripper", "panda")
    if gripper not in TOOL_OFFSETS:
        raise UnknownNameError("gripper", gripper, TOOL_OFFSETS)
    return GoalFile(
        images=images[rows],
        poses=poses[rows],
        steps=_steps(config, len(rows)),
        source={
            "kind": "episode",
            "path": str(folder),
            "index": about["index"],
            "frames": rows,
            "camera": config.camera,
            "task": about["task"],
        },
        scene=_recorded_scene(about) if config.camera == "left" else None,
        tool_offset=TOOL_OFFSETS[gripper],
    )


def goal_from_photographs(config: GoalConfig, image_size: ImageSize) -> GoalFile:
    """Return pictures, cropped and scaled; nobody knows where the hand is in them."""
    paths = config.paths or [config.path]
    return GoalFile(
        images=np.stack([resize(_read_photograph(path), image_size) for path in paths]),
        steps=_steps(config, len(paths)),
        source={"kind": "photograph", "paths": paths},
    )


def _steps(config: GoalConfig, views: int) -> tuple[int, ...]:
    counts = config.steps or [STEPS]
    if len(counts) not in (1, views):
        raise GoalError(
            f"job.steps must be one number, or {views} for {views} views; got {config.steps}."
        )
    return tuple(counts * views if len(counts) == 1 else counts)


def _episode_folder(path: Path, index: int) -> Path:
    if (path / "vjg").is_dir():
        return path
    store = EpisodeStore(path)
    entries = {entry.index: entry for entry in store.entries()}
    if not entries:
        raise GoalError(
            f"{path} is neither an episode of this package, which has a folder vjg, nor a dataset, "
            "which has an index.jsonl."
        )
    if index not in entries:
        raise GoalError(
            f"{path} has no episode {index}, only {len(entries)} from {min(entries)} to "
            f"{max(entries)}."
        )
    return store.folder(entries[index])


def _driven_scene(env: EnvConfig, seed: int) -> GoalScene:
    options = env.keywords()
    del options["image_size"]
    variation = options.pop("variation")
    return GoalScene(env=env.id, seed=seed, options=options, variation=variation)


def _recorded_scene(about: dict[str, Any]) -> GoalScene | None:
    """Return the lab that an episode was recorded in, if it can be made again."""
    info = about["info"]
    if info.get("env") not in gym.registry:
        return None
    # Where things began follows from the seed; given as numbers, others would be drawn elsewhere.
    variation = {
        name: value for name, value in info.get("variation", {}).items() if name not in BEGINNINGS
    }
    return GoalScene(
        env=info["env"],
        seed=about["seed"],
        options={name: info[name] for name in ("lab", "gripper") if name in info},
        variation=variation,
    )


def _read_photograph(path: str) -> Image:
    if not Path(path).is_file():
        raise GoalError(f"{path}: not found, or no file.")
    try:
        # Phones write down how they were held instead of turning the picture.
        image = iio.imread(path, plugin="pillow", index=0, mode="RGB", rotate=True)
    except (OSError, ValueError, SyntaxError) as error:
        raise GoalError(f"{path}: no picture that can be read: {error}") from error
    return np.asarray(image, np.uint8)


def _write_picture(path: Path, image: np.ndarray) -> None:
    """Write a PNG; who looks at it while it is renewed sees the old or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(iio.imwrite("<bytes>", image, extension=".png"))
    beside.replace(path)
