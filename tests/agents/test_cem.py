import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.agents.cem import CEM, PLANNERS, CEMConfig, fast, paper
from vjepa_gym.errors import PlanningError

PLANNING = [pytest.param(make(), id=name) for name, make in PLANNERS.items()]


def bowl(targets):
    """The cost of every step's distance to the target of its robot."""

    def cost(actions):
        return (actions - targets[:, None, None]).square().sum((-2, -1))

    return cost


def some_targets(n, seed=0, reach=0.06):
    targets = torch.zeros(n, 7)
    targets[:, :3] = reach * (
        2 * torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) - 1
    )
    return targets


@pytest.mark.parametrize("config", PLANNING)
def test_every_robot_of_a_batch_finds_its_own_minimum(config):
    targets = some_targets(16)
    plan = CEM(config).plan(bowl(targets), 16)
    assert plan.actions.shape == (16, config.horizon, 7)
    # A hundred samples in all find a minimum less exactly than a thousand.
    exact = config.num_samples * config.num_iterations > 100
    tolerance = 4e-3 if exact else 2e-2
    assert torch.allclose(plan.actions[:, 0, :3], targets[:, :3], atol=tolerance)


@given(seed=st.integers(0, 2**31), n=st.integers(2, 6), horizon=st.integers(1, 3))
def test_more_samples_find_the_minimum_of_longer_sequences(seed, n, horizon):
    targets = some_targets(n, seed)
    config = replace(fast(), horizon=horizon, num_samples=256, num_elites=32, num_iterations=8)
    plan = CEM(config, seed=seed).plan(bowl(targets), n)
    assert torch.allclose(plan.actions[..., :3], targets[:, None, :3], atol=4e-3)


@pytest.mark.parametrize("config", PLANNING)
def test_a_robot_plans_the_same_alone_and_among_others(config):
    targets = some_targets(5)
    together = CEM(config).plan(bowl(targets), 5).actions
    for robot in range(5):
        alone = CEM(config).plan(bowl(targets[[robot]]), 1).actions
        assert torch.allclose(alone[0], together[robot], atol=1e-6)


@pytest.mark.parametrize("config", PLANNING)
def test_no_sample_and_no_answer_leaves_the_limits(config):
    seen = []
    far = torch.full((3, 7), 5.0)

    def cost(actions):
        seen.append(actions)
        return bowl(far)(actions)

    config = replace(config, max_translation=0.05, plan_gripper=True)
    plan = CEM(config).plan(cost, 3)
    for actions in (*seen, plan.actions):
        assert actions[..., :3].abs().max() <= 0.05
        assert actions[..., 3:6].abs().max() == 0
        assert actions[..., 6].abs().max() <= 0.75
    assert torch.allclose(plan.actions[..., :3], torch.tensor(0.05), atol=0.01)


def test_a_gripper_that_is_not_planned_never_moves():
    def cost(actions):
        assert not actions[..., 6].any()
        return -actions[..., 6].sum(-1)

    assert not CEM(replace(paper(), plan_gripper=False)).plan(cost, 2).actions[..., 6].any()


@pytest.mark.parametrize(("wanted", "answer"), [(0.6, 0.6), (0.1, 0.0), (-0.1, 0.0), (-0.7, -0.7)])
def test_the_gripper_makes_large_changes_only(wanted, answer):
    targets = torch.zeros(1, 7)
    targets[:, 6] = wanted
    assert CEM(paper()).plan(bowl(targets), 1).actions[0, 0, 6] == pytest.approx(answer, abs=0.05)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_cost_that_is_not_finite_is_an_error_that_names_the_robot(bad):
    def cost(actions):
        costs = bowl(some_targets(3))(actions)
        costs[1, 5] = bad
        return costs

    with pytest.raises(PlanningError, match=r"robots \[1\]"):
        CEM(fast()).plan(cost, 3)


def test_the_same_seed_plans_the_same_and_reset_begins_anew():
    cost = bowl(some_targets(2))
    planner = CEM(fast(), seed=7)
    first, second = planner.plan(cost, 2).actions, planner.plan(cost, 2).actions
    planner.reset()
    assert torch.equal(planner.plan(cost, 2).actions, first)
    assert torch.equal(CEM(fast(), seed=7).plan(cost, 2).actions, first)
    assert not torch.equal(first, second)
    assert not torch.equal(CEM(fast(), seed=8).plan(cost, 2).actions, first)


def samples_of(config, previous=None, n=1):
    """The action sequences that a search asks about, iteration by iteration."""
    seen = []

    def cost(actions):
        seen.append(actions.clone())
        return bowl(some_targets(n))(actions)

    CEM(config).plan(cost, n, previous=previous)
    return seen


