"""Frames of several datasets as those of one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from vjepa_gym.types import Frames, Images


class JoinedImages:
    """Images of several kinds of keeping, one after another, read where they lie."""

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: Sequence[Images]) -> None:
        """Put them in a row.

        Args:
            parts: All of the same height and width.

        Raises:
            ValueError: There are none, or they are not of one size.
        """
        sizes = {part.shape[1:] for part in parts}
        if len(sizes) != 1:
            raise ValueError(f"images must be of one size to be joined, got {sorted(sizes)}")
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self._rows = np.arange(self._ends[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are, their height and width [px], and 3."""
        return (len(self._rows), *self._parts[0].shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Any:
        """Return one image, a view of a slice, or an array of those with the given numbers."""
        if isinstance(rows, slice):
            view = object.__new__(JoinedImages)
            view.__dict__.update(self.__dict__, _rows=self._rows[rows])
            return view
        numbers = self._rows[rows]
        images = self._gather(np.atleast_1d(numbers).ravel())
        return images.reshape(*np.shape(numbers), *images.shape[1:])

    def copy(self) -> UInt8[np.ndarray, "n height width 3"]:
        """Return all of them as an array."""
        return self[np.arange(len(self))]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.copy(), dtype)

    def _gather(self, numbers: Int64[np.ndarray, " n"]) -> UInt8[np.ndarray, "n height width 3"]:
        images = np.empty((len(numbers), *self._parts[0].shape[1:]), np.uint8)
        owners = np.searchsorted(self._ends, numbers, side="right")
        for owner in np.unique(owners).tolist():
            mine = owners == owner
            first = int(self._ends[owner]) - len(self._parts[owner])
            images[mine] = np.asarray(self._parts[owner][numbers[mine] - first])
        return images


def join(parts: Sequence[Frames]) -> Frames:
    """Return the episodes of several datasets, one dataset after another.

    Raises:
        ValueError: There are none, or their images are not of one size.
    """
    if len(parts) == 1:
        return parts[0]
    images = JoinedImages([part.images for part in parts])
    first = np.cumsum([0, *(len(part.poses) for part in parts[:-1])])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, first, strict=True)]
    return Frames(
        images=images,
        poses=np.concatenate([part.poses for part in parts]),
        offsets=np.concatenate([[0], *offsets]).astype(np.int64),
    )
