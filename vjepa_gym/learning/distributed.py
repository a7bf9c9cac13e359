"""The processes that train together, as `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from vjepa_gym.errors import TrainingError

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, such as while the first writes a checkpoint."""
LOST = "Another of the processes that train together ended; what it said first is the cause."
STARTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` sets in the environment of a process."""


@dataclass(frozen=True)
class World:
    """This process among those that train together; one alone by default."""

    rank: int = 0
    """Which of the processes this is, from 0."""
    size: int = 1
    """How many there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where this one computes, unless it is told otherwise."""
    store: ClassVar[Store | None] = None
    """What all can write words to at any time."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prints, logs and writes."""
        return self.rank == 0

    @property
    def joined(self) -> bool:
        """Whether there is a process group, if only of one."""
        return dist.is_initialized()

    def barrier(self) -> None:
        """Wait until all are here."""
        if self.joined:
            self.gather(torch.zeros(1, device=self.device))

    def gather(self, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "processes *shape"]:
        """Return the tensors of all processes, which have the same shape, in their order."""
        if not self.joined:
            return tensor[None]
        all_of_them = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(all_of_them, tensor.contiguous())
        return torch.stack(all_of_them)

    def mean(self, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Return the mean over all processes, each of which gets the same bytes."""
        return self.gather(tensor).mean(0)

    def broadcast(self, tensor: Shaped[Tensor, "*shape"]) -> None:
        """Overwrite `tensor`, which must be contiguous, with that of the first process."""
        if self.joined:
            dist.broadcast(tensor, 0)

    def tell(self, text: str = "") -> str:
        """Return the text of the first process; what the others say is not heard."""
        if not self.joined:
            return text
        words = torch.frombuffer(bytearray(text.encode()) or bytearray(1), dtype=torch.uint8)
        count = torch.tensor([len(text.encode())], device=self.device)
        self.broadcast(count)
        if not self.is_first:
            words = torch.zeros(max(int(count), 1), dtype=torch.uint8)
        words = words.to(self.device)
        self.broadcast(words)
        return bytes(words.tolist()[: int(count)]).decode()

    def is_first_to_say(self, text: str) -> bool:
        """Return whether no other process has said so yet; needs none of them to listen."""
        return World.store is None or World.store.add(f"said/{text}", 1) == 1


def is_started_by_torchrun() -> bool:
    """Return whether this process is one of several that were started to train together."""
    return all(name in os.environ for name in STARTED)


def current_world() -> World:
    """Return this process among those that `join_world` brought together, or alone."""
    if not dist.is_initialized():
        return World()
    return World(dist.get_rank(), dist.get_world_size(), _local_device())


@contextmanager
def join_world() -> Iterator[World]:
    """Bring together the processes that `torchrun` started; without it, this one is alone.

    Tensors on the CPU travel by gloo, those on CUDA devices by nccl. Within another `join_world`,
    nothing is done.

    Raises:
        TrainingError: Another of the processes ended while this one waited for it.
    """
    if dist.is_initialized() or not is_started_by_torchrun():
        yield current_world()
        return
    device = _local_device()
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    # Names of ours must not meet those of the process groups.
    World.store = PrefixStore("vjepa_gym", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield current_world()
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise TrainingError(LOST) from error
        raise
    # After an error the others may be in the midst of a collective, and this would wait for them.
    dist.destroy_process_group()
    World.store = None


def _local_device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device("cuda", local % torch.cuda.device_count())
