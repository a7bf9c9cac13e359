"""The same work in several processes at once, which may be interrupted, or die, at any time."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

Result = TypeVar("Result")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_workers(
    begin: Callable[[], Callable[[int], Result]], items: Sequence[int], workers: int
) -> Generator[Result, None, None]:
    """Yield the result of each item as soon as it is finished, in any order.

    Workers finish what they are at when this is interrupted or closed, and die with this process.

    Args:
        begin: Called once in each worker; returns what is called for each item. Importable, and
            so are its results.
        items: What to work on.
        workers: How many processes. One is a process of its own as well: with more threads,
            numerical libraries give other last digits.

    Raises:
        BrokenProcessPool: A worker was killed.
    """
    context = get_context("spawn")
    with (
        _one_thread_each(),
        ProcessPoolExecutor(workers, context, initializer=_start, initargs=(begin,)) as pool,
    ):
        with _interrupts_ignored():
            futures = [pool.submit(_work, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


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
def _interrupts_ignored() -> Iterator[None]:
    """Let processes begun meanwhile inherit that Ctrl-C is not for them, but for their parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_state: dict[str, Callable[..., Any]] = {}


def _start(begin: Callable[[], Callable[[int], Any]]) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _state["begin"] = begin


def _work(item: int) -> Any:
    if "work" not in _state:
        # Here and not in `_start`, where an exception would be lost.
        _state["work"] = _state["begin"]()
    return _state["work"](item)


def _die_with_parent() -> None:
    """End this process once its parent has been killed; nobody else would."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
