"""Batches that are loaded while the one before is learnt from."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from vjepa_gym.errors import TrainingError

T = TypeVar("T")


def split(size: int, parts: int) -> list[slice]:
    """Return equal consecutive parts of a batch.

    Args:
        size: Samples in the batch.
        parts: How many.

    Raises:
        TrainingError: They cannot be equal; names sizes that could.
    """
    if size % parts:
        below, above = size // parts * parts, (size // parts + 1) * parts
        near = " or ".join(str(n) for n in (below, above) if n)
        raise TrainingError(
            f"A batch of {size} cannot be split into {parts} equal parts (processes times"
            f" accumulate); a batch_size of {near} would do, or another accumulate."
        )
    part = size // parts
    return [slice(start, start + part) for start in range(0, size, part)]


def prefetched(jobs: Iterator[Callable[[], T]], ahead: int) -> Generator[T]:
    """Do `jobs` in order in a thread, at most `ahead` before their results are asked for.

    What a job raises is raised where its result is asked for. Close the iterator to stop the
    thread; jobs that were not begun are dropped.
    """
    if not ahead:
        for job in jobs:
            yield job()
        return
    # The caller's own number of threads is settled by asking for it: what another thread sets holds
    # for all that have not computed yet.
    torch.get_num_threads()
    # With threads of its own, loading would stand in the way of those that compute.
    pool = ThreadPoolExecutor(1, "prefetch", initializer=torch.set_num_threads, initargs=(1,))
    try:
        waiting: deque[Future[T]] = deque(pool.submit(job) for job in islice(jobs, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(job) for job in islice(jobs, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch.get_num_threads())


def pinned(batch: Any) -> Any:
    """Return the tensors of a batch in memory from which a GPU can fetch them by itself."""
    return _mapped(batch, Tensor.pin_memory)


def moved(batch: Any, device: torch.device) -> Any:
    """Return the tensors of a batch (in dicts and lists) on `device`."""
    return _mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {name: _mapped(value, change) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)([_mapped(value, change) for value in batch])
    return batch
