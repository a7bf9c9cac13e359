"""Measuring several ways of doing a thing by turns, on all cores or a GPU, by the clock."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from vjepa_gym.experiments.timing import Rate


def by_turns(
    tasks: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float,
    on_round: Callable[[int], None] | None = None,
) -> dict[str, list[Rate]]:
    """Return how often a second each was done, in each round; each was done once before.

    Args:
        tasks: What is done, by name.
        rounds: How often each is measured.
        seconds: For how long at least each time, by the clock [s]; at least once.
        on_round: Called with the number of each round, from 1, before it begins.
    """
    for task in tasks.values():
        task()
    rates: dict[str, list[Rate]] = {name: [] for name in tasks}
    for number in range(1, rounds + 1):
        if on_round is not None:
            on_round(number)
        for name, task in tasks.items():
            rates[name].append(_rate(task, seconds))
    return rates


def _rate(task: Callable[[], object], seconds: float) -> Rate:
    count, gone = 0, 0.0
    _wait()
    process, began = time.process_time(), time.perf_counter()
    while gone < seconds or not count:
        task()
        _wait()
        count += 1
        gone = time.perf_counter() - began
    return Rate(process=count / max(time.process_time() - process, 1e-9), wall=count / gone)


def _wait() -> None:
    """Wait until a GPU has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def on_threads(count: int) -> Iterator[int]:
    """Let torch use so many threads inside; as many as it likes if 0.

    Yields:
        How many that are.
    """
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
