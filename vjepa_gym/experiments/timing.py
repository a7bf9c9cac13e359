"""How fast something is, on one core."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often a second something was done.

    Attributes:
        process: By the processor's time, which others on the machine hardly change.
        wall: By the clock.
    """

    process: float
    wall: float

    def times(self, factor: float) -> "Rate":
        """Return how often a second that was done of which there are `factor` in each."""
        return Rate(process=factor * self.process, wall=factor * self.wall)


def rate(task: Callable[[], object], seconds: float, *, least: int = 2) -> Rate:
    """Do something over and over for as long as asked, and say how often a second that was.

    Args:
        task: What is done.
        seconds: For how long at least, of the processor's time.
        least: How often at least.
    """
    count, spent = 0, 0.0
    process, wall = time.process_time(), time.perf_counter()
    while spent < seconds or count < least:
        task()
        count += 1
        spent = time.process_time() - process
    return Rate(process=count / spent, wall=count / (time.perf_counter() - wall))


def duration(task: Callable[[], object]) -> float:
    """Do something once and return how much of the processor's time it took [s]."""
    began = time.process_time()
    task()
    return time.process_time() - began


@contextmanager
def one_core(core: int | None = None) -> Iterator[int | None]:
    """Keep this process on one core inside; by default the first that it may use.

    Yields:
        The core, or None where the system knows of no such thing.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    chosen = min(allowed) if core is None else core
    os.sched_setaffinity(0, {chosen})
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, allowed)


def machine(core: int | None, packages: Sequence[str]) -> dict[str, Any]:
    """Return what it was measured on: the core, the processor, the versions of packages."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.processor() or platform.machine()
    return {"core": core, "processor": processor, **{name: version(name) for name in packages}}
