"""The metrics of a training as a CSV file, which a kill and a resume leave in order."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from vjepa_gym.learning.checkpoints import write_atomically


class LossLog:
    """One row for each step that is told; none of a step that a kill undid."""

    def __init__(self, path: Path, done: int) -> None:
        """Open the log, dropping what was written after step `done` or was cut short."""
        self._path = path
        if not path.exists():
            return
        header, *rows = path.read_text().splitlines(keepends=True) or [""]
        kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= done]
        if kept:
            write_atomically(path, "".join([header, *kept]).encode())
        else:
            path.unlink()

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of a step."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *metrics], lineterminator="\n")
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writer.writeheader()
        writer.writerow({"step": step, **{name: f"{x:.6g}" for name, x in metrics.items()}})
        with self._path.open("a") as file:
            file.write(text.getvalue())
