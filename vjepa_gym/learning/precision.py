"""Computing with fewer bits than 32, in inference.

`bfloat16` halves the room of weights and lets a GPU's tensor cores (or a CPU's, where it has AMX)
multiply. `int8` is for CPUs: weights of the transformer's linear layers are rounded to 8 bits, with
a scale for each output, and what comes in is rounded likewise, token by token, as it comes (Dettmers
et al., LLM.int8(), 2022, without its split of outliers). A single layer is then wrong by 0.7 to 1 %
(relative L2, normal weights and inputs). `vjepa-gym benchmark rollout` measures what that makes of
features and plans.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError, UnknownNameError
from vjepa_gym.learning.layers import Block

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
INT8_LIMIT = 127


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
    `computing_in`. In int8 the linear layers of transformer blocks are replaced. Other weights stay.

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


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits, which gives gradients to its input only.

    On x86 processors the product is oneDNN's of 8-bit integers; elsewhere the weights are expanded
    and multiplied as floats, which saves room and no time.

    Attributes:
        weight: As integers.
        scale: What the weights of each output are multiplied by.
        bias: As floats, or None.
    """

    weight: Int8[Tensor, "out in"]
    scale: Float[Tensor, "out"]
    bias: Float[Tensor, "out"] | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(1) / INT8_LIMIT).clamp_min(torch.finfo(torch.float32).tiny)
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        bias = None if linear.bias is None else linear.bias.detach().float().clone()
        self.register_buffer("bias", bias)
        self._packed = self._pack()

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Return the product with the weights, plus the bias."""
        rows = x.flatten(0, -2)
        if torch.is_grad_enabled() and x.requires_grad:
            return _WithGradient.apply(rows, self).unflatten(0, x.shape[:-1])  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]
        return self.multiply(rows).unflatten(0, x.shape[:-1])

    def multiply(self, rows: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        """Return the same for a matrix, without a gradient."""
        if self._packed is None or not len(rows):
            return nn.functional.linear(rows, self.expanded(), self.bias)
        low, high = torch.aminmax(rows, dim=1, keepdim=True)
        sizes = torch.maximum(-low, high).clamp_min_(1e-30) / _activation_limit()
        rounded = (rows / sizes).round_().to(torch.int8)
        product = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 0, self._packed, self.scale, self._zeros, None, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
        if self.bias is None:
            return product.mul_(sizes)
        return torch.addcmul(self.bias, product, sizes)

    def expanded(self) -> Float[Tensor, "out in"]:
        """Return the weights as floats."""
        return self.weight * self.scale[:, None]

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"

    def _pack(self) -> Any:
        self._zeros = torch.zeros(len(self.scale), dtype=torch.int32)
        if not multiplies_integers():
            return None
        return torch.ops.onednn.qlinear_prepack(self.weight.contiguous(), None)


class _WithGradient(torch.autograd.Function):
    """The rounded product, with the gradient of the one that is not rounded."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layer: Int8Linear) -> Tensor:
        ctx.layer = layer
        return layer.multiply(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.layer.expanded(), None


def multiplies_integers() -> bool:
    """Return whether products of 8-bit integers are computed as such here."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return x86 and torch.backends.mkldnn.is_available()


def _activation_limit() -> int:
    """Return the largest integer that an input is rounded to.

    Processors without VNNI add pairs of products in 16 bits, which would overflow with 8.
    """
    return INT8_LIMIT if torch.cpu._is_vnni_supported() else INT8_LIMIT // 2


def _replace_linear(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            _replace_linear(child)
