"""Looks into many files at once, and remembers what it found."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from vjepa_gym.datasets.caching.in_order import in_order
from vjepa_gym.datasets.video.remembering import Memory, remembered
from vjepa_gym.errors import DatasetError, UnknownNameError

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many files were looked into, and of how many."""
Examine: TypeAlias = Callable[[Path], Mapping[str, Any]]
"""Returns JSON values that say what a file is, or raises a `DatasetError` that says why not."""
Unfit: TypeAlias = Callable[[int, float], str | None]
"""Returns why a video of so many frames, and so many a second, is of no use; None if it is."""
ON_DEFECT = ("refuse", "skip")
"""What becomes of files that cannot be used: an error, or they are left out."""
TOLD = 10
"""How many of them a message names."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What files are.

    Attributes:
        found: Of those that can be used, by name.
        left_out: Why the others cannot be, by name.
        stamps: Size [bytes] and time of change [ns] of those that can be used.
    """

    found: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str]
    stamps: Mapping[str, tuple[int, int]]


def ignore(done: int, total: int) -> None:
    """Show nothing."""


def refuse_none(frames: int, rate: float) -> str | None:
    """Take every sound video."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def survey(
    root: Path,
    names: Sequence[str],
    examine: Examine,
    *,
    kind: str,
    depth: int = 0,
    on_defect: str = "refuse",
    workers: int | None = None,
    on_progress: Progress = ignore,
    unfit: Callable[[str, Mapping[str, Any]], str | None] | None = None,
) -> Survey:
    """Return what files below a folder are.

    Args:
        root: The folder.
        names: Their paths below it.
        examine: Looks into one; called by several threads.
        kind: Of files; what is known of them is remembered under this name.
        depth: How far `examine` looks; what was found by looking less far is found anew.
        on_defect: `refuse` or `skip` those that cannot be used.
        workers: Threads; by default one a core.
        on_progress: Told how far it is.
        unfit: Returns why one that is sound is of no use, by its name and what it is; None if it
            is. That is not remembered.

    Raises:
        DatasetError: One cannot be used and that is to be refused; or none can.
        UnknownNameError: There is no such way with defects.
    """
    if on_defect not in ON_DEFECT:
        raise UnknownNameError("on_defect", on_defect, ON_DEFECT)
    found, left_out, stamps = {}, {}, {}
    on_progress(0, len(names))
    with remembered(root, kind) as memory:
        look = partial(_look, root, examine, memory, depth)
        seen = in_order(look, names, workers or cores())
        for done, (name, one) in enumerate(zip(names, seen, strict=True), 1):
            if one.is_new and one.stamp is not None:
                memory.put(name, one.stamp, [depth, one.answer])
            why = one.answer.get("defect")
            if why is None and unfit is not None:
                why = unfit(name, one.answer)
            if why is not None:
                left_out[name] = why
            else:
                found[name], stamps[name] = one.answer, one.stamp
            on_progress(done, len(names))
    if left_out and (on_defect == "refuse" or not found):
        raise DatasetError(_refusal(root, kind, left_out, len(names)))
    if left_out:
        head = f"{root}: {len(left_out)} of {len(names)} {kind} are left out:"
        logger.warning("%s", "\n".join([head, *_some_of(left_out)]))
    return Survey(found=found, left_out=left_out, stamps=stamps)


@dataclass(frozen=True)
class _Seen:
    """What one file is, the state in which it is so, and whether that is worth remembering."""

    stamp: tuple[int, int] | None
    answer: Mapping[str, Any]
    is_new: bool


def _look(root: Path, examine: Examine, memory: Memory, depth: int, name: str) -> _Seen:
    path = root / name
    try:
        about = path.stat()
    except OSError as error:
        return _Seen(None, {"defect": f"{error.strerror}."}, is_new=False)
    stamp = about.st_size, about.st_mtime_ns
    known = memory.get(name, stamp)
    if known is not None and (known[0] >= depth or "defect" in known[1]):
        return _Seen(stamp, known[1], is_new=False)
    try:
        return _Seen(stamp, examine(path), is_new=True)
    except DatasetError as error:
        said = str(error).removeprefix(f"{path}: ")
        # A disk that fails, or a right that is missing, is not what the file is.
        passing = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
        return _Seen(stamp, {"defect": said}, is_new=not passing)


def _refusal(root: Path, kind: str, left_out: Mapping[str, str], count: int) -> str:
    all_of_them = len(left_out) == count
    said = (
        "There are no others."
        if all_of_them
        else "Mend them, or job.skip_bad=true leaves them out."
    )
    head = f"{root}: {len(left_out)} of {count} {kind} cannot be used. {said}"
    return "\n".join([head, *_some_of(left_out)])


def _some_of(left_out: Mapping[str, str]) -> list[str]:
    some = [f"  {name}: {why}" for name, why in list(left_out.items())[:TOLD]]
    return [*some, *([f"  and {len(left_out) - TOLD} more"] if len(left_out) > TOLD else [])]
