import pytest
import torch

from vjepa_gym.agents.energies import ENERGIES, L1, L2
from vjepa_gym.world_models.base import Context, Imagined


def imagined(latents):
    n, samples, horizon, tokens, dim = latents.shape
    past = Context(
        latents=torch.zeros(n, 1, tokens, dim),
        poses=torch.zeros(n, 1, 7),
        actions=torch.zeros(n, 0, 7),
    )
    still = torch.zeros(n, samples, horizon, 7)
    return Imagined(context=past, actions=still, latents=latents, poses=still)


def futures_by_hand():
    """One robot, two samples, two steps, one token of two numbers; the goal is (0, 0)."""
    return torch.tensor([[[[[1.0, -3.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[-4.0, 2.0]]]]])


@pytest.mark.parametrize(
    ("energy", "values"),
    [
        (L1(summed=False), [1.0, 3.0]),
        (L2(summed=False), [2.0, 10.0]),
        (L1(summed=True), [3.0, 3.0]),
        (L2(summed=True), [7.0, 10.0]),
    ],
)
def test_energies_equal_those_worked_by_hand(energy, values):
    result = energy(imagined(futures_by_hand()), torch.zeros(1, 1, 2))
    assert torch.equal(result, torch.tensor([values]))


@pytest.mark.parametrize("make", ENERGIES.values(), ids=ENERGIES)
@pytest.mark.parametrize("summed", [False, True])
def test_an_energy_is_zero_at_the_goal_and_only_there(make, summed):
    goal = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    there = goal[:, None, None].expand(3, 2, 2, 4, 5).clone()
    assert not make(summed=summed)(imagined(there), goal).any()
    there[1, 1, -1, 2, 3] += 0.5
    assert (make(summed=summed)(imagined(there), goal) > 0).nonzero().tolist() == [[1, 1]]


def test_an_energy_leaves_what_was_imagined_as_it_was():
    future = imagined(futures_by_hand())
    L1(summed=True)(future, torch.zeros(1, 1, 2))
    assert torch.equal(future.latents, futures_by_hand())
