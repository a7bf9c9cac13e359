"""The same work on the machines of a Ray cluster, which may come and go.

Nothing but messages connects them: no file system is shared, so that results must be whole. Each
piece of work runs in a process with one numerical thread, as in `workers`.
"""

import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.experiments.workers import ATTEMPTS, THREADS, Begin, LostWorkerError

Result = TypeVar("Result")
LISTENING = 5.0
"""How long to wait for a cluster's answer [s]."""
AHEAD = 2
"""Pieces of work under way or waiting, for each core of the cluster."""


class ClusterError(VJEPAGymError):
    """There is no Ray, or no cluster where one was said to be."""


def on_cluster(
    begin: Begin[Result],
    items: Sequence[int],
    address: str,
    in_flight: int,
    on_lost: Callable[[int], None],
) -> Generator[Result, None, None]:
    """Yield the result of each item as soon as it is finished, in any order.

    What a machine was at when it died is done again elsewhere, however often that happens.

    Args:
        begin: Called once in each process; returns what is called for each item. Importable on
            every machine.
        items: What to work on.
        address: Of the cluster; `auto` for one that runs here or that RAY_ADDRESS names, else this
            machine alone.
        in_flight: How many items are under way at most; 0 for `AHEAD` a core.
        on_lost: Called with the item at which a process, or its machine, died.

    Raises:
        ClusterError: Ray is not installed, or there is no cluster at `address`.
        LostWorkerError: Processes died at the same item `ATTEMPTS` times, on machines that did not.
    """
    ray = _ray()
    with _connected(ray, address):
        work = _Work(ray, begin, items, on_lost)
        try:
            while work.send(in_flight):
                yield from work.receive()
        finally:
            work.cancel()


class _Work:
    """What is to be done, and what is under way."""

    def __init__(
        self, ray: Any, begin: Begin[Any], items: Sequence[int], on_lost: Callable[[int], None]
    ) -> None:
        self._ray, self._on_lost = ray, on_lost
        self._waiting = list(reversed(items))
        self._under_way: dict[Any, int] = {}
        self._deaths: Counter[int] = Counter()
        self._key, self._begin = uuid4().hex, ray.put(begin)
        one_thread = {"env_vars": dict.fromkeys(THREADS, "1")}
        # Ray's own retries would not tell a machine that died from work that kills its process.
        self._remote = ray.remote(num_cpus=1, max_retries=0, runtime_env=one_thread)(_work)

    def send(self, in_flight: int) -> bool:
        """Put as much under way as there is room for; return whether anything is."""
        cores = int(self._ray.cluster_resources().get("CPU", 1))  # machines may have joined
        room = (in_flight or AHEAD * cores) - len(self._under_way)
        for _ in range(min(room, len(self._waiting))):
            item = self._waiting.pop()
            self._under_way[self._remote.remote(self._key, self._begin, item)] = item
        return bool(self._under_way)

    def receive(self) -> Iterator[Any]:
        """Wait until something is done, and yield its result unless it has to be done again."""
        errors = self._ray.exceptions
        (done,), _ = self._ray.wait(list(self._under_way), num_returns=1)
        item = self._under_way.pop(done)
        try:
            result = self._ray.get(done)
        except errors.RayTaskError as error:
            raise error.cause or error from None
        except (errors.NodeDiedError, errors.ObjectLostError):
            self._again(item)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            self._deaths[item] += 1
            if self._deaths[item] >= ATTEMPTS:
                said = f"{ATTEMPTS} processes died at episode {item}, the last: {error}"
                raise LostWorkerError(said) from error
            self._again(item)
        else:
            yield result

    def _again(self, item: int) -> None:
        self._on_lost(item)
        self._waiting.append(item)

    def cancel(self) -> None:
        """Give up what is under way."""
        for reference in self._under_way:
            # Not by force: Ray aborts this process if a result arrives in the same moment.
            self._ray.cancel(reference, force=False)


def _ray() -> Any:
    # It would send statistics about its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # An environment without GPUs is what is asked for; Ray would warn that this is to change.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "job.runner=ray needs Ray, which is not installed: pip install 'vjepa-gym[cluster]'"
        ) from error
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster unless this process is already."""
    if ray.is_initialized():
        yield
        return
    _check_listening(address)
    try:
        ray.init(
            address=None if address == "auto" else address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"No Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Do nothing if somebody listens there; Ray would try for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # not a machine's: Ray knows what to do with it
    try:
        socket.create_connection((host, int(port)), timeout=LISTENING).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"No Ray cluster at {address}: {error}. `ray start --head` on that machine begins one "
            "and tells its address."
        ) from error


_state: dict[str, Callable[[int], Any]] = {}


def _work(key: str, begin: Begin[Any], item: int) -> Any:
    """Run in a process of the cluster, which serves one run after another."""
    if key not in _state:
        _state.clear()
        _state[key] = begin()
    return _state[key](item)
