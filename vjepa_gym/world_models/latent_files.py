"""One array of latents on disk, written row by row; a killed process loses little of it.

<key>.npy       complete
<key>.partial   a `.npy` file so far
<key>.rows      how many of its rows are on the disk for certain
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float16

from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.checkpoints import write_atomically

USABLE = 0.95
"""Part of what is free that latents may take."""
SURE_EVERY = 512
"""Rows between two moments at which what is written is made to last."""


class LatentFile:
    """The latents of one encoder and one data set.

    Attributes:
        path: Where they lie once all are there.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.npy"
        self._partial, self._mark = (
            self.path.with_suffix(".partial"),
            self.path.with_suffix(".rows"),
        )

    def done(self, shape: tuple[int, int, int]) -> int:
        """Return how many rows of an array of `shape` an earlier process has left for certain."""
        try:
            rows = int(self._mark.read_text())
            there = self._partial.stat().st_size >= rows * row_bytes(shape)
        except (FileNotFoundError, ValueError):
            return 0
        return rows if there else 0

    @contextmanager
    def alone(self) -> Iterator[BinaryIO]:
        """Hold the unfinished file against other processes; a killed one lets go of it.

        Raises:
            BlockingIOError: Another process has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._partial.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file

    def write(
        self,
        file: BinaryIO,
        parts: Iterator[Float16[np.ndarray, "some tokens dim"]],
        shape: tuple[int, int, int],
        done: int,
    ) -> None:
        """Append the rows from `done` on, then give the file its name.

        Args:
            file: What `alone` gave.
            parts: The rows that are missing, in order.
            shape: Of the whole array.
            done: Rows that are there already; what comes after them in the file is dropped.
        """
        file.truncate(self._size(file, shape, done))
        rows = sure = done
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
            rows += len(part)
            if rows - sure >= SURE_EVERY:
                _make_sure(file)
                write_atomically(self._mark, str(rows).encode())
                sure = rows
        if rows != shape[0]:
            raise ValueError(f"expected {shape[0]} rows in all, got {rows}")
        _make_sure(file)
        self._partial.replace(self.path)
        self._mark.unlink(missing_ok=True)

    def open(self) -> Float16[np.ndarray, "rows tokens dim"]:
        """Return all of it, as a memory map."""
        return np.load(self.path, mmap_mode="r")

    def drop_leftover(self) -> None:
        """Remove an unfinished file beside a finished one: two processes began at once."""
        self._partial.unlink(missing_ok=True)

    def _size(self, file: BinaryIO, shape: tuple[int, int, int], done: int) -> int:
        """Return how long the file is with `done` rows; write its head if it has none."""
        file.seek(0)
        if not done:
            file.truncate()
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            return file.tell()
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell() + done * row_bytes(shape)


def row_bytes(shape: tuple[int, int, int]) -> int:
    """Return what one row of latents takes [bytes]."""
    return 2 * shape[1] * shape[2]


def check_room(folder: Path, shape: tuple[int, int, int], done: int) -> int:
    """Return what is still to be written [bytes], if there is room for it.

    Raises:
        DatasetError: There is too little; says what is needed, and what else would do.
    """
    needed = (shape[0] - done) * row_bytes(shape)
    free = shutil.disk_usage(folder).free
    if needed <= USABLE * free:
        return needed
    others = sum(file.stat().st_size for file in folder.glob("*.npy"))
    raise DatasetError(
        f"{folder}: the latents of {shape[0] - done} frames need {amount(needed)}"
        f" ({amount(row_bytes(shape))} a frame), and {amount(free)} are free, of which they may"
        f" take {USABLE:.0%}. Make room (latents of other runs take {amount(others)} there; they"
        " are made anew when needed), choose another folder, or take latents=online, which encodes"
        " the frames of each batch and keeps nothing."
    )


def amount(count: int) -> str:
    """Return a number of bytes in the unit that suits it: `412 kB`, `86.5 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _make_sure(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
