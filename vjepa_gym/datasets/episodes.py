"""Episodes in DROID's raw layout, whoever recorded them: a `Sequence[Episode]`."""

from collections.abc import Sequence
from pathlib import Path

from vjepa_gym.datasets import droid
from vjepa_gym.datasets.layout import CAMERAS, find_folders
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode


# Not `Sequence[Episode]`, or the tests' type checker would decode an episode at every call.
class DroidEpisodes(Sequence):
    """The episodes below a folder, in order of their paths; each is read when it is asked for."""

    def __init__(self, root: str | Path, *, cameras: Sequence[str] = CAMERAS) -> None:
        """Look for episodes; none is read yet.

        Args:
            root: A dataset in DROID's raw layout, ours or anybody's.
            cameras: Whose videos to read, of those that an episode has.

        Raises:
            DatasetError: There is no episode.
        """
        self.root = Path(root)
        self.cameras = tuple(cameras)
        self.folders = find_folders(self.root)
        if not self.folders:
            raise DatasetError(f"{self.root}: no trajectory.h5 anywhere below it.")

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, position: int) -> Episode:  # pyright: ignore
        """Return an episode.

        Raises:
            DatasetError: It is damaged; the message names the file and what is wrong with it.
        """
        return droid.read_episode(self.folders[position])
