import pytest
import torch
from torch import nn

from vjepa_gym.learning.averaging import update_average


def test_every_parameter_moves_by_what_is_not_kept() -> None:
    slow, fast = (nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)) for _ in range(2))
    nn.init.ones_(fast[1].bias)
    wanted = [0.9 * a + 0.1 * b for a, b in zip(slow.parameters(), fast.parameters(), strict=True)]
    update_average(slow, fast, 0.9)
    torch.testing.assert_close(list(slow.parameters()), wanted)


def test_all_or_nothing_may_be_kept() -> None:
    slow, fast = nn.Linear(3, 2), nn.Linear(3, 2)
    before = slow.weight.clone()
    update_average(slow, fast, 1.0)
    assert torch.equal(slow.weight, before)
    update_average(slow, fast, 0.0)
    assert torch.equal(slow.weight, fast.weight)


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="same parameters"):
        update_average(nn.Linear(3, 2), nn.Linear(3, 4), 0.9)
    with pytest.raises(ValueError, match="same parameters"):
        update_average(nn.Linear(3, 2), nn.Linear(3, 2, bias=False), 0.9)
