"""A dataset of episodes on disk: a `Sequence[Episode]` that several processes may write at once.

    <root>/SIM/<success|failure>/<date>/<time>/     one episode (`droid`)
    <root>/index.jsonl  <root>/droid_paths.csv      what there is; made anew by `recover` if need be
    <root>.staging/                                 episodes being written
    <root>.damaged/                                 what `recover` found broken; nothing is deleted

An episode is written aside, forced to disk, renamed into place and then listed, the last two while
holding a lock. A process killed at any moment leaves whole episodes or nothing.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import overload

from vjepa_gym.datasets import droid
from vjepa_gym.datasets.staging import Staging, publish, replace_file, synchronise
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode


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


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What `EpisodeStore.recover` found.

    Attributes:
        episodes: Whole episodes.
        unlisted: How many of them the index did not have.
        unfinished: Folders of killed writers that were removed.
        damaged: Episodes that were moved to `<root>.damaged`, and what was wrong with each.
    """

    episodes: int
    unlisted: int
    unfinished: int
    damaged: dict[str, str]

    def __str__(self) -> str:
        return (
            f"{self.episodes} whole episodes ({self.unlisted} were not in the index), "
            f"{self.unfinished} unfinished removed, {len(self.damaged)} damaged set aside"
        )


# Not `Sequence[Episode]`, or the tests' type checker would decode an episode at every call.
class EpisodeStore(Sequence):
    """Writes episodes, lists them, reads them back.

    Args:
        root: The dataset's folder; it comes to be with the first episode.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self._index_file = self.root / "index.jsonl"
        self._paths_file = self.root / "droid_paths.csv"
        self._damaged = self.root.with_name(f"{self.root.name}.damaged")
        self.staging = Staging(self.root.with_name(f"{self.root.name}.staging"))

    def write(
        self,
        index: int,
        episode: Episode,
        *,
        header: str = "physical",
        videos: Mapping[str, Path] | None = None,
    ) -> Entry:
        """Add `episode` as number `index`; see `droid.write_episode` for the rest.

        Raises:
            DatasetError: That number is taken, or something in the episode cannot be kept.
        """
        with self.staging.folder(f"{index:06d}") as folder:
            droid.write_episode(folder, episode, index, header=header, videos=videos)
            entry = _describe(folder, droid.relative_path(index, episode.success))
            with self.staging.lock():
                if index in self.indices() or (self.root / entry.path).exists():
                    raise DatasetError(f"{self.root}: episode {index} is there already.")
                publish(folder, self.root / entry.path, self.root)
                self._append(entry)
        return entry

    def entries(self) -> list[Entry]:
        """Return the index in order of the episodes' numbers; a line torn by a kill is left out.

        Raises:
            DatasetError: A line other than the last is not one of ours.
        """
        if not self._index_file.is_file():
            return []
        whole = self._index_file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        try:
            entries = [Entry(**json.loads(line)) for line in whole]
        except (ValueError, TypeError) as error:
            raise DatasetError(
                f"{self._index_file}: expected one JSON object a line, but {error}. "
                "Delete the file and call `recover` to make it anew."
            ) from error
        return sorted(entries, key=lambda entry: entry.index)

    def indices(self) -> set[int]:
        """Return the numbers of all episodes in the index."""
        return {entry.index for entry in self.entries()}

    def folder(self, entry: Entry) -> Path:
        """Return where an episode lies."""
        return self.root / entry.path

    def size(self, entry: Entry) -> int:
        """Return how large the files of an episode are together [bytes]."""
        files = (path for path in self.folder(entry).rglob("*") if path.is_file())
        return sum(file.stat().st_size for file in files)

    def __len__(self) -> int:
        return len(self.entries())

    @overload
    def __getitem__(self, position: int) -> Episode: ...
    @overload
    def __getitem__(self, position: slice) -> list[Episode]: ...
    def __getitem__(self, position: int | slice) -> Episode | list[Episode]:
        """Return the episode at `position` among those there are, in order of their numbers."""
        chosen = self.entries()[position]
        if isinstance(chosen, Entry):
            return droid.read_episode(self.folder(chosen))
        return [droid.read_episode(self.folder(entry)) for entry in chosen]

    def __iter__(self) -> Iterator[Episode]:
        for entry in self.entries():
            yield droid.read_episode(self.folder(entry))

    def recover(self) -> Recovery:
        """Remove what killed writers left, check every episode, and make the index anew."""
        unfinished = self.staging.sweep()
        if not self.root.is_dir():
            return Recovery(episodes=0, unlisted=0, unfinished=unfinished, damaged={})
        with self.staging.lock():
            listed = _lines(self._index_file)
            entries, damaged = self._scan()
            for path in damaged:
                self._set_aside(path)
            self._list(entries)
        return Recovery(
            episodes=len(entries),
            unlisted=sum(_line(entry) not in listed for entry in entries),
            unfinished=unfinished,
            damaged=damaged,
        )

    def _scan(self) -> tuple[list[Entry], dict[str, str]]:
        entries: dict[int, Entry] = {}
        damaged: dict[str, str] = {}
        for sidecar in sorted(self.root.glob("*/*/*/*/vjg")):
            path = sidecar.parent.relative_to(self.root)
            try:
                entry = _describe(sidecar.parent, path)
            except DatasetError as error:
                damaged[str(path)] = str(error)
                continue
            if entry.index in entries:
                damaged[str(path)] = f"The same number as {entries[entry.index].path}."
                continue
            entries[entry.index] = entry
        return sorted(entries.values(), key=lambda entry: entry.index), damaged

    def _set_aside(self, path: str) -> None:
        target = self._damaged / path
        while target.exists():
            target = target.with_name(f"{target.name}~")
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).rename(target)

    def _append(self, entry: Entry) -> None:
        """List one more episode, mending first what a kill in the middle of a line left."""
        if not (_ends_whole(self._index_file) and _ends_whole(self._paths_file)):
            self._list(self._scan()[0])
            return
        for path, line in (
            (self._index_file, _line(entry)),
            (self._paths_file, self._path_line(entry)),
        ):
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
            synchronise(path)

    def _list(self, entries: Sequence[Entry]) -> None:
        replace_file(self._index_file, "".join(map(_line, entries)))
        replace_file(self._paths_file, "".join(map(self._path_line, entries)))

    def _path_line(self, entry: Entry) -> str:
        """Folder and number with a space between, quoted if need be: DROID's readers' "CSV"."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=" ", lineterminator="\n")
        writer.writerow([self.folder(entry), entry.index])
        return buffer.getvalue()


def _describe(folder: Path, path: Path) -> Entry:
    digest, sidecar = droid.verify(folder), droid.read_sidecar(folder)
    return Entry(
        index=sidecar["index"],
        path=path.as_posix(),
        rows=sidecar["rows"],
        success=sidecar["success"],
        digest=digest,
    )


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _lines(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return set(path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True))


def _ends_whole(path: Path) -> bool:
    return not path.is_file() or path.read_bytes()[-1:] in (b"\n", b"")
