from dataclasses import replace

import pytest
import torch
from planner_contract import PlannerContract, Seen, bowl, some_targets

from vjepa_gym.agents.mppi import MPPI, MPPIConfig, weights_of


class TestContract(PlannerContract):
    config = MPPIConfig(num_samples=256, num_iterations=8)


def test_cheaper_samples_count_for_more_as_boltzmann_has_it():
    costs = torch.tensor([[1.0, 2.0, 6.0]])
    # They cost 0, 1 and 5 more than the cheapest: 2 on average, so that half of it is 1.
    expected = torch.tensor([[0.0, -1.0, -5.0]]).exp()
    assert torch.allclose(weights_of(costs, 0.5), expected / expected.sum())


def test_weights_do_not_depend_on_the_scale_or_origin_of_the_energy():
    costs = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(weights_of(costs, 0.3), weights_of(1e-3 * costs + 5.0, 0.3), rtol=2e-2)


def test_all_count_the_same_where_all_cost_the_same():
    assert torch.allclose(weights_of(torch.full((1, 4), 3.0), 0.5), torch.tensor(0.25))


def test_a_low_temperature_takes_the_cheapest_alone():
    weights = weights_of(torch.tensor([[1.0, 1.5, 2.0]]), 1e-3)
    assert torch.allclose(weights, torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("num_elites", [0, 7])
def test_the_answer_and_the_spread_are_weighted_averages(num_elites):
    config = MPPIConfig(num_samples=50, num_iterations=2, num_elites=num_elites, min_std=0.0)
    config = replace(config, record=True)
    seen = Seen(bowl(some_targets(1)))
    plan = MPPI(config).plan(seen, 1)
    means, stds = [], []
    for samples, costs in zip(seen.samples, seen.costs, strict=True):
        chosen = costs[0].argsort()[: num_elites or 50]
        weights = weights_of(costs[:, chosen], config.temperature)[0, :, None, None]
        means.append((weights * samples[0, chosen]).sum(0))
        stds.append((weights * (samples[0, chosen] - means[-1]).square()).sum(0).sqrt())
    assert torch.allclose(plan.actions[0], means[1], atol=1e-6)
    assert torch.allclose(plan.trace.std[1, 0], stds[0].square().mean(0).sqrt(), atol=1e-6)
    assert plan.trace.elites.shape == (2, 1, num_elites or 50)


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", 0.0), ("num_elites", -1), ("num_elites", 129), ("min_std", -1.0)],
)
def test_a_senseless_setting_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        MPPIConfig(**{field: value})
