"""Whether the lists in a dataset's root name the episodes that are there, and nothing else."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjepa_gym.experiments.audit.advice import INDEX, recovery
from vjepa_gym.experiments.audit.tree import Tree

PATHS = "droid_paths.csv"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a list says of an episode.

    Attributes:
        folder: Where it lies.
        claims: What else the list says: `rows`, `success`, `index`.
    """

    folder: Path
    claims: Mapping[str, Any]


def check_lists(tree: Tree) -> dict[Path, Listed]:
    """Compare the lists that there are with what lies there, and add what is wrong to `tree`.

    Returns:
        What `index.jsonl` says, by the real path of each episode.
    """
    index = list(_index(tree))
    if (tree.root / INDEX).is_file():
        _compare(tree, tree.root / INDEX, index)
    if (tree.root / PATHS).is_file():
        _compare(tree, tree.root / PATHS, _as_if_here(tree, list(_paths(tree))))
    return {listed.folder.resolve(): listed for listed in index}


def _compare(tree: Tree, file: Path, entries: list[Listed]) -> None:
    there = {folder.resolve(): folder for folder in tree.episodes}
    counts = Counter(listed.folder.resolve() for listed in entries)
    for folder, count in counts.items():
        name = there.get(folder, folder)
        if folder not in there:
            tree.note("listed_not_there", folder, f"listed in {file.name}")
        elif count > 1:
            tree.note("listed_twice", name, f"{count} times in {file.name}")
    for folder, name in there.items():
        if folder not in counts:
            tree.note("there_not_listed", name, f"missing in {file.name}")


def _as_if_here(tree: Tree, entries: list[Listed]) -> list[Listed]:
    """Return what `droid_paths.csv` says as if it named this root, if all of it names another."""
    there = {folder.resolve() for folder in tree.episodes}
    if not entries or any(listed.folder.resolve() in there for listed in entries):
        return entries
    names = set(tree.episodes)
    folders = [listed.folder.absolute() for listed in entries]
    shared = Path(os.path.commonpath(folders))
    best, named, found = 0, shared, entries
    for root in (shared, *shared.parents):
        here = [tree.root / folder.relative_to(root) for folder in folders]
        count = sum(folder in names for folder in here)
        if count > best:
            best, named = count, root
            found = [Listed(folder=folder, claims={}) for folder in here]
    if best:
        tree.note("moved", tree.root / PATHS, _moved(tree.root, named))
    return found


def _moved(root: Path, named: Path) -> str:
    reads = "read the episodes there" if named.is_dir() else "find none"
    if (root / INDEX).is_file():
        cure = f"{recovery(root)} writes the lists anew"
    else:
        cure = f"put {root.absolute()} in its place"
    return f"every line names an episode below {named}, where public loaders would {reads}; {cure}"


def _index(tree: Tree) -> Iterator[Listed]:
    for number, line in _lines(tree, tree.root / INDEX):
        try:
            entry = json.loads(line)
            yield Listed(folder=tree.root / entry["path"], claims=entry)
        except (ValueError, TypeError, KeyError) as error:
            tree.note(
                "unreadable_list", tree.root / INDEX, f"line {number} is not one of ours: {error!r}"
            )


def _paths(tree: Tree) -> Iterator[Listed]:
    file = tree.root / PATHS
    for number, line in _lines(tree, file):
        try:
            cells = next(csv.reader([line], delimiter=" ", strict=True))
        except csv.Error as error:
            tree.note("unreadable_list", file, f"line {number}: {error}")
            continue
        if cells:
            # A path that is not absolute begins where the reader was started.
            yield Listed(folder=Path(cells[0]), claims={})


def _lines(tree: Tree, file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        tree.note("unreadable_list", file, str(error))
        return
    if text and not text.endswith("\n"):
        tree.note("unreadable_list", file, "the last line is torn, as by a writer that was killed")
        text = text.rpartition("\n")[0]
    yield from enumerate(text.splitlines(), start=1)
