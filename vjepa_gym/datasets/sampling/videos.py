"""Episodes as videos without poses, and several sets of videos as one: see `types.Videos`."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.droid.kinds import require
from vjepa_gym.datasets.droid.layout import open_folder
from vjepa_gym.datasets.droid.reading import choose, rows_of
from vjepa_gym.datasets.video.probing import CHECKS, ProbedVideo, probe_video
from vjepa_gym.datasets.video.seeking import read_frames_at
from vjepa_gym.datasets.video.surveying import Progress, Unfit, ignore, refuse_none, survey
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Frames, Videos

NOMINAL_HZ = 4.0
"""Settled moves a second, as in DROID for V-JEPA 2-AC (arXiv 2506.09985, section 3)."""


class FrameVideos:
    """The episodes of a training cache, each a video.

    Attributes:
        names: `episode 0` and so on.
        lengths: How many frames each has.
        rates: The same for all.
    """

    def __init__(self, frames: Frames, *, rate: float = NOMINAL_HZ) -> None:
        """Read nothing yet.

        Args:
            frames: The episodes.
            rate: Frames a second that they are said to have; 0 if nothing is known.
        """
        self._frames = frames
        self.names = [f"episode {number}" for number in range(frames.num_episodes)]
        self.lengths: Int64[np.ndarray, " videos"] = np.diff(frames.offsets)
        self.rates: Float64[np.ndarray, " videos"] = np.full(len(self.names), rate)

    def __len__(self) -> int:
        return len(self.names)

    def read(
        self, video: int, rows: Int64[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of an episode by their numbers in it.

        Raises:
            DatasetError: There are no such frames.
        """
        length = int(self.lengths[video])
        if len(rows) and (rows.min() < 0 or rows.max() >= length):
            raise DatasetError(
                f"{self.names[video]}: frames {rows.tolist()} were asked for, but there are "
                f"{length}."
            )
        return np.asarray(self._frames.images[self._frames.offsets[video] + rows])


