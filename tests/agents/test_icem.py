from dataclasses import replace

import pytest
import torch
from planner_contract import PlannerContract, Seen, bowl, some_targets

from vjepa_gym.agents.icem import ICEM, ICEMConfig


class TestContract(PlannerContract):
    config = ICEMConfig(num_samples=512, num_iterations=10)


CONFIG = ICEMConfig(num_samples=100, num_iterations=4, num_elites=10, kept_fraction=0.3)


def test_every_iteration_has_fewer_samples_but_twice_the_elites():
    config = replace(CONFIG, num_iterations=12, decay=1.25)
    seen = Seen(bowl(some_targets(1)))
    plan = ICEM(config).plan(seen, 1)
    numbers = [samples.shape[1] for samples in seen.samples]
    assert numbers == [100, 80, 64, 51, 40, 32, 26, 20, 20, 20, 20, 20]
    assert plan.evaluations == sum(numbers)


def test_elites_are_kept_from_one_iteration_to_the_next():
    seen = Seen(bowl(some_targets(2)))
    plan = ICEM(replace(CONFIG, record=True)).plan(seen, 2)
    for before, after, elites in zip(
        seen.samples[:2], seen.samples[1:3], plan.trace.elites[:2], strict=True
    ):
        kept = torch.take_along_dim(before, elites[:, :3, None, None], 1)
        assert torch.equal(after[:, :3], kept)
    assert (plan.trace.best.diff(dim=0) <= 0).all()


def test_the_mean_is_tried_last():
    """It is what a search that ends there would go on from: no noise in it."""
    seen = Seen(bowl(some_targets(1)))
    ICEM(CONFIG).plan(seen, 1)
    costs, mean = seen.costs[-1][0], seen.samples[-1][0, 0]
    assert costs[0] < costs.median()
    elites = seen.samples[-2][0][seen.costs[-2][0].argsort()[:10]]
    assert (mean - elites.mean(0)).abs().max() < 0.1 * 0.075 + 1e-6


def test_the_answer_is_the_best_that_was_imagined():
    seen = Seen(bowl(some_targets(2)))
    plan = ICEM(CONFIG).plan(seen, 2)
    assert torch.equal(plan.cost, torch.stack([c.amin(1) for c in seen.costs]).amin(0))
    assert torch.equal(plan.cost, bowl(some_targets(2))(plan.actions[:, None])[:, 0])


def elites_carried(planner, previous_of, n=2):
    """What the second plan's first iteration tries, and the elites of the first plan."""
    cost = bowl(some_targets(n))
    seen = Seen(cost)
    plan = planner.plan(seen, n)
    order = seen.costs[-1].argsort(1)[:, :3, None, None]
    elites = torch.take_along_dim(seen.samples[-1], order, 1)
    second = Seen(cost)
    planner.plan(second, n, previous=previous_of(plan))
    return second.samples[0][:, :3], elites


def test_elites_are_shifted_from_one_plan_to_the_next():
    tried, elites = elites_carried(ICEM(CONFIG), lambda plan: plan.actions)
    assert torch.equal(tried[:, :, :-1], elites[:, :, 1:])
    assert not torch.equal(tried[:, :, -1], elites[:, :, -1])


def test_who_begins_anew_has_no_elites():
    def only_the_first(plan):
        previous = plan.actions.clone()
        previous[1] = torch.nan
        return previous

    tried, elites = elites_carried(ICEM(CONFIG), only_the_first)
    assert torch.equal(tried[0, :, :-1], elites[0, :, 1:])
    assert not torch.equal(tried[1, :, :-1], elites[1, :, 1:])


@pytest.mark.parametrize("warm_start", [True, False])
def test_nothing_is_carried_without_a_previous_plan_or_a_warm_start(warm_start):
    planner = ICEM(replace(CONFIG, warm_start=warm_start))
    previous = None if warm_start else torch.zeros(2, 2, 7)
    tried, elites = elites_carried(planner, lambda plan: previous)
    assert not torch.isclose(tried[:, :, 0], elites[:, :, 1]).all(-1).any()


def test_another_number_of_robots_begins_anew():
    planner = ICEM(CONFIG)
    planner.plan(bowl(some_targets(3)), 3)
    plan = planner.plan(bowl(some_targets(2)), 2, previous=torch.zeros(2, 2, 7))
    assert plan.actions.shape == (2, 2, 7)


def test_noise_hangs_together_along_the_horizon():
    def likeness(exponent):
        config = replace(CONFIG, horizon=8, num_samples=2000, noise_exponent=exponent)
        seen = Seen(bowl(some_targets(1)))
        ICEM(replace(config, num_iterations=1, kept_fraction=0.0)).plan(seen, 1)
        steps = seen.samples[0][0, 1:, :, 0]  # the mean is the first of the last iteration
        return (steps[:, 1:] * steps[:, :-1]).mean() / steps.square().mean()

    assert likeness(0.0) == pytest.approx(0.0, abs=0.05)
    assert likeness(2.0) > 0.5
    assert likeness(4.0) > likeness(2.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_elites", 101),
        ("num_elites", 1),
        ("noise_exponent", -1.0),
        ("decay", 0.9),
        ("kept_fraction", 1.1),
        ("momentum", 1.0),
        ("min_std", -0.1),
    ],
)
def test_a_senseless_setting_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        replace(CONFIG, **{field: value})
