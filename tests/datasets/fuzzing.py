"""Reads damaged episodes in a process of its own, and says what became of each."""

import contextlib
import hashlib
import multiprocessing
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from episodes import make_episode
from foreign import write_foreign
from mutations import MUTATIONS, one_of

from vjepa_gym.datasets.droid.defects import errors, find_defects
from vjepa_gym.datasets.droid.kinds import KINDS
from vjepa_gym.datasets.droid.reading import read_episode
from vjepa_gym.datasets.droid.writing import write_episode
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

PATIENCE = 30.0
"""What takes longer hangs [s]."""
ORIGINS = ("ours", "ours, sums made anew", "others'")
REFUSED, SAME, OTHER = "refused", "read, as it was", "read, with other numbers"
BAD = ("crash", "hang", "unexpected error", "read in spite of a defect", "refused without one")
"""What must never be."""


@dataclass(frozen=True)
class Outcome:
    """What became of a damaged episode."""

    number: int
    origin: str
    mutation: str
    result: str
    detail: str


def fuzz(work: Path, *, seed: int, count: int) -> Iterator[Outcome]:
    """Damage `count` episodes, each a function of `seed` and its number, and read them."""
    originals = _originals(work)
    with contextlib.ExitStack() as stack:
        child = None
        for number in range(count):
            if child is None or not child.process.is_alive():
                child = stack.enter_context(_start())
            rng = np.random.default_rng([seed, number])
            origin = ORIGINS[number % len(ORIGINS)]
            folder = work / "episode"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(originals[origin], folder)
            mutation = one_of(rng, MUTATIONS)(folder, rng)
            if origin == ORIGINS[1]:
                _sign(folder)
            checksums = origin == ORIGINS[0]
            result, detail = child.ask(folder, originals[origin], checksums)
            yield Outcome(number, origin, mutation, result, detail)


def table(outcomes: list[Outcome]) -> str:
    """Return the counts by origin and result."""
    counts = Counter((one.origin, one.result) for one in outcomes)
    return "\n".join(
        f"{n:6d}  {origin}: {result}" for (origin, result), n in sorted(counts.items())
    )


def _originals(work: Path) -> dict[str, Path]:
    ours = work / "ours"
    ours.mkdir(parents=True)
    episode = make_episode(steps=9, cameras=("left", "wrist"), record_hz=15.0)
    write_episode(ours, episode, 0)
    return {ORIGINS[0]: ours, ORIGINS[1]: ours, ORIGINS[2]: write_foreign(work / "foreign")}


def _sign(folder: Path) -> None:
    """Write the digests anew, so that nothing but the files themselves tells of the damage."""
    sums = folder / "vjg/SHA256SUMS"
    if not sums.is_file():
        return
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != sums:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    sums.write_text("".join(lines))


class _Child:
    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *question: Path | bool) -> tuple[str, str]:
        self._pipe.send(question)
        try:
            if self._pipe.poll(PATIENCE):
                return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return "crash", f"exit status {self.process.exitcode}"
        self.stop()
        return "hang", f"more than {PATIENCE} s"

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _start() -> Iterator[_Child]:
    child = _Child()
    try:
        yield child
    finally:
        child.stop()


def _serve(pipe: Connection) -> None:
    warnings.simplefilter("error")
    while True:
        pipe.send(_judge(*pipe.recv()))


def _judge(folder: Path, original: Path, checksums: bool) -> tuple[str, str]:
    try:
        found = errors(find_defects(folder, checksums=checksums))
        unknown = [defect for defect in found if defect.kind not in KINDS]
        if unknown:
            return "unexpected error", str(unknown)
        try:
            episode = read_episode(folder)
        except DatasetError as error:
            return (REFUSED if found else "refused without one"), str(error)
        if found:
            return "read in spite of a defect", found[0].detail
        return _compare(episode, read_episode(original)), ""
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is a finding
        return "unexpected error", repr(error)


def _compare(episode: Episode, original: Episode) -> str:
    same = all(
        np.array_equal(getattr(episode, name), getattr(original, name))
        for name in ("commands", "poses", "joints", "step_seconds")
    )
    same = same and episode.images.keys() == original.images.keys()
    same = same and all(
        np.array_equal(episode.images[name], original.images[name]) for name in original.images
    )
    return SAME if same else OTHER