def test_the_first_iteration_spreads_over_the_limit_and_the_gripper_over_one():
    config = replace(paper(), num_samples=20_000, num_iterations=1)
    (actions,) = samples_of(config)
    # A normal deviate of the limit's spread is clipped at one deviation: a third of them.
    clipped = (actions[..., :3].abs() >= 0.075).float().mean()
    assert clipped == pytest.approx(0.317, abs=0.01)
    assert (actions[..., 6].abs() >= 0.75).float().mean() == pytest.approx(0.453, abs=0.02)


def test_the_distribution_is_refitted_with_momentum():
    config = CEMConfig(num_samples=50, num_elites=5, num_iterations=2, mean_momentum=0.3)
    targets, seen = some_targets(1), []

    def cost(actions):
        seen.append(actions)
        return bowl(targets)(actions)

    plan = CEM(config).plan(cost, 1)
    elites = [a[0][bowl(targets)(a)[0].argsort()[:5]] for a in seen]
    first_mean = 0.7 * elites[0].mean(0)
    answer = 0.7 * elites[1].mean(0) + 0.3 * first_mean
    assert torch.allclose(plan.actions[0, :, :3], answer[:, :3], atol=1e-6)
    first_std = torch.tensor([0.075] * 3 + [0.0] * 3 + [1.0])
    momentum = torch.tensor([0.75] * 6 + [0.15])
    second_std = (1 - momentum) * elites[0].std(0)[0] + momentum * first_std
    assert torch.allclose(plan.trace.std[:, 0], torch.stack([first_std, second_std]), atol=1e-6)


def test_elites_and_the_mean_stay_among_the_samples():
    config = replace(fast(), num_iterations=3, kept_elites=4)
    first, second, _ = samples_of(config)
    order = bowl(some_targets(1))(first)[0].argsort()
    assert torch.equal(second[0, -4:], first[0, order[:4]])
    assert not first[0, 0].any(), "the first mean stands still"
    weights = math.log(8.5) - np.log(np.arange(1, 9))
    mean = np.average(first[0, order[:8]].numpy(), axis=0, weights=weights)
    assert np.allclose(second[0, 0].numpy(), mean, atol=1e-6)


def test_without_those_options_every_iteration_is_drawn_afresh():
    first, second = samples_of(replace(paper(), num_iterations=2))
    assert not torch.isin(first[..., :3], second[..., :3][second[..., :3].abs() < 0.075]).any()


def test_the_answer_may_be_the_cheapest_sample():
    config = replace(fast(), num_iterations=1, answer_best=True)
    (actions,) = samples_of(config)
    cheapest = actions[0, bowl(some_targets(1))(actions)[0].argmin()]
    assert torch.equal(CEM(config).plan(bowl(some_targets(1)), 1).actions[0], cheapest)


def test_a_warm_start_shifts_the_previous_plan_by_a_step_where_there_is_one():
    previous = torch.zeros(2, 3, 7)
    previous[0, :, 0] = torch.tensor([0.01, 0.02, 0.03])
    previous[1] = torch.nan
    config = replace(fast(), horizon=3)
    means = samples_of(config, previous, n=2)[0][:, 0, :, 0]
    assert torch.allclose(means, torch.tensor([[0.02, 0.03, 0.0], [0.0, 0.0, 0.0]]))
    cold = samples_of(replace(config, warm_start=False), previous, n=2)[0][:, 0]
    assert not cold.any()


def test_the_spread_never_falls_below_its_floor():
    plan = CEM(replace(fast(), min_std=0.02)).plan(bowl(some_targets(2)), 2)
    assert plan.trace.std[..., :3].min() >= 0.02 - 1e-7
    assert not plan.trace.std[..., 3:].any()


def test_the_trace_tells_how_the_cost_fell():
    config = fast()
    plan = CEM(config).plan(bowl(some_targets(3)), 3)
    assert plan.trace.best.shape == plan.trace.mean.shape == (config.num_iterations, 3)
    assert (plan.trace.best[1:] <= plan.trace.best[:-1]).all(), "kept elites are never lost"
    assert (plan.trace.mean[-1] < plan.trace.mean[0]).all()
    assert (plan.trace.best[-1] <= plan.cost).all()
    assert (plan.cost <= plan.trace.mean[-1]).all()


def test_the_paper_preset_is_the_papers():
    config = paper()
    assert (config.num_samples, config.num_iterations, config.num_elites) == (800, 10, 10)
    assert (config.horizon, config.max_translation, config.plan_gripper) == (1, 0.075, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_samples", 0),
        ("num_elites", 801),
        ("num_elites", 1),
        ("horizon", 0),
        ("max_translation", 0.0),
        ("min_std", -0.1),
        ("std_momentum", 1.0),
        ("kept_elites", 11),
    ],
)
def test_a_senseless_setting_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        CEMConfig(**{field: value})
