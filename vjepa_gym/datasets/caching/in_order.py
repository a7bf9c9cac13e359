"""Something done to many things by several threads, the results in order and few at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yield `function` of each item, in order.

    Threads suffice for what runs outside of Python's lock: FFmpeg, OpenCV, NumPy. Not more than
    twice as many results as threads wait to be taken, however slow who takes them.

    Args:
        function: What is done.
        items: What it is done to.
        workers: Threads; with 1 nothing is done before it is asked for.
    """
    if workers == 1:
        yield from map(function, items)
        return
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
