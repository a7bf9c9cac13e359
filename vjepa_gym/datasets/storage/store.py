"""A dataset of episodes on disk: a `Sequence[Episode]` that several processes may write at once.

    <root>/SIM/<success|failure>/<date>/<time>/     one episode (`droid`)
    <root>/index.jsonl  <root>/droid_paths.csv      what there is; made anew by `recover` if need be
    <root>.staging/                                 episodes being written
    <root>.damaged/                                 what `recover` found broken; nothing is deleted

An episode is written aside, forced to disk, renamed into place and then listed, the last two while
holding a lock. A process killed at any moment, or a disk that is full, leaves whole episodes or
nothing: one that was renamed but not listed is listed by who writes that number next, or by
`recover`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage.disk import told_if_full
from vjepa_gym.datasets.storage.lists import Entry, Lists
from vjepa_gym.datasets.storage.staging import Staging, publish, synchronise_above
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode


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
        self._damaged = self.root.with_name(f"{self.root.name}.damaged")
        self.staging = Staging(self.root.with_name(f"{self.root.name}.staging"))
        self._lists = Lists(self.root, self.staging)

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
            DiskFullError: It does not fit on the disk.
        """
        with self._prepared(f"{index:06d}") as folder:
            droid.write_episode(folder, episode, index, header=header, videos=videos)
            return self._add(folder)

    def adopt(self, files: Mapping[str, bytes]) -> Entry:
        """Add an episode that was written elsewhere, once it has been checked.

        Args:
            files: What `droid.write_episode` wrote: contents by path relative to its folder.

        Raises:
            DatasetError: Its number is taken, or a file is missing, damaged, or not within it.
            DiskFullError: It does not fit on the disk.
        """
        with self._prepared("adopted") as folder:
            for name, content in files.items():
                path = (folder / name).resolve()
                if not path.is_relative_to(folder.resolve()):
                    raise DatasetError(f"{name!r} does not lie within an episode's folder.")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return self._add(folder)

    @contextmanager
    def _prepared(self, name: str) -> Iterator[Path]:
        with told_if_full(self.root, self.mean_size), self.staging.folder(name) as folder:
            yield folder

    def _add(self, folder: Path) -> Entry:
        """Check, publish and list an episode that was prepared."""
        entry = _describe(folder)
        with self.staging.lock():
            if entry.index in self.indices():
                raise DatasetError(f"{self.root}: episode {entry.index} is there already.")
            if not self._is_unlisted(entry):
                publish(folder, self.root / entry.path, self.root)
            if self._lists.are_whole():
                self._lists.append(entry)
            else:  # a kill in the middle of listing
                self._lists.replace(self._scan()[0])
        return entry

    def _is_unlisted(self, entry: Entry) -> bool:
        """Return whether a killed writer put just this episode there without listing it."""
        for success in (True, False):
            path = droid.relative_path(entry.index, success)
            if (self.root / path).exists():
                if _describe(self.root / path, path) == entry:
                    synchronise_above(self.root / path, self.root)
                    return True
                raise DatasetError(
                    f"{self.root / path}: another episode {entry.index} is there already, though "
                    "the index lacks it; `recover` makes the index anew."
                )
        return False

    def entries(self) -> list[Entry]:
        """Return the index in order of the episodes' numbers; a line torn by a kill is left out.

        Raises:
            DatasetError: A line other than the last is not one of ours.
        """
        return self._lists.entries()

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

    def mean_size(self, most: int = 20) -> int:
        """Return how large the last `most` episodes are on average; 0 if there is none [bytes]."""
        sizes = [self.size(entry) for entry in self.entries()[-most:]]
        return round(sum(sizes) / len(sizes)) if sizes else 0

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
            listed = self._lists.lines()
            entries, damaged = self._scan()
            for path in damaged:
                self._set_aside(path)
            self._lists.replace(entries)
        return Recovery(
            episodes=len(entries),
            unlisted=sum(entry.line not in listed for entry in entries),
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

    def arrange(self) -> None:
        """List the episodes in the order of their numbers, rather than of their arrival."""
        with self.staging.lock():
            self._lists.replace(self.entries())


def _describe(folder: Path, path: Path | None = None) -> Entry:
    """Return the line of the episode in `folder`, which lies, or belongs, at `path`."""
    digest, sidecar = droid.verify(folder), droid.read_sidecar(folder)
    index, success = sidecar["index"], sidecar["success"]
    return Entry(
        index=index,
        path=(path or droid.relative_path(index, success)).as_posix(),
        rows=sidecar["rows"],
        success=success,
        digest=digest,
    )
