"""From DROID's raw layout to the formats that other projects read, and back."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

from vjepa_gym.datasets.caching.cache import open_cache
from vjepa_gym.datasets.caching.room import PACKINGS
from vjepa_gym.datasets.droid.episodes import ON_DEFECT, DroidEpisodes
from vjepa_gym.datasets.droid.kinds import Defect, DefectError
from vjepa_gym.datasets.droid.layout import CAMERAS, open_folder
from vjepa_gym.datasets.droid.trajectory import read_rows
from vjepa_gym.datasets.lerobot.conversion import read_lerobot, write_lerobot
from vjepa_gym.datasets.lerobot.parquet import require_pyarrow
from vjepa_gym.datasets.robomimic.export import SIZE as ROBOMIMIC_SIZE
from vjepa_gym.datasets.robomimic.export import write_robomimic
from vjepa_gym.datasets.storage.disk import told_if_full
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.experiments.convert.places import (
    beside,
    bytes_at,
    check_room,
    check_source,
    check_target,
    kept_bytes,
    lerobot_count,
)
from vjepa_gym.experiments.workers import cores
from vjepa_gym.images import ImageSize, image_shape

logger = logging.getLogger(__name__)

OnEpisode: TypeAlias = Callable[[int, int], None]
"""Called with episodes converted, and episodes in all."""
FORMATS: Mapping[str, tuple[str, ...]] = {
    "lerobot": ("cameras", "on_defect", "missing_frames"),
    "droid": (),
    "robomimic": ("cameras", "on_defect", "missing_frames", "size"),
    "cache": (
        *("cameras", "on_defect", "missing_frames", "size"),
        *("stride", "packing", "workers"),
    ),
}
"""What a dataset can become, and the keys that have a say in it."""
ONE_A_ROW = "observation/robot_state/gripper_position"
CACHE_SIZE = 256
"""The side of the frames that the released models are trained on [px]."""
COMPRESSED = 0.8
"""No more than this part of their pixels do robomimic's images need: measured 0.72 at 84 px of
simulated ones, and 0.36 at 256 px."""


@dataclass(kw_only=True)
class ConvertConfig:
    """What to convert, and into what."""

    source: str = "data/tabletop"
    """A dataset in DROID's raw layout, ours or anybody's; or in LeRobot's, for `to=droid`."""
    target: str = ""
    """Where to: a folder, or a file for robomimic; by default beside the source."""
    to: str = "lerobot"
    """`lerobot`, `droid`, `cache` or `robomimic`."""
    cameras: list[str] = field(default_factory=list)
    """Which of `left`, `right` and `wrist`; by default all that there are, and of the cache `left`,
    which training reads."""
    size: Any = None
    """A side of robomimic's images or of the cache's, or height and width [px]; by default 84 and
    256. 0 keeps them as they are."""
    stride: int = 1
    """Every how many rows the cache keeps one."""
    packing: str = "auto"
    """How the cache keeps frames: `raw`, `jpeg`, or `auto` for raw if there is room."""
    on_defect: str = "refuse"
    """What damaged episodes do: `refuse` to be converted, or have us `skip` them."""
    missing_frames: int = 0
    """Rows at the end of an episode that may lack their frame; they are cut off. DROID's often lack
    one."""
    workers: int = 0
    """Threads that decode for the cache; 0 for one a core."""

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("format", self.to, FORMATS),
            ("packing", self.packing, PACKINGS),
            ("on_defect", self.on_defect, ON_DEFECT),
            *(("camera", name, CAMERAS) for name in self.cameras),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        if self.stride < 1 or self.missing_frames < 0 or self.workers < 0:
            raise ValueError(
                "stride must be at least 1, missing_frames and workers at least 0, got "
                f"{self.stride}, {self.missing_frames} and {self.workers}"
            )
        if self.size not in (None, 0):
            image_shape(self.size, smallest=1)
        if self.to == "cache" and self.target:
            raise ValueError(
                "a cache lies in <source>.cache, where training finds it: it takes no target, got "
                f"{self.target}"
            )
        self._refuse_idle_keys()

    def _refuse_idle_keys(self) -> None:
        """Refuse what was set and would change nothing."""
        always = ("source", "target", "to", *FORMATS[self.to])
        for key in fields(self):
            default = [] if key.name == "cameras" else key.default
            if key.name not in always and getattr(self, key.name) != default:
                heeding = ", ".join(name for name in FORMATS if key.name in FORMATS[name])
                raise ValueError(f"{key.name} means nothing to to={self.to}, only to {heeding}")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a conversion did.

    Attributes:
        episodes: How many there are at the target.
        skipped: What is wrong with each episode that was left out, by its folder.
        bytes: How large the target is.
        target: Where it is.
    """

    episodes: int
    skipped: Mapping[Path, Sequence[Defect]]
    bytes: int
    target: Path

    def by_kind(self) -> dict[str, list[Path]]:
        """Return the episodes that were left out by kind of defect, the most frequent first."""
        groups: dict[str, list[Path]] = {}
        for folder, defects in self.skipped.items():
            for kind in dict.fromkeys(defect.kind for defect in defects):
                groups.setdefault(kind, []).append(folder)
        return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A conversion that is possible, as far as can be known before.

    Attributes:
        config: What was asked for.
        episodes: What is to be converted; None if that is no DROID.
        total: How many episodes.
        needed: About how much is to be written [bytes].
        target: Where to; of a cache the source.
    """

    config: ConvertConfig
    episodes: DroidEpisodes | None
    total: int
    needed: int
    target: Path

    @property
    def skipped(self) -> Mapping[Path, Sequence[Defect]]:
        """What is wrong with each episode that is left out, by its folder."""
        return {} if self.episodes is None else self.episodes.defects


