"""A few episodes to look at: failures and successes, the same ones whenever it is asked."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from vjepa_gym.datasets.droid.layout import open_folder
from vjepa_gym.datasets.video.seeking import count_frames, read_frames_at
from vjepa_gym.experiments.audit.episode import Facts
from vjepa_gym.images import resize

HEIGHT = 150
"""Of the pictures [px]."""
Strip: TypeAlias = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An episode that may be shown.

    Attributes:
        folder: Where it lies.
        success: Whether it succeeded.
        caption: What it is.
    """

    folder: Path
    success: bool
    caption: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """An episode that is shown.

    Attributes:
        name: Its path within the dataset.
        candidate: What it is.
        strips: The first, the middle and the last frame of each camera, side by side.
    """

    name: str
    candidate: Candidate
    strips: Mapping[str, Strip]


class Choice:
    """Chooses episodes as if by lot, whatever order they come in, and keeps no others.

    Args:
        count: How many to choose.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[bool, list[tuple[str, Candidate]]] = {True: [], False: []}

    def add(self, name: str, folder: Path, facts: Facts) -> None:
        """Offer an episode."""
        caption = f"{facts.task} ({facts.policy}, {facts.rows} rows)"
        candidate = Candidate(folder=folder, success=facts.success, caption=caption)
        kept = self._kept[facts.success]
        kept.append((hashlib.sha256(name.encode()).hexdigest(), candidate))
        kept.sort(key=lambda item: item[0])
        del kept[self._count :]

    def chosen(self) -> list[Candidate]:
        """Return half failures and half successes, or more of the one if the other is rare."""
        successes, failures = self._kept[True], self._kept[False]
        few = max(self._count // 2, self._count - len(successes))
        shown = failures[:few] + successes[: self._count - min(few, len(failures))]
        return [candidate for _, candidate in shown]


def strips(folder: Path) -> dict[str, Strip]:
    """Return the first, the middle and the last frame of each camera of an episode.

    Raises:
        DatasetError: A file is missing or damaged.
    """
    episode = open_folder(folder)
    return {name: strip(episode.video(name)) for name in episode.serials}


def strip(path: Path) -> Strip:
    """Return the first, the middle and the last frame of a video side by side.

    Raises:
        DatasetError: The video is missing or damaged.
    """
    count = count_frames(path)
    # Only these: all frames of a long episode of DROID are gigabytes.
    images = read_frames_at(path, np.unique([0, count // 2, count - 1]).astype(np.int64))
    height, width = images.shape[1:3]
    small = resize(images, [HEIGHT, max(1, round(width * HEIGHT / height))])
    return np.concatenate(list(small), axis=1)