class DroidVideos:
    """The videos of episodes in DROID's layout, one a camera and episode.

    Their rates are those of the true clock in `trajectory.h5`: headers of released videos say 60
    frames a second of 15. What was found is remembered, as by `VideoFolder`.

    Attributes:
        names: The path of each video below the dataset's root.
        lengths: How many frames each has.
        rates: Frames a second of each, on average.
        left_out: Why videos are left out, by name.
    """

    def __init__(
        self,
        episodes: DroidEpisodes,
        *,
        cameras: Sequence[str] | None = None,
        on_defect: str = "refuse",
        max_side: int | None = None,
        workers: int | None = None,
        on_progress: Progress = ignore,
        unfit: Unfit = refuse_none,
    ) -> None:
        """Look into the videos; nothing is decoded unless damaged ones are to be skipped.

        Args:
            episodes: The dataset; opened so that it refuses damage, its episodes are not decoded
                once more.
            cameras: Whose videos, of those that an episode has; by default those of `episodes`.
            on_defect: `refuse` raises if a video or a trajectory cannot be used, as far as can be
                told without decoding; `skip` decodes every frame, once, and leaves those out.
            max_side: Frames whose shorter side is longer are scaled down to it as they are decoded
                [px].
            workers: Threads that look into videos; by default one a core.
            on_progress: Called with the number of files looked into, and of all: trajectories,
                then videos.
            unfit: Returns why a video of so many frames, and so many a second, cannot be used,
                though it is sound; None if it can.

        Raises:
            DatasetError: An episode has no description or none of the cameras, or one cannot be
                used and that is refused; the message lists some.
            UnknownNameError: There is no such camera, or way with defects.
        """
        self.root, self.max_side = episodes.root, max_side
        owners, undescribed = _videos_of(episodes, cameras or episodes.cameras, on_defect)
        check = "frames" if on_defect == "skip" else "packets"
        look = partial(survey, self.root, on_defect=on_defect, workers=workers)
        trajectories = sorted(set(owners.values()))
        total = len(trajectories) + len(owners)
        clocks = look(
            trajectories,
            _clock,
            kind="trajectories",
            on_progress=lambda done, _: on_progress(done, total),
        )
        names = [name for name, owner in owners.items() if owner in clocks.found]
        videos = look(
            names,
            partial(_probe, check=check),
            kind="videos",
            depth=CHECKS.index(check),
            on_progress=lambda done, _: on_progress(total - len(names) + done, total),
            unfit=lambda name, found: unfit(found["frames"], clocks.found[owners[name]]["rate"]),
        )
        self.names = list(videos.found)
        self.left_out = {**undescribed, **clocks.left_out, **videos.left_out}
        self._videos = [ProbedVideo.from_json(found) for found in videos.found.values()]
        self.lengths = np.array([video.frames for video in self._videos], np.int64)
        self.rates = np.array([clocks.found[owners[name]]["rate"] for name in self.names])

    def __len__(self) -> int:
        return len(self.names)

    def read(
        self, video: int, rows: Int64[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of a video by their numbers in it.

        Raises:
            DatasetError: The video cannot be decoded there; the message names it.
        """
        path = self.root / self.names[video]
        times = self._videos[video].times(path)
        return read_frames_at(path, rows, times=times, max_side=self.max_side)


class JoinedVideos:
    """Several sets of videos as one, each seen as often as its weight says.

    Attributes:
        parts: The sets.
        names: Of all videos, one set after another.
        lengths: How many frames each video has.
        rates: Frames a second of each.
        weights: How often each video is to be drawn, all together 1: a set's share in equal parts;
            None if it does not matter, so that each clip is as likely as any other.
    """

    def __init__(self, parts: Sequence[Videos], weights: Sequence[float] | None = None) -> None:
        """Join them.

        Args:
            parts: The sets.
            weights: How often each set is to be drawn from, in any unit.

        Raises:
            ValueError: There is no set, or there are not as many positive weights as sets.
        """
        if not parts or (weights is not None and not _are_weights(weights, len(parts))):
            raise ValueError(
                f"weights must be one positive number for each of {len(parts)} sets of videos, of "
                f"which there must be some; got {None if weights is None else list(weights)}"
            )
        self.parts = list(parts)
        self.names = [name for part in parts for name in part.names]
        self.lengths = np.concatenate([part.lengths for part in parts])
        self.rates = np.concatenate([part.rates for part in parts])
        counts = np.array([len(part.names) for part in parts])
        self._ends = np.cumsum(counts)
        self.weights: Float64[np.ndarray, " videos"] | None = None
        if weights is not None:
            shares = np.array(weights, np.float64)
            self.weights = np.repeat(shares / shares.sum() / counts, counts)

    def __len__(self) -> int:
        return len(self.names)

    def read(
        self, video: int, rows: Int64[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Return frames of a video by their numbers in it.

        Raises:
            DatasetError: The video cannot be decoded there; the message names it.
        """
        part = int(np.searchsorted(self._ends, video, side="right"))
        first = int(self._ends[part - 1]) if part else 0
        return self.parts[part].read(video - first, rows)


def _are_weights(weights: Sequence[float], count: int) -> bool:
    return len(weights) == count and all(0 < weight < math.inf for weight in weights)


def _videos_of(
    episodes: DroidEpisodes, cameras: Sequence[str], on_defect: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the trajectory of each video, and why episodes have none, by paths below the root."""
    owners, left_out = {}, {}
    for folder in episodes.folders:
        try:
            there = open_folder(folder)
            videos = [there.video(camera) for camera in choose(there, cameras)]
        except DatasetError as error:
            if on_defect != "skip":
                raise
            left_out[folder.relative_to(episodes.root).as_posix()] = str(error)
            continue
        trajectory = there.trajectory.relative_to(episodes.root).as_posix()
        owners |= {video.relative_to(episodes.root).as_posix(): trajectory for video in videos}
    if not owners:
        raise DatasetError(f"{episodes.root}: no episode can be used; {min(left_out.values())}")
    return owners, left_out


def _clock(trajectory: Path) -> Mapping[str, Any]:
    """Return the rows a second of an episode."""
    there = open_folder(trajectory.parent)
    seconds = require(*rows_of(there, list(there.serials))).step_seconds
    return {"rate": float(1 / seconds.mean()) if len(seconds) else 0.0}


def _probe(path: Path, check: str) -> Mapping[str, Any]:
    return probe_video(path, check).as_json()
