"""What was found out about files, kept from one start to the next; it may be deleted at any time.

    <root>.cache/<kind>.json     what is known of each file, by its size and its time of change

Where that cannot be written it is kept in the user's own cache, and where that cannot be written
either it is found out again: no error.
"""

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vjepa_gym.datasets.storage.staging import replace_file

FORMAT = 1
"""Raised whenever the same file would be told of differently."""
SECONDS_BETWEEN_SAVES = 30.0
"""A start that is stopped loses no more than that [s]."""

logger = logging.getLogger(__name__)


@dataclass
class Memory:
    """Answers by name, each valid for a file of one size and time of change.

    Attributes:
        path: Where it is kept; None if nowhere.
        known: All answers.
    """

    path: Path | None
    known: dict[str, Any] = field(default_factory=dict)
    _saved: float = field(default_factory=time.monotonic)
    _changed: bool = False

    def get(self, name: str, stamp: tuple[int, int]) -> Any:
        """Return what was kept of a file as it is now; None if nothing."""
        entry = self.known.get(name)
        if isinstance(entry, list) and len(entry) == 3 and tuple(entry[:2]) == stamp:
            return entry[2]
        return None

    def put(self, name: str, stamp: tuple[int, int], answer: Any) -> None:
        """Keep a JSON value, and save all now and then."""
        self.known[name] = [*stamp, answer]
        self._changed = True
        if time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write what is new; where that cannot be, say so in the log."""
        if self.path is None or not self._changed:
            return
        try:
            replace_file(self.path, json.dumps({"format": FORMAT, "files": self.known}) + "\n")
        except OSError as error:
            logger.info(
                "%s: cannot be written, so it will be found out again: %s", *(self.path, error)
            )
        self._saved, self._changed = time.monotonic(), False


@contextmanager
def remembered(root: Path, kind: str) -> Iterator[Memory]:
    """Yield what is remembered of the files below `root`, and keep what is added.

    Of several processes one goes first; the others wait, and find what it has found out.

    Args:
        root: The folder.
        kind: The name of the file.
    """
    places = _places(root, kind)
    known: dict[str, Any] = {}
    for place in reversed(places):
        known.update(_load(place))
    with _locked(places) as path:
        if path is not None:  # perhaps another process has been here meanwhile
            known.update(_load(path))
        memory = Memory(path, known)
        try:
            yield memory
        finally:
            memory.save()


def _places(root: Path, kind: str) -> list[Path]:
    """Where it may be kept, best first."""
    root = root.resolve()
    places = [root.with_name(f"{root.name}.cache") / f"{kind}.json"] if root.name else []
    own = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(own) if own else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return places
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return [*places, cache / "vjepa-gym" / f"{root.name}-{digest}" / f"{kind}.json"]


@contextmanager
def _locked(places: list[Path]) -> Iterator[Path | None]:
    """Yield the first place that can be written, alone."""
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file = place.with_suffix(".lock").open("w")
        except OSError:
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # some network file systems have no locks
                logger.info("%s: cannot be locked: %s", place, error)
            yield place
        return
    yield None


def _load(path: Path) -> Mapping[str, Any]:
    """Return what a file has; nothing if it is missing, damaged or of another format."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}
    files = content.get("files")
    return files if isinstance(files, dict) else {}
