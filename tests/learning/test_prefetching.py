import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import torch

from vjepa_gym.errors import TrainingError
from vjepa_gym.learning.prefetching import moved, prefetched, split


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "prefetch" in thread.name]


def jobs(done: list[int], count: int = 10) -> Iterator[Callable[[], int]]:
    for number in range(count):
        yield lambda number=number: done.append(number) or number


@pytest.mark.parametrize("ahead", [0, 1, 3, 20])
def test_results_come_in_order_and_the_thread_ends(ahead: int) -> None:
    done: list[int] = []
    assert list(prefetched(jobs(done), ahead)) == list(range(10))
    assert done == list(range(10))
    assert not threads()


def test_no_more_is_done_ahead_than_asked_for() -> None:
    done: list[int] = []
    with closing(prefetched(jobs(done), 2)) as results:
        assert next(results) == 0
        deadline = time.monotonic() + 5
        while len(done) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert done == [0, 1, 2]
    assert not threads()


def test_who_stops_early_waits_for_one_job_at_most() -> None:
    begun: list[int] = []

    def slow(number: int) -> Callable[[], None]:
        return lambda: begun.append(number) or time.sleep(0.05)

    with closing(prefetched((slow(number) for number in range(100)), 50)) as results:
        next(results)
    assert len(begun) < 10
    assert not threads()


def test_an_error_comes_out_where_its_result_was_asked_for() -> None:
    def fail() -> int:
        raise KeyError("broken")

    with closing(prefetched(iter([lambda: 1, fail, lambda: 3]), 3)) as results:
        assert next(results) == 1
        with pytest.raises(KeyError, match="broken"):
            next(results)
    assert not threads()


def test_a_batch_is_split_into_equal_parts_in_order() -> None:
    assert split(6, 3) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert split(4, 1) == [slice(0, 4)]
    with pytest.raises(TrainingError, match="batch_size of 4 would do"):
        split(3, 4)


def test_tensors_are_moved_wherever_they_are() -> None:
    x = torch.ones(2)
    batch = {"a": x, "b": [x, {"c": x}], "d": (x,), "e": 3, "f": None}
    there = moved(batch, torch.device("meta"))
    found = [there["a"], there["b"][0], there["b"][1]["c"], there["d"][0]]
    assert all(tensor.device.type == "meta" for tensor in found)
    assert (there["e"], there["f"]) == (3, None)
