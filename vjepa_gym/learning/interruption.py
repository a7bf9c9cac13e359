"""Ctrl-C, held back while what must not be left half done is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Do all of the block, and only then what a Ctrl-C (SIGINT) in it asks for.

    Outside the main thread, which is the only one that Python interrupts, this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    # None is a handler that Python did not set, and could not put back.
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        signal.raise_signal(signal.SIGINT)
