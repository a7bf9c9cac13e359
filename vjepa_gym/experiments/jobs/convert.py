"""From DROID's raw layout to the formats that other projects read, and back."""

from collections.abc import Callable
from dataclasses import dataclass

from vjepa_gym.errors import DatasetError

OnEpisode = Callable[[int, int], None]
"""Called with episodes converted, and episodes in all."""


@dataclass(kw_only=True)
class ConvertConfig:
    """What to convert, and into what."""

    source: str = "data/tabletop"
    """The dataset's folder."""
    target: str = ""
    """Where to; by default beside the source."""
    to: str = "lerobot"
    """`lerobot`, `droid`, `cache` or `robomimic`."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a run of `run_convert` did."""


def run_convert(config: ConvertConfig, on_episode: OnEpisode | None = None) -> Converted:
    """Convert a dataset.

    Raises:
        DatasetError: An episode is damaged.
    """
    raise DatasetError(f"{config.source}: {on_episode}")
