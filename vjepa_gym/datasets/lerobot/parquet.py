"""Tables in Parquet files, both ways. Only this module knows pyarrow, which is an extra."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vjepa_gym.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

Columns: TypeAlias = Mapping[str, np.ndarray]
"""Arrays with one row each; texts are arrays of `str`."""


def require_pyarrow() -> None:
    """See to it that Parquet files can be read and written.

    Raises:
        DatasetError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise DatasetError("LeRobot's format needs pyarrow: pip install 'vjepa-gym[lerobot]'.")


def write_columns(path: Path, columns: Columns) -> None:
    """Write one table; what has several numbers a row becomes a list of fixed size."""
    import pyarrow as pa

    _write(path, pa.table({name: _column(values) for name, values in columns.items()}))


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write one table with a row a record; lists of numbers may be nested."""
    import pyarrow as pa

    # Told from one record: what is inferred from values could differ from file to file.
    fields = [(name, _type_of(value)) for name, value in records[0].items()]
    _write(path, pa.Table.from_pylist([dict(one) for one in records], schema=pa.schema(fields)))


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Write the texts of tasks in order of their numbers: a pandas frame indexed by `task`."""
    import pyarrow as pa

    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype}
        for name, kind, dtype in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    frame = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [{**column, "metadata": None} for column in columns],
        "pandas_version": "2.2.0",
    }
    _write(path, table.replace_schema_metadata({"pandas": json.dumps(frame)}))


def read_table(path: Path) -> "pa.Table":
    """Return a whole table.

    Raises:
        DatasetError: The file is missing, truncated or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)
    except FileNotFoundError:
        raise DatasetError(f"{path}: not found.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected a whole Parquet file, but {error}.") from error
    return table


def read_column(
    path: Path, table: "pa.Table", name: str, kind: type, width: int | None = None
) -> np.ndarray:
    """Return a column of a table as an array.

    Args:
        path: The file that the table came from, for messages.
        table: What `read_table` returned, or a part of it.
        name: The column.
        kind: NumPy's type of its values.
        width: Values a row; None if a row is a single one.

    Raises:
        DatasetError: There is no such column, or it is not what it should be.
    """
    if name not in table.column_names:
        raise DatasetError(
            f"{path}: no column {name!r}; there are {', '.join(table.column_names)}."
        )
    shape = (table.num_rows,) if width is None else (table.num_rows, width)
    try:
        return np.array(table[name].to_pylist(), kind).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(
            f"{path}: expected {kind.__name__} of shape {shape} in column {name!r}, but {error}."
        ) from error


def _write(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _column(values: np.ndarray) -> "pa.Array":
    import pyarrow as pa

    if values.dtype.kind == "U":
        return pa.array(values.tolist(), pa.string())
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _type_of(value: Any) -> "pa.DataType":
    import pyarrow as pa

    if isinstance(value, list):
        return pa.list_(_type_of(value[0]))
    return {str: pa.string(), int: pa.int64(), float: pa.float64()}[type(value)]
