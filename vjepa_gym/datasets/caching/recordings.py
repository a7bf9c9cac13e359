"""What a dataset on disk holds, ours or anybody's, and what may be read of it and what not."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Float64

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.droid.kinds import require
from vjepa_gym.datasets.droid.layout import open_folder
from vjepa_gym.datasets.droid.reading import read_episode, require_unchanged, rows_of
from vjepa_gym.datasets.droid.trajectory import read_rows as read_columns
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

Dataset: TypeAlias = EpisodeStore | DroidEpisodes
ONE_A_ROW = "observation/robot_state/gripper_position"


class Recordings:
    """The episodes of a dataset, as folders.

    Attributes:
        root: The dataset.
        folders: One an episode.
        left_out: Damaged ones that are not among them, because the dataset was opened so.
        missing_frames: Rows at the end of an episode that may have no frame.
    """

    def __init__(self, episodes: Dataset) -> None:
        """Look up what there is.

        Raises:
            DatasetError: There is no episode.
        """
        self.root = episodes.root.absolute()
        self._entries = episodes.entries() if isinstance(episodes, EpisodeStore) else None
        if isinstance(episodes, EpisodeStore):
            self.folders = [episodes.folder(entry) for entry in self._entries or []]
            self.left_out, self.missing_frames = 0, 0
        else:
            self.folders = [folder.absolute() for folder in episodes.folders]
            self.left_out = len(episodes.defects)
            self.missing_frames = episodes.missing_frames
        if not self.folders:
            raise DatasetError(f"{self.root}: no episode; expected {self.root / 'index.jsonl'}.")

    def __len__(self) -> int:
        return len(self.folders)

    @property
    def names(self) -> list[str]:
        """What each is called: its path below the root."""
        return [folder.relative_to(self.root).as_posix() for folder in self.folders]

    def content(self, views: Sequence[str]) -> list[object]:
        """Return what tells this dataset from one that holds something else.

        Of ours these are the digests in the index; of others the size and the time of change of
        each file that is read, so that nothing is read for it, and a copy counts as another.

        Raises:
            DatasetError: An episode has no such view, or no description.
        """
        if self._entries is not None:
            return [(entry.index, entry.digest) for entry in self._entries]
        stamps = [_stamps(folder, views) for folder in self.folders]
        return [self.missing_frames, self.names, stamps]

    def videos(self, folder: Path, views: Sequence[str]) -> dict[str, Path]:
        """Return where the video of each view lies.

        Raises:
            DatasetError: There is no such view.
        """
        there = open_folder(folder)
        return {view: there.video(view) for view in views}

    def rows(self) -> list[int]:
        """Return how many rows each episode has."""
        if self._entries is not None:
            return [entry.rows for entry in self._entries]
        files = [folder / "trajectory.h5" for folder in self.folders]
        return [len(read_columns(file, [ONE_A_ROW])[ONE_A_ROW]) for file in files]

    def read(self, folder: Path, views: Sequence[str]) -> Episode:
        """Return an episode with the videos of `views` only.

        Raises:
            DatasetError: It is damaged, or has no such view.
        """
        self.videos(folder, views)
        return read_episode(folder, cameras=views, missing_frames=self.missing_frames)

    def states(
        self, folder: Path, views: Sequence[str]
    ) -> tuple[Float32[np.ndarray, "rows 7"], Float64[np.ndarray, " rows"]]:
        """Return the poses of an episode and when each was [s], without decoding its videos.

        Rows at the end that may have no frame are left out, whether they have one or not.

        Raises:
            DatasetError: A file is damaged, as far as can be told without decoding.
        """
        there = open_folder(folder)
        require_unchanged(there, views)
        trajectory = require(*rows_of(there, views))
        times = np.concatenate([[0.0], np.cumsum(trajectory.step_seconds, dtype=np.float64)])
        rows = max(0, len(times) - self.missing_frames)
        return trajectory.rows.poses[:rows], times[:rows]


def _stamps(folder: Path, views: Sequence[str]) -> list[tuple[int, int]]:
    there = open_folder(folder)
    files = [*folder.glob("*.json"), there.trajectory, *map(there.video, views)]
    try:
        return [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise DatasetError(f"{folder}: expected a whole episode, but {error}.") from error