def plan_conversion(config: ConvertConfig) -> Conversion:
    """Look at source and target; nothing is written.

    Raises:
        DatasetError: It cannot be done; the message says what could.
    """
    source, to = Path(config.source), config.to
    check_source(source, to)
    target = source
    if to != "cache":
        target = Path(config.target) if config.target else beside(source, to)
        check_target(source, target, to)
    if to in ("lerobot", "droid"):
        require_pyarrow()
    if config.on_defect == "skip":
        logger.info("%s: every episode is checked before any is converted.", source)
    if to == "droid":
        episodes, total, needed = None, lerobot_count(source), bytes_at(source)
    else:
        episodes = DroidEpisodes(
            source,
            cameras=config.cameras or CAMERAS,
            on_defect=config.on_defect,
            missing_frames=config.missing_frames,
        )
        total, needed = len(episodes), _needed(config, episodes)
    check_room(target, needed)
    return Conversion(config=config, episodes=episodes, total=total, needed=needed, target=target)


def run_conversion(conversion: Conversion, on_episode: OnEpisode | None = None) -> Converted:
    """Do what was planned; the target comes to be when it is whole.

    Args:
        conversion: From `plan_conversion`.
        on_episode: Called after each episode.

    Raises:
        DatasetError: An episode is damaged, or the disk is full.
    """
    tell = on_episode or _ignore
    target = conversion.target
    with told_if_full(target, lambda: conversion.needed):
        try:
            if conversion.episodes is None:
                read_lerobot(Path(conversion.config.source), target, on_episode=tell)
            else:
                target = _write(conversion.config, conversion.episodes, target, tell)
        except DefectError as error:
            raise _with_advice(error) from error
    return Converted(
        episodes=conversion.total,
        skipped=conversion.skipped,
        bytes=bytes_at(target),
        target=target,
    )


def run_convert(config: ConvertConfig, on_episode: OnEpisode | None = None) -> Converted:
    """Convert a dataset.

    Raises:
        DatasetError: It cannot be done, an episode is damaged, or the disk is full.
    """
    return run_conversion(plan_conversion(config), on_episode)


def _write(
    config: ConvertConfig, episodes: DroidEpisodes, target: Path, on_episode: OnEpisode
) -> Path:
    """Convert from DROID's layout, and return where to."""
    if config.to == "lerobot":
        write_lerobot(episodes, target, on_episode=on_episode)
        return target
    if config.to == "robomimic":
        size = _image_size(config, ROBOMIMIC_SIZE)
        cameras = config.cameras or None
        write_robomimic(episodes, target, size=size, cameras=cameras, on_episode=on_episode)
        return target
    # Of ours the key of a cache is that of the index, so that training finds it.
    store = EpisodeStore(episodes.root)
    whole = not episodes.defects and not config.missing_frames
    cache = open_cache(
        store if whole and len(store) else episodes,
        size=_image_size(config, CACHE_SIZE),
        stride=config.stride,
        views=config.cameras or ["left"],
        packing=config.packing,
        workers=config.workers or cores(),
        on_progress=on_episode,
    )
    return cache.folder


def _image_size(config: ConvertConfig, default: int) -> ImageSize | None:
    return default if config.size is None else config.size or None


def _needed(config: ConvertConfig, episodes: DroidEpisodes) -> int:
    """Return about how much will be written [bytes]; a cache finds out itself."""
    if config.to == "lerobot":
        return kept_bytes(episodes.folders)
    if config.to == "cache":
        return 0
    size = _image_size(config, ROBOMIMIC_SIZE)
    try:
        if size is None:
            pixels = sum(images[0].size for images in episodes[0].images.values())
        else:
            height, width = image_shape(size, smallest=1)
            cameras = config.cameras or open_folder(episodes.folders[0]).serials
            pixels = len(cameras) * height * width * 3
        files = [folder / "trajectory.h5" for folder in episodes.folders]
        rows = sum(len(read_rows(file, [ONE_A_ROW])[ONE_A_ROW]) for file in files)
    except DatasetError:
        return 0  # what is damaged is told when its turn comes
    return round(rows * pixels * COMPRESSED)


def _with_advice(error: DefectError) -> DatasetError:
    advice = "job.on_defect=skip leaves such episodes out"
    if error.defect.kind == "frame_mismatch":
        advice += ", and job.missing_frames=1 takes those that lack only their last frame"
    return DatasetError(f"{error} {advice}.")


def _ignore(done: int, total: int) -> None:
    pass
