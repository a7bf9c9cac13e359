import pytest
import torch

from vjepa_gym.agents.noise import Noise


def noise(axes=(0, 2), dim=4, seed=3):
    made = Noise(axes, dim, seed=seed, device="cpu")
    made.begin_plan()
    return made


def test_only_the_axes_that_are_searched_have_noise():
    for drawn in (noise().white(5, 2), noise().coloured(5, 2, 1.0)):
        assert drawn.shape == (5, 2, 4)
        assert drawn[..., [0, 2]].all()
        assert not drawn[..., [1, 3]].any()


def test_the_first_plans_numbers_are_those_of_a_generator_with_the_seed():
    generator = torch.Generator().manual_seed(3)
    drawn = noise().white(50, 2)
    for step in range(2):
        assert torch.equal(drawn[:, step, [0, 2]], torch.randn(50, 2, generator=generator))


def test_a_plan_does_not_depend_on_how_much_the_one_before_drew():
    one, other = noise(), noise()
    one.white(5, 1)
    for made in (one, other):
        made.begin_plan()
    assert torch.equal(one.white(5, 1), other.white(5, 1))


@pytest.mark.parametrize("horizon", [1, 2, 3, 8, 15])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 3.0])
def test_coloured_numbers_have_unit_variance_at_every_step(horizon, exponent):
    drawn = noise(axes=(0,), dim=1).coloured(40_000, horizon, exponent)[..., 0]
    assert torch.allclose(drawn.var(0), torch.tensor(1.0), atol=0.04)
    assert torch.allclose(drawn.mean(0), torch.tensor(0.0), atol=0.03)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_their_power_falls_with_the_frequency_as_the_exponent_says(exponent):
    drawn = noise(axes=(0,), dim=1).coloured(20_000, 32, exponent)[..., 0]
    power = torch.fft.rfft(drawn, dim=1).abs().square().mean(0)[1:-1]
    frequency = torch.fft.rfftfreq(32)[1:-1]
    slope = (power.log() - power.log().mean()) @ (frequency.log() - frequency.log().mean())
    slope /= (frequency.log() - frequency.log().mean()).square().sum()
    assert slope == pytest.approx(-exponent, abs=0.03)
