"""Episodes in DROID's raw layout, whoever recorded them: a `Sequence[Episode]`."""

import copy
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import overload

from vjepa_gym.datasets.droid.defects import find_defects
from vjepa_gym.datasets.droid.kinds import Defect, errors
from vjepa_gym.datasets.droid.layout import CAMERAS, find_folders
from vjepa_gym.datasets.droid.reading import read_episode
from vjepa_gym.datasets.droid.sidecar import SIDECAR
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.types import Episode

ON_DEFECT = ("refuse", "skip")
"""What becomes of damaged episodes: reading one is an error, or they are left out."""


# Not `Sequence[Episode]`, or the tests' type checker would decode an episode at every call.
class DroidEpisodes(Sequence):
    """The episodes below a folder; each is read when it is asked for, and a slice reads none.

    Ours are in order of their numbers, others follow in order of their paths.

    Attributes:
        root: The dataset.
        cameras: Whose videos are read, of those that an episode has.
        missing_frames: So many rows at the end of an episode may have no frame; they are cut.
        folders: One an episode.
        defects: What is wrong with each episode that was left out, by its folder.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        cameras: Sequence[str] = CAMERAS,
        on_defect: str = "refuse",
        missing_frames: int = 0,
    ) -> None:
        """Look for episodes; none is read yet unless damaged ones are to be skipped.

        Args:
            root: A dataset in DROID's raw layout, ours or anybody's.
            cameras: Whose videos to read, of those that an episode has.
            on_defect: `refuse` raises when a damaged episode is read; `skip` checks all now, every
                frame of others' and every digest of ours, which takes about as long as reading.
            missing_frames: So many rows at the end may have no frame, as in many released episodes.

        Raises:
            DatasetError: There is no episode, or none that is whole.
            UnknownNameError: There is no such camera or way.
            ValueError: `missing_frames` is negative.
        """
        if on_defect not in ON_DEFECT:
            raise UnknownNameError("on_defect", on_defect, ON_DEFECT)
        for name in cameras:
            if name not in CAMERAS:
                raise UnknownNameError("camera", name, CAMERAS)
        if missing_frames < 0:
            raise ValueError(f"missing_frames must not be negative, got {missing_frames}.")
        self.root = Path(root)
        self.cameras = tuple(cameras)
        self.missing_frames = missing_frames
        self.folders = sorted(find_folders(self.root), key=_order)
        self.defects: dict[Path, list[Defect]] = {}
        if not self.folders:
            raise DatasetError(f"{self.root}: no trajectory.h5 anywhere below it.")
        if on_defect == "skip":
            self._skip()

    def _skip(self) -> None:
        check = partial(
            find_defects,
            checksums=True,
            cameras=self.cameras,
            missing_frames=self.missing_frames,
        )
        # Threads suffice: FFmpeg and the digests run outside Python's lock.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = dict(zip(self.folders, map(errors, pool.map(check, self.folders)), strict=True))
        self.defects = {folder: wrong for folder, wrong in found.items() if wrong}
        self.folders = [folder for folder in self.folders if folder not in self.defects]
        if not self.folders:
            first = next(iter(self.defects.values()))[0]
            raise DatasetError(
                f"{self.root}: none of {len(self.defects)} episodes can be used; {first.detail}"
            )

    def __len__(self) -> int:
        return len(self.folders)

    @overload
    def __getitem__(self, position: int) -> Episode: ...
    @overload
    def __getitem__(self, position: slice) -> "DroidEpisodes": ...
    def __getitem__(self, position: int | slice) -> "Episode | DroidEpisodes":
        """Return an episode, or of a slice the same view of fewer of them.

        Raises:
            DatasetError: It is damaged; the message names the file and what is wrong with it.
        """
        if isinstance(position, slice):
            fewer = copy.copy(self)
            fewer.folders = self.folders[position]
            return fewer
        return read_episode(
            self.folders[position], cameras=self.cameras, missing_frames=self.missing_frames
        )


def _order(folder: Path) -> tuple[bool, str, Path]:
    """Our descriptions are called by the time that the number tells; their folders sort otherwise.

    `Thu_Jan__1` is before `Wed_Jan__7`, and successes lie apart from failures.
    """
    names = sorted(path.name for path in folder.glob("metadata_*.json"))
    ours = (folder / SIDECAR).is_dir() and len(names) == 1
    return not ours, names[0] if ours else "", folder
