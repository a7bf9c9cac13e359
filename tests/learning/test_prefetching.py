import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_another() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.mark.usefixtures("two_threads")
def test_loading_takes_one_thread_and_leaves_the_others_theirs() -> None:
    with closing(prefetched(iter([torch.get_num_threads] * 4), 2)) as results:
        assert next(results) == 1
        assert torch.get_num_threads() == 2
        assert list(results) == [1, 1, 1]
    assert torch.get_num_threads() == 2
    assert threads_of_another() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("ahead", [0, 2])
def test_who_has_not_computed_yet_keeps_the_threads_that_were_asked_for(ahead: int) -> None:
    def load() -> int:
        assert list(prefetched(iter([lambda: 3]), ahead)) == [3]
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(load).result() == 2


def test_without_a_thread_of_its_own_loading_takes_those_of_the_caller() -> None:
    before = torch.get_num_threads()
    assert list(prefetched(iter([torch.get_num_threads]), 0)) == [before]


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
