"""The metrics of a training as a CSV file, which a kill and a resume leave in order."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vjepa_gym.learning.checkpoints import write_atomically

STEP = "step"


class LossLog:
    """One row for each step that is told; none of a step that a kill undid."""

    def __init__(self, path: Path, done: int) -> None:
        """Open the log, dropping what was written after step `done` or was cut short."""
        self._path = path
        self._columns: list[str] = []
        if not path.exists():
            return
        header, *rows = path.read_text().splitlines(keepends=True) or [""]
        kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= done]
        if kept:
            self._columns = header.strip().split(",")
            write_atomically(path, "".join([header, *kept]).encode())
        else:
            path.unlink()

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of a step; those that it lacks, or that are new, leave gaps."""
        new = [name for name in (STEP, *metrics) if name not in self._columns]
        if new:
            self._widen(new)
        row = {STEP: str(step), **{name: f"{x:.6g}" for name, x in metrics.items()}}
        with self._path.open("a") as file:
            file.write(_lines(self._columns, [row], header=False))

    def _widen(self, new: Sequence[str]) -> None:
        """Write the file again with further columns."""
        rows: list[dict[str, str]] = []
        if self._columns:
            with self._path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        self._columns = [*self._columns, *new]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, _lines(self._columns, rows, header=True).encode())


def _lines(columns: Sequence[str], rows: Sequence[Mapping[str, str]], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
