"""A `.npy` file that grows: its length need not be known when it is begun."""

from pathlib import Path
from types import TracebackType

import numpy as np


class GrowingArray:
    """Writes images to a `.npy` file, some at a time; on leaving the context it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> "GrowingArray":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if kind is None:
            self._file.seek(0)
            self._write_header()
        self._file.close()

    def append(self, images: np.ndarray) -> None:
        """Write more rows, all of one shape and uint8.

        Raises:
            ValueError: They have another shape than those before.
        """
        if not self._shape:
            self._shape = (0, *images.shape[1:])
            self._write_header()
        if images.shape[1:] != self._shape[1:]:
            raise ValueError(f"expected images of {self._shape[1:]}, got {images.shape[1:]}")
        self._file.write(np.ascontiguousarray(images, np.uint8).data)
        self._shape = (self._shape[0] + len(images), *self._shape[1:])

    def _write_header(self) -> None:
        # NumPy leaves room for the first axis to grow, so that the header's length stays.
        header = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)
