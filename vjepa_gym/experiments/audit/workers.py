"""Work on items that may kill whoever touches them: a process that dies or hangs is replaced."""

import faulthandler
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from vjepa_gym.errors import VJEPAGymError

Work: TypeAlias = Callable[[Any], Any]
GRACE = 30.0
"""How long after its time a process that hangs ends itself, should its parent be dead [s]."""
_BEGUN = "begun"


class WorkerError(VJEPAGymError):
    """A process could not even begin to work."""


@dataclass(frozen=True, kw_only=True)
class Casualty:
    """Why an item has no result.

    Attributes:
        overdue: Whether its process was killed for taking too long; else it died by itself.
        detail: How the process ended, with the last thing that it said.
    """

    overdue: bool
    detail: str


def in_watched_workers(
    work: Work, items: Sequence[Any], workers: int, timeout_s: float
) -> Generator[tuple[Any, Any], None, None]:
    """Yield each item with its result or with a `Casualty`, as soon as it is finished.

    All processes are killed when this is interrupted or closed.

    Args:
        work: Called once for each item, in another process; it can be pickled, and so can its
            results. What it raises is the end of that process.
        items: What to work on, begun in this order.
        workers: How many processes.
        timeout_s: How long one item may take [s].

    Raises:
        WorkerError: A process died before it began to work.
    """
    waiting, crew = deque(items), list[_Worker]()
    with TemporaryDirectory(prefix="vjepa-gym-audit-") as folder:
        try:
            while waiting or crew:
                while waiting and len(crew) < workers:
                    crew.append(_Worker(work, waiting.popleft(), timeout_s, Path(folder)))
                for worker in _changed(crew):
                    finished = worker.finished()
                    if finished is None:
                        continue
                    yield worker.item, finished.value
                    if waiting and not isinstance(finished.value, Casualty):
                        worker.begin(waiting.popleft())
                    else:
                        worker.end()
                        crew.remove(worker)
        finally:
            for worker in crew:
                worker.end()


@dataclass(frozen=True)
class _Finished:
    value: Any


class _Worker:
    """One process, the item that it is at, and since when."""

    def __init__(self, work: Work, item: Any, timeout_s: float, folder: Path) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._timeout_s = timeout_s
        self._log = folder / f"{id(self)}.txt"
        arguments = (theirs, str(self._log), timeout_s)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        # Not among the arguments: what it has to import shall not be heard on the terminal.
        self._tell(work)
        self.begin(item)

    def begin(self, item: Any) -> None:
        self.item = item
        self.deadline: float | None = None
        self._tell(item)

    def finished(self) -> _Finished | None:
        """Return what came of the item, if something did."""
        if not self.pipe.poll():
            return _Finished(Casualty(overdue=True, detail=f"more than {self._timeout_s:g} s"))
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionError):
            return _Finished(Casualty(overdue=False, detail=self._death()))
        if message == _BEGUN:
            self.deadline = time.monotonic() + self._timeout_s
            return None
        return _Finished(message.value)

    def end(self) -> None:
        self._process.kill()
        self._process.join(1)
        self.pipe.close()

    def _tell(self, message: Any) -> None:
        # If it is dead already, `finished` will find out.
        with suppress(ConnectionError):
            self.pipe.send(message)

    def _death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        said = self._log.read_text(errors="replace").split("\n") if self._log.is_file() else []
        last = next((line.strip() for line in reversed(said) if line.strip()), "")
        if self.deadline is None:
            raise WorkerError(f"A worker process could not begin: {how}. {last}")
        return f"{how}: {last}" if last else how


def _changed(crew: Sequence[_Worker]) -> list[_Worker]:
    """Wait until a worker says something, dies or is overdue; return those that did."""
    deadlines = [worker.deadline for worker in crew if worker.deadline is not None]
    patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
    ready = connection.wait([worker.pipe for worker in crew], patience)
    now = time.monotonic()
    return [
        worker
        for worker in crew
        if worker.pipe in ready or (worker.deadline is not None and worker.deadline <= now)
    ]


def _serve(pipe: connection.Connection, log: str, timeout_s: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    work = pipe.recv()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        os.ftruncate(2, 0)
        pipe.send(_BEGUN)
        faulthandler.dump_traceback_later(timeout_s + GRACE, exit=True)
        result = work(item)
        faulthandler.cancel_dump_traceback_later()
        pipe.send(_Finished(result))
