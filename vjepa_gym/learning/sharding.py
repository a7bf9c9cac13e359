"""One model on many processes: each holds all of it, or a share."""

import warnings
from enum import Enum
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from vjepa_gym.learning.distributed import World
from vjepa_gym.learning.layers import Block


class Sharding(Enum):
    """What each process of several holds."""

    replicate = "replicate"
    """All weights, gradients and states of the optimiser; gradients are averaged (DDP)."""
    full = "full"
    """A share of each; the weights of a block are gathered while it computes (FSDP2)."""


def spread(
    objective: nn.Module,
    sharding: Sharding,
    world: World,
    *,
    device: torch.device,
    bfloat16: bool,
) -> nn.Module:
    """Return what to call in place of `objective`, so that its gradients are of the whole batch.

    With `Sharding.full` its parameters become `DTensor`s, in place: make the optimiser after this.

    Args:
        objective: On `device`, the same on all processes.
        sharding: What each holds.
        world: The processes.
        device: Where this one computes.
        bfloat16: Whether sharded weights are gathered in bfloat16; gradients are summed in float32
            all the same.
    """
    if not world.joined:
        return objective
    if sharding is Sharding.full:
        mesh = init_device_mesh(device.type, (world.size,))
        policy = MixedPrecisionPolicy()
        if bfloat16:
            # Inputs are left to autocast, as without sharding: what is in metres stays float32.
            policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for module in objective.modules():
            if isinstance(module, Block):
                fully_shard(module, mesh=mesh, mp_policy=policy)
        fully_shard(objective, mesh=mesh, mp_policy=policy)
        return objective
    with warnings.catch_warnings():
        # Newer versions of torch call `broadcast_buffers` something that older ones do not know.
        warnings.simplefilter("ignore", FutureWarning)
        # Which parameters are without use, such as spare mask tokens, differs between steps.
        return DistributedDataParallel(
            _WithSpare(objective, device),
            find_unused_parameters=True,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


class _WithSpare(nn.Module):
    """An objective beside a parameter that is never used.

    Where all are used in the first step, DDP would warn that it looks for those that are not.
    """

    def __init__(self, objective: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.objective, self.spare = objective, nn.Parameter(torch.zeros(1, device=device))

    def forward(self, **batch: Any) -> Any:
        return self.objective(**batch)


def compile_blocks(objective: nn.Module) -> None:
    """Compile every transformer block when it is first called; names of weights stay as they are.

    Blocks alike are compiled once. The hooks that shard a block stay outside of what is compiled.
    """
    for module in objective.modules():
        if isinstance(module, Block):
            module.forward = torch.compile(module.forward)
