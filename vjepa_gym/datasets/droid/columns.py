"""Columns of an HDF5 file, read so that nothing that a damaged or foreign file claims is believed.

HDF5 keeps no checksums of what DROID writes: a file whose structure is whole may still have other
numbers in it, which only `vjg/SHA256SUMS` tells.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from vjepa_gym.datasets.droid.kinds import Defect, DefectError, defect, errors
from vjepa_gym.errors import DatasetError

LARGEST = 1 << 28
"""No column of an episode is larger [bytes]: hours of rows."""
NUMBERS, WHOLE = "fiu", "iu"
"""Kinds of NumPy's types."""
DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError)
"""What h5py raises for a damaged file."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column must be.

    Attributes:
        name: Its path in the file.
        shape: Of one row.
        kinds: Which of NumPy's kinds of types it may have.
        finite: Whether NaN and infinity are defects.
    """

    name: str
    shape: tuple[int, ...] = ()
    kinds: str = NUMBERS
    finite: bool = True


class Columns:
    """The columns of an open file, and what was found wrong with those that were asked for."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file, self._path = file, path
        self._rows: int | None = None
        self.defects: list[Defect] = []

    def has(self, name: str) -> bool:
        """Return whether there is such a column, whole or not."""
        try:
            return self._file.get(name) is not None
        except DAMAGE:
            return True

    def read(self, column: Column) -> np.ndarray | None:
        """Return a column; None if it is not what it must be, which is then among `defects`.

        The first that is read says how many rows there are.
        """
        try:
            values, wrong = _read(self._file, column.name, self._path)
        except DAMAGE as error:
            values, wrong = None, _damaged(self._path, f"{column.name}, {error}")
        if values is not None:
            wrong = self._wrong(column, values)
        if wrong:
            self.defects.append(wrong)
        return None if wrong and errors([wrong]) else values

    def _wrong(self, column: Column, values: np.ndarray) -> Defect | None:
        if values.dtype.kind not in column.kinds:
            said = f"expected numbers as {column.name}, found {values.dtype}"
            return defect("wrong_type", self._path, said)
        rows = self._rows if self._rows is not None else len(values) if values.ndim else 0
        if values.shape != (rows, *column.shape) or not rows:
            shape = ", ".join(map(str, ("rows" if self._rows is None else rows, *column.shape)))
            said = f"expected the shape ({shape}) of {column.name}, found {values.shape}"
            return defect("wrong_shape", self._path, said)
        self._rows = rows
        with np.errstate(over="ignore"):  # what no float holds is infinite
            single = values.reshape(rows, -1).astype(np.float32)
        finite = np.isfinite(single).all(axis=1)
        if column.finite and not finite.all():
            said = f"row {finite.argmin()} of {column.name} is not finite"
            return defect("not_finite", self._path, said)
        return None


@contextmanager
def open_columns(path: Path) -> Iterator[Columns]:
    """Yield the columns of a file.

    Raises:
        DefectError: It is missing or no HDF5 file.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise DefectError(defect("missing_file", path, "not found")) from None
    except DAMAGE as error:
        raise DefectError(_damaged(path, error)) from error
    with file:
        yield Columns(file, path)


def read_rows(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return whole columns of a `trajectory.h5`, such as `action/joint_position`, as they are.

    Raises:
        DatasetError: The file is missing, truncated, or lacks a key.
    """
    found = {}
    try:
        with h5py.File(path, "r") as file:
            for name in names:
                values, wrong = _read(file, name, path)
                if wrong or values is None:
                    raise DefectError(wrong or _damaged(path, name))
                found[name] = values
    except FileNotFoundError:
        raise DefectError(defect("missing_file", path, "not found")) from None
    except DatasetError:
        raise
    except DAMAGE as error:
        raise DefectError(_damaged(path, error)) from error
    return found


def _read(file: h5py.File, name: str, path: Path) -> tuple[np.ndarray | None, Defect | None]:
    """Return a column of numbers that fits into memory, or why there is none."""
    found = file.get(name)
    if found is None:
        return None, defect("missing_key", path, f"expected DROID's keys, but {name} is missing")
    if not isinstance(found, h5py.Dataset):
        said = f"expected a column as {name}, found a {type(found).__name__}"
        return None, defect("wrong_type", path, said)
    # Other types are never read: a damaged file's pointers would be followed.
    if found.dtype.kind not in "fiub" or found.shape is None:
        return None, defect("wrong_type", path, f"expected numbers as {name}, found {found.dtype}")
    chunk = np.prod(found.chunks or (0,), dtype=np.float64) * found.dtype.itemsize
    size = np.prod(found.shape, dtype=np.float64) * found.dtype.itemsize
    if max(chunk, size) > LARGEST:
        said = f"{name} of shape {found.shape} is larger than any episode's"
        return None, defect("wrong_shape", path, said)
    return np.asarray(found[()]), None


def _damaged(path: Path, error: object) -> Defect:
    return defect("unreadable_rows", path, f"expected a whole HDF5 file, but {error}")
