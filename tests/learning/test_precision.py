"""Fewer bits: chosen for the device, close to 32 of them, and still with gradients."""

import pytest
import torch
from torch import nn

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.settings import PRECISIONS as OFFERED
from vjepa_gym.learning import int8
from vjepa_gym.learning.int8 import Int8Linear
from vjepa_gym.learning.layers import Block, Rope, grid_positions
from vjepa_gym.learning.precision import (
    PRECISIONS,
    choose_precision,
    computing_in,
    lower_precision,
)


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 20)


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cuda:0", "bfloat16"),
        ("int8", "cpu", "int8"),
        ("float32", "cuda", "float32"),
        ("bfloat16", "cpu", "bfloat16"),
    ],
)
def test_the_precision_suits_the_device(name: str, device: str, expected: str) -> None:
    assert choose_precision(name, device) == expected


def test_a_precision_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="auto, bfloat16, float32, int8"):
        choose_precision("fp4", "cpu")
    with pytest.raises(ValueError, match="take bfloat16 on cuda"):
        choose_precision("int8", "cuda:1")


def test_settings_offer_the_same() -> None:
    assert OFFERED == PRECISIONS


@pytest.mark.parametrize("integers", [True, False])
def test_eight_bits_are_close(
    linear: nn.Linear, inputs: torch.Tensor, integers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not integers:
        monkeypatch.setattr(int8, "multiplies_integers", lambda: False)
    layer = Int8Linear(linear)
    assert 0 < relative(layer(inputs), linear(inputs)) < 0.02
    assert layer(inputs[:, :0]).shape == (3, 0, 20)


def test_tokens_and_outputs_of_other_sizes_are_as_exact(
    linear: nn.Linear, inputs: torch.Tensor
) -> None:
    sizes = 10.0 ** torch.arange(-3, 4)[:, None]
    with torch.no_grad():
        linear.weight *= 10.0 ** torch.linspace(-3, 3, 20)[:, None]
        linear.bias *= 0
        layer, found = Int8Linear(linear), linear(inputs * sizes)
        errors = (layer(inputs * sizes) - found).norm(dim=0) / found.norm(dim=0)
    assert errors.max() < 0.2  # with one scale for all, small tokens would be all wrong


def test_zeros_and_layers_without_a_bias_are_exact(inputs: torch.Tensor) -> None:
    linear = nn.Linear(48, 20, bias=False)
    layer = Int8Linear(linear)
    assert torch.equal(layer(torch.zeros(2, 48)), torch.zeros(2, 20))
    nn.init.zeros_(linear.weight)
    assert torch.equal(Int8Linear(linear)(inputs), torch.zeros(3, 7, 20))


def test_processors_without_vnni_round_further_and_do_not_overflow(
    linear: nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert int8._activation_limit() == 63
    most = torch.ones(2, 48)
    assert relative(Int8Linear(linear)(most), linear(most)) < 0.02


def test_gradients_reach_the_input(linear: nn.Linear, inputs: torch.Tensor) -> None:
    one, other = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    Int8Linear(linear)(one).square().sum().backward()
    linear(other).square().sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    assert relative(one.grad, other.grad) < 0.02


@pytest.mark.parametrize(("name", "most"), [("int8", 0.02), ("bfloat16", 0.01)])
def test_a_block_computes_much_the_same(name: str, most: float) -> None:
    torch.manual_seed(0)
    stack = nn.ModuleDict({"block": Block(24, 2), "head": nn.Linear(24, 5)})
    rope = Rope.at(grid_positions(1, 3, 3), 12)
    x = torch.randn(2, 9, 24)
    with torch.no_grad():
        before = stack["block"](x, rope)
        lower_precision(stack, name)
        with computing_in(name, "cpu"):
            after = stack["block"](x, rope)
    assert 0 < relative(after.float(), before) < most
    assert isinstance(stack["block"].mlp.fc1, Int8Linear) == (name == "int8")
    assert type(stack["head"]) is nn.Linear
    assert (stack["head"].weight.dtype == torch.bfloat16) == (name == "bfloat16")
    assert stack["block"].norm1.weight.dtype == torch.float32


def test_thirty_two_bits_change_nothing(linear: nn.Linear) -> None:
    before = linear.weight.clone()
    lower_precision(linear, "float32")
    assert torch.equal(linear.weight, before)


@pytest.mark.gpu
def test_bfloat16_is_close_on_a_gpu() -> None:
    torch.manual_seed(0)
    block = Block(48, 2).cuda()
    rope = Rope.at(grid_positions(1, 3, 3, "cuda"), 24)
    x = torch.randn(2, 9, 48, device="cuda")
    with torch.no_grad():
        before = block(x, rope)
        lower_precision(block, "bfloat16")
        with computing_in("bfloat16", "cuda"):
            after = block(x, rope)
    assert 0 < relative(after.float(), before) < 0.01
