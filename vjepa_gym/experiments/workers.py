"""The same work in several processes at once, which may be interrupted, or die, at any time.

Parent and workers share one pipe each and nothing else: a worker that dies takes nobody along, and
a parent that dies leaves no semaphore behind.
"""

import os
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeAlias, TypeVar

from vjepa_gym.errors import VJEPAGymError

Result = TypeVar("Result")
Begin: TypeAlias = Callable[[], Callable[[int], Result]]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ATTEMPTS = 3
"""How many workers may die at the same item."""


class LostWorkerError(VJEPAGymError, RuntimeError):
    """Workers were killed again and again at the same piece of work."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ignore(item: int) -> None:
    pass


def in_workers(
    begin: Begin[Result],
    items: Sequence[int],
    workers: int,
    on_lost: Callable[[int], None] = _ignore,
) -> Generator[Result, None, None]:
    """Yield the result of each item as soon as it is finished, in any order.

    Workers finish what they are at when this is interrupted or closed, and die with this process.
    What a worker was at when it was killed is done again by a new one.

    Args:
        begin: Called once in each worker; returns what is called for each item. Importable, and
            so are its results.
        items: What to work on.
        workers: How many processes. One is a process of its own as well: with more threads,
            numerical libraries give other last digits.
        on_lost: Called with the item at which a worker was killed.

    Raises:
        LostWorkerError: Workers were killed at the same item `ATTEMPTS` times.
    """
    team = _Team(begin, items)
    try:
        for _ in range(min(workers, len(items))):
            team.hire()
        while team.busy:
            for worker in team.ready():
                try:
                    done = worker.pipe.recv()
                except (EOFError, OSError):
                    on_lost(team.replace(worker))
                    continue
                if isinstance(done, BaseException):
                    raise done
                team.employ(worker)
                yield done
    finally:
        team.dismiss()


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    item: int | None = None


class _Team:
    """Workers, and what they are yet to do."""

    def __init__(self, begin: Begin[Any], items: Sequence[int]) -> None:
        self._begin, self._waiting = begin, deque(items)
        self._deaths: Counter[int] = Counter()
        self.workers: list[_Worker] = []

    @property
    def busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.item is not None]

    def ready(self) -> list[_Worker]:
        """Wait until some workers have said something, or died; return these."""
        said = connection.wait([worker.pipe for worker in self.busy])
        return [worker for worker in self.busy if worker.pipe in said]

    def hire(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._begin), daemon=True)
        worker = _Worker(process, ours)
        with _one_thread_each(), _interrupts_held_back():
            process.start()
            self.workers.append(worker)
        theirs.close()
        self.employ(worker)

    def employ(self, worker: _Worker) -> None:
        """Give a worker the next item, if there is one."""
        worker.item = self._waiting.popleft() if self._waiting else None
        if worker.item is not None:
            # If it died meanwhile, its end of the pipe will tell.
            with suppress(OSError):
                worker.pipe.send(worker.item)

    def replace(self, worker: _Worker) -> int:
        """Have a new worker do what a killed one was at; return that."""
        item = worker.item
        assert item is not None
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        self._deaths[item] += 1
        if self._deaths[item] >= ATTEMPTS:
            raise LostWorkerError(
                f"{ATTEMPTS} workers died at episode {item}, the last with exit code "
                f"{worker.process.exitcode} (-9: killed, often for want of memory; fewer workers "
                "need less)."
            )
        self._waiting.appendleft(item)
        self.hire()
        return item

    def dismiss(self) -> None:
        """Wait for all workers to finish what they are at; without a pipe they then end."""
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep the numerical libraries of all processes begun meanwhile to one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let processes begun meanwhile inherit that Ctrl-C is not for them, but for their parent.

    It is blocked rather than ignored: a main module, which they import, may set a handler of its
    own, and a Ctrl-C meanwhile reaches this process afterwards.
    """
    # The first process of multiprocessing's own, whose start would unblock it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, begin: Begin[Any]) -> None:
    """Work on what comes through the pipe, until that is closed."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        work = begin()
        while True:
            pipe.send(work(pipe.recv()))
    except BaseException as error:
        with suppress(OSError):  # nobody listens any more
            pipe.send(_portable(error))
        raise SystemExit(1) from error


def _portable(error: BaseException) -> BaseException:
    """Return an error that reaches another process with what it says and where it was raised."""
    where = "".join(traceback.format_exception(error))
    try:
        error = pickle.loads(pickle.dumps(error))
    except (pickle.PicklingError, TypeError, AttributeError):
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a worker:\n{where}")
    return error


def _die_with_parent() -> None:
    """End this process once its parent has been killed; nobody else would."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
