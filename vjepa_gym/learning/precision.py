"""Computing with fewer bits than 32, in inference.

`bfloat16` halves the room of weights, and a GPU's tensor cores multiply it, or a CPU's AMX. `int8`
is for CPUs; see `int8.py`. `vjepa-gym benchmark rollout` measures what both do to features and
plans.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from vjepa_gym.errors import CheckpointError, UnknownNameError
from vjepa_gym.learning.int8 import Int8Linear
from vjepa_gym.learning.layers import Block

PRECISIONS = ("auto", "float32", "bfloat16", "int8")


def choose_precision(name: str, device: torch.device | str) -> str:
    """Return the precision called `name`; for `auto`, bfloat16 on a GPU and float32 on a CPU.

    Raises:
        UnknownNameError: There is none of that name.
        ValueError: It is `int8`, and the device no CPU.
    """
    if name not in PRECISIONS:
        raise UnknownNameError("precision", name, PRECISIONS)
    kind = torch.device(device).type
    if name == "auto":
        return "bfloat16" if kind == "cuda" else "float32"
    if name == "int8" and kind != "cpu":
        raise ValueError(f"int8 is for CPUs: take bfloat16 on {kind}, or device=cpu.")
    return name


def lower_precision(model: nn.Module, precision: str) -> None:
    """Change a model's weights, in place, to those of `precision`; it cannot be trained thereafter.

    In bfloat16 those of linear and convolutional layers become bfloat16; run the model inside
    `computing_in`. In int8 the linear layers of transformer blocks are replaced. Others stay.

    Args:
        model: Any; on the device where it will compute.
        precision: What `choose_precision` returned.
    """
    if precision == "bfloat16":
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
                layer.to(torch.bfloat16)
    if precision == "int8":
        for block in [module for module in model.modules() if isinstance(module, Block)]:
            _replace_linear(block)


@contextmanager
def computing_in(precision: str, device: torch.device | str) -> Iterator[None]:
    """Have layers compute in `precision` inside; nothing changes for float32 and int8."""
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        yield


class Frozen(nn.Module):
    """A model for inference only, whose precision can be lowered.

    Attributes:
        precision: In what it computes.
    """

    precision: str = "float32"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def lower(self, precision: str) -> None:
        """Compute in `precision` from now on, with weights of as many bits.

        The features of the shipped `tiny` then differ by about 0.5 % in bfloat16 and 0.3 % in int8
        (relative L2); `vjepa-gym benchmark rollout` measures it, and what becomes of plans.

        Args:
            precision: `auto` (bfloat16 on a GPU, float32 on a CPU), `float32`, `bfloat16`, or
                `int8`, for CPUs. What was lowered once stays so.

        Raises:
            UnknownNameError: There is no such precision.
            ValueError: `int8` is wanted elsewhere than on a CPU, or it has been lowered already.
        """
        wanted = choose_precision(precision, self.device)
        if wanted != self.precision and self.precision != "float32":
            raise ValueError(
                f"this model computes in {self.precision} already; load it again for {wanted}."
            )
        if wanted != self.precision:
            lower_precision(self, wanted)
            self.precision = wanted

    def check_whole(self) -> None:
        """Refuse to go on, such as saving, with weights that were rounded.

        Raises:
            CheckpointError: They were, by `lower`.
        """
        if self.precision != "float32":
            raise CheckpointError(
                f"A model that computes in {self.precision} has lost part of its weights: load it"
                " again with precision=float32 to save it."
            )


def _replace_linear(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            _replace_linear(child)
