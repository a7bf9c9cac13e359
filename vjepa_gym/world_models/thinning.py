"""Every few rows of episodes, as if no others had been recorded."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from vjepa_gym.types import Frames, Images


@dataclass(frozen=True)
class SomeImages:
    """Some of many images, read when they are asked for; plays the role `Images`.

    Attributes:
        images: All of them.
        rows: Which are taken.
    """

    images: Images
    rows: Int64[np.ndarray, " rows"]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many are taken, their height and width [px], and 3."""
        return (len(self.rows), *self.images.shape[1:])

    @property
    def dtype(self) -> Any:
        """Always uint8."""
        return self.images.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any, /) -> UInt8[np.ndarray, "..."]:
        return np.asarray(self.images[self.rows[rows]])


def thinned(frames: Frames, stride: int) -> Frames:
    """Return every `stride`-th row of each episode, from its first on; all of them if it is 1."""
    if stride == 1:
        return frames
    taken = [np.arange(first, end, stride) for first, end in pairwise(frames.offsets)]
    rows = np.concatenate([np.empty(0, np.int64), *taken])
    return Frames(
        images=SomeImages(frames.images, rows),
        poses=frames.poses[rows],
        offsets=np.cumsum([0, *map(len, taken)], dtype=np.int64),
    )
