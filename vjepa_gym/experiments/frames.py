"""The frames of a dataset, for training and for judging what was trained."""

from vjepa_gym.datasets.caching.cache import open_frames
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.progress import progress
from vjepa_gym.types import Frames


def open_split(folder: str, *, size: int, held_out: int) -> tuple[Frames, Frames]:
    """Return the frames to train on, and those of the last `held_out` episodes.

    Args:
        folder: The dataset; its videos are decoded the first time.
        size: Height and width of the frames [px].
        held_out: Episodes to keep from training.

    Raises:
        DatasetError: There are no such data, or too few.
    """
    store = EpisodeStore(folder)
    with progress("decode", len(store), "episodes") as report:
        frames = open_frames(
            store, size=size, packing="auto", on_progress=lambda done, _: report(done, {})
        )
    if not 0 < held_out < frames.num_episodes:
        raise DatasetError(
            f"{folder} has {frames.num_episodes} episodes, so that held_out must lie between 1 and"
            f" {frames.num_episodes - 1}; got {held_out}."
        )
    return frames.split(held_out)
