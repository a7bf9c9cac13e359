"""Images as JPEG in one file, end to end, with where each begins: a tenth of the room of pixels.

<name>.jpeg            the files, one after another
<name>_offsets.npy     where each begins, and where the last ends [bytes]
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from vjepa_gym.errors import DatasetError

QUALITY = 95
"""Of 100: differs from the pixels by less than the video that they came from."""


class JpegWriter:
    """Writes images, some at a time; on leaving the context the file is whole."""

    def __init__(self, path: Path) -> None:
        """Begin.

        Args:
            path: `<name>.jpeg`; where images begin is written beside it.
        """
        self._path, self._file = path, path.open("wb")
        self._lengths: list[int] = []

    def __enter__(self) -> "JpegWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            offsets = np.cumsum([0, *self._lengths], dtype=np.int64)
            np.save(_offsets(self._path), offsets)

    def append(self, contents: Sequence[bytes]) -> None:
        """Write more images, as `encode` gives them."""
        self._lengths += [self._file.write(content) for content in contents]


class PackedImages:
    """What `JpegWriter` wrote, read like an array: images are decoded when they are asked for.

    A slice is a view that decodes nothing; `copy()` makes an array of it.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, *, which: range | None = None) -> None:
        """Map the files into memory; no image but the first is decoded.

        Args:
            path: `<name>.jpeg`.
            which: Which of the images, of all that there are.

        Raises:
            DatasetError: A file is missing or damaged.
        """
        self._path = path
        try:
            self._blob = np.memmap(path, np.uint8, "r")
            self._offsets: Int64[np.ndarray, " images_plus_one"] = np.load(
                _offsets(path), mmap_mode="r"
            )
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: expected packed JPEG images, but {error}.") from error
        self._which = range(len(self._offsets) - 1) if which is None else which
        self._image_shape = self._decode(0).shape

    def __reduce__(self) -> tuple[Any, ...]:
        # By its name, or another process would be sent every byte.
        return _open, (self._path, self._which)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are, their height and width [px], and 3."""
        return (len(self._which), *self._image_shape)

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, rows: Any) -> Any:
        """Return one image, a view of a slice, or an array of those with the given numbers."""
        if isinstance(rows, slice):
            view = object.__new__(PackedImages)
            view.__dict__.update(self.__dict__, _which=self._which[rows])
            return view
        numbers = np.asarray(rows)
        if numbers.dtype == bool:
            numbers = np.arange(len(self))[numbers]
        if not numbers.ndim:
            return self._decode(self._which[int(numbers)])
        images = np.empty((numbers.size, *self._image_shape), np.uint8)
        for image, number in zip(images, numbers.ravel(), strict=True):
            image[:] = self._decode(self._which[int(number)])
        return images.reshape(*numbers.shape, *self._image_shape)

    def copy(self) -> UInt8[np.ndarray, "n height width 3"]:
        """Return all of them as an array."""
        return self[np.arange(len(self))]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.copy(), dtype)

    def _decode(self, number: int) -> UInt8[np.ndarray, "height width 3"]:
        start, end = self._offsets[number], self._offsets[number + 1]
        image = cv2.imdecode(self._blob[start:end], cv2.IMREAD_COLOR) if end > start else None
        if image is None:
            raise DatasetError(
                f"{self._path}: image {number} is damaged; delete {self._path.parent}, and it is "
                "made anew."
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode(images: UInt8[np.ndarray, "n height width 3"]) -> list[bytes]:
    """Return each image as a JPEG file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    turned = (cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in images)
    return [cv2.imencode(".jpg", image, options)[1].tobytes() for image in turned]


def _offsets(path: Path) -> Path:
    return path.with_name(f"{path.stem}_offsets.npy")


def _open(path: Path, which: range) -> PackedImages:
    return PackedImages(path, which=which)
