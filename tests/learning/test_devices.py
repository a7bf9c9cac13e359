import pytest
import torch

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.learning.devices import choose_device


@pytest.fixture
def cards(monkeypatch):
    """Pretend to have some CUDA devices."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


@pytest.mark.parametrize(
    ("count", "name", "expected"),
    [(0, "auto", "cpu"), (2, "auto", "cuda:0"), (2, "cuda:1", "cuda:1"), (1, "cuda", "cuda")],
)
def test_a_device_is_chosen_among_those_that_are_here(cards, count, name, expected):
    cards(count)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize(("count", "name"), [(0, "cuda"), (1, "cuda:1"), (1, "tpu")])
def test_a_device_that_is_not_here_is_refused(cards, count, name):
    cards(count)
    with pytest.raises(UnknownNameError, match="Available: auto, cpu"):
        choose_device(name)
