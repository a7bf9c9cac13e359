"""Collections that are killed again and again, and somebody who looks on all the time."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage.store import EpisodeStore

KINDS = {"worker": 0.6, "group": 0.2, "parent": 0.2}
"""Who is killed how often: one worker at random, all processes, or the parent alone."""

RUN = """
import sys
sys.path[:0] = {helpers!r}
from collect_recorders import *
from vjepa_gym.experiments.jobs.collect import CollectConfig, open_simulation, run_collect

if __name__ == "__main__":
    run_collect(CollectConfig(root=sys.argv[1], **{settings!r}), open_recorder={recorder})
"""
HELPERS = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]


class Killer:
    """Starts a collection, kills it, and looks at what is visible meanwhile.

    Args:
        folder: Where.
        recorder: Name of what records.
        settings: Of the collection, but for its root.
        seed: Decides who is killed, and when.
    """

    def __init__(self, folder: Path, recorder: str, settings: dict, seed: int) -> None:
        self.folder, self.root = folder, folder / "set"
        self.rng = random.Random(seed)
        self.script = folder / "run.py"
        code = RUN.format(helpers=HELPERS, settings=settings, recorder=recorder)
        self.script.write_text(code)
        self.process: subprocess.Popen[str] | None = None
        self.verified: set[Path] = set()
        self.looks = 0

    def start(self) -> subprocess.Popen[str]:
        with (self.folder / "errors.txt").open("a") as errors:
            return subprocess.Popen(
                [sys.executable, str(self.script), str(self.root)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def look(self) -> None:
        """Assert that what is visible is whole."""
        listed = {entry.path for entry in EpisodeStore(self.root).entries()}
        seen = {path.parent for path in self.root.glob("*/*/*/*/*")}
        assert listed <= {path.relative_to(self.root).as_posix() for path in seen}
        for path in seen - self.verified:
            droid.verify(path)
        self.verified |= seen
        self.looks += 1

    def look_until_end(self, process: subprocess.Popen[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            self.look()
            time.sleep(0.03)

    def kill(self, latest: float) -> tuple[str, bool]:
        """Kill somebody after at most so long; return who, and whether there still was a run.

        A run that lost only a worker goes on; otherwise a new one is started.
        """
        (kind,) = self.rng.choices(list(KINDS), list(KINDS.values()))
        if self.process is None:
            self.process = self.start()
        process = self.process
        self.look_until_end(process, self.rng.uniform(0.0, latest))
        alive = process.poll() is None
        if alive and kind == "worker":
            if workers := workers_of(process.pid):
                _kill(self.rng.choice(workers))
        elif alive:
            (os.killpg if kind == "group" else os.kill)(process.pid, signal.SIGKILL)
            process.wait(timeout=20)
            self.process = None
        else:
            self._end()
        self.look()
        return kind, alive

    def finish(self) -> None:
        """Let runs come to their end until nothing is missing."""
        done = False
        while not done:
            self.process = process = self.process or self.start()
            self.look_until_end(process, 300)
            done = self._end()
        self.look()

    def _end(self) -> bool:
        """Return whether a run that is over did all; else, workers died thrice at an episode."""
        assert self.process is not None
        status, self.process = self.process.wait(timeout=1), None
        assert status == 0 or "LostWorkerError" in self.errors().splitlines()[-1], self.errors()
        return status == 0

    def errors(self) -> str:
        return (self.folder / "errors.txt").read_text()

    def noise(self) -> bool:
        """Return whether somebody said more than that a worker died.

        A worker whose parent is killed before it told it what to do says so; that is Python's own.
        """
        errors = self.errors()
        known = errors.count("in spawn_main") + 2 * errors.count("LostWorkerError: ")
        own = errors.count("Traceback") <= known
        return not own or "KeyboardInterrupt" in errors or "leaked" in errors


def check_alike(killed: Path, unbroken: Path) -> None:
    """Assert that two datasets have the same index and the same episodes."""
    for name in ("index.jsonl", "collection.json"):
        assert (killed / name).read_bytes() == (unbroken / name).read_bytes()
    for mine, theirs in zip(EpisodeStore(killed), EpisodeStore(unbroken), strict=True):
        for name in ("commands", "poses", "joints", "step_seconds"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        for camera, images in mine.images.items():
            np.testing.assert_array_equal(images, theirs.images[camera])
        for name, values in mine.extras.items():
            np.testing.assert_array_equal(values, theirs.extras[name])


def workers_of(pid: int) -> list[int]:
    """Return the workers among the children of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in _command(child)]
    except FileNotFoundError:
        return []


def _command(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
