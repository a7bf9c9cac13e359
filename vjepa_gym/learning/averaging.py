"""Moving averages of weights, whole or sharded."""

import torch
from torch import Tensor, _foreach_lerp_, nn  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.tensor import DTensor


@torch.no_grad()
def update_average(slow: nn.Module, fast: nn.Module, kept: float) -> None:
    """Move the parameters of `slow` towards those of `fast`.

    Args:
        slow: The average.
        fast: Of the same architecture; if sharded, then as `slow` is.
        kept: Part of `slow` that is kept, in [0, 1].

    Raises:
        ValueError: The two differ in their parameters.
    """
    slows, fasts = list(slow.parameters()), list(fast.parameters())
    if [x.shape for x in slows] != [x.shape for x in fasts]:
        raise ValueError("a moving average needs the same parameters as what it follows")
    # Shards of the same rows lie on the same process: nothing is sent.
    _foreach_lerp_([_local(x) for x in slows], [_local(x) for x in fasts], 1 - kept)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
