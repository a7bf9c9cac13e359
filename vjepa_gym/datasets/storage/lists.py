"""What there is in a dataset: a line an episode in each of two files.

`index.jsonl` is ours and counts; `droid_paths.csv` is for DROID's readers.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vjepa_gym.datasets.storage.staging import Staging, append_line
from vjepa_gym.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the index.

    Attributes:
        index: Number of the episode.
        path: Its folder, relative to the root.
        rows: Observations in it.
        success: Whether it succeeded.
        digest: SHA-256 of everything in it (`droid.verify`).
    """

    index: int
    path: str
    rows: int
    success: bool
    digest: str

    @property
    def line(self) -> str:
        """The line itself."""
        return json.dumps(asdict(self)) + "\n"


class Lists:
    """Reads and writes both files; to write, one holds the lock of `staging`.

    Args:
        root: The dataset's folder.
        staging: Where files are prepared.
    """

    def __init__(self, root: Path, staging: Staging) -> None:
        self._root, self._staging = root, staging
        self._index, self._paths = root / "index.jsonl", root / "droid_paths.csv"

    def entries(self) -> list[Entry]:
        """Return the index in order of the episodes' numbers; a line torn by a kill is left out.

        Raises:
            DatasetError: A line other than the last is not one of ours.
        """
        if not self._index.is_file():
            return []
        whole = self._index.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        try:
            entries = [Entry(**json.loads(line)) for line in whole]
        except (ValueError, TypeError) as error:
            raise DatasetError(
                f"{self._index}: expected one JSON object a line, but {error}. "
                "Delete the file and call `recover` to make it anew."
            ) from error
        return sorted(entries, key=lambda entry: entry.index)

    def lines(self) -> set[str]:
        """Return the lines of the index, whatever is in them."""
        if not self._index.is_file():
            return set()
        text = self._index.read_text(encoding="utf-8", errors="replace")
        return set(text.splitlines(keepends=True))

    def are_whole(self) -> bool:
        """Return whether no line is torn, and both files have as many."""
        index, paths = (
            path.read_bytes() if path.is_file() else b"" for path in (self._index, self._paths)
        )
        whole = all(text[-1:] in (b"\n", b"") for text in (index, paths))
        return whole and index.count(b"\n") == paths.count(b"\n")

    def append(self, entry: Entry) -> None:
        """List one more episode.

        Raises:
            OSError: It could not be written; then the index is as it was.
        """
        append_line(self._paths, self._path_line(entry))
        append_line(self._index, entry.line)

    def replace(self, entries: Sequence[Entry]) -> None:
        """List these episodes and no others.

        Raises:
            OSError: It could not be written; then the index is as it was.
        """
        self._staging.replace(self._paths, "".join(map(self._path_line, entries)))
        self._staging.replace(self._index, "".join(entry.line for entry in entries))

    def _path_line(self, entry: Entry) -> str:
        """Folder and number with a space between, quoted if need be: DROID's readers' "CSV"."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=" ", lineterminator="\n")
        writer.writerow([self._root / entry.path, entry.index])
        return buffer.getvalue()
