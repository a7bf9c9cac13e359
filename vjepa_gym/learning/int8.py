"""Linear layers with weights and inputs of 8 bits, for inference on CPUs.

Weights are rounded once, with a scale for each output; what comes in is rounded token by token, as
it comes (Dettmers et al., LLM.int8(), 2022, without its split of outliers). A single layer is then
wrong by 0.7 to 1 % (relative L2, of normal weights and inputs).
"""

import platform
from typing import Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

INT8_LIMIT = 127


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
            return _WithGradient.apply(rows, self).unflatten(0, x.shape[:-1])
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
