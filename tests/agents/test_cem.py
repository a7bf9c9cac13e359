import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planner_contract import PlannerContract, Seen, bowl, some_targets, target

from vjepa_gym.agents.action_space import ActionSpace, Gripper
from vjepa_gym.agents.base import Ended
from vjepa_gym.agents.cem import CEM, CEMConfig, fast, paper, released


class TestContract(PlannerContract):
    config = replace(fast(), num_samples=512, num_iterations=8, num_elites=16)


class TestContractOfThePapers(PlannerContract):
    config = replace(paper(), gripper=Gripper.still)
    converged_below = 0.02
    tolerance = 6e-3


@given(seed=st.integers(0, 2**31), n=st.integers(2, 6), horizon=st.integers(1, 3))
def test_more_samples_find_the_minimum_of_longer_sequences(seed, n, horizon):
    targets = some_targets(n, seed)
    config = replace(fast(), horizon=horizon, num_samples=256, num_elites=32, num_iterations=8)
    plan = CEM(config, seed=seed).plan(bowl(targets), n)
    assert torch.allclose(plan.actions[..., :3], targets[:, None, :3], atol=4e-3)


# The released code's formulae


@pytest.fixture
def double():
    """Rounding must not decide which of two samples is the cheaper."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def landscape(actions):
    """Anything that depends on all steps and on their order."""
    x = actions * torch.tensor([20.0, 15.0, 10.0, 0.0, 0.0, 0.0, 1.5])
    weight = torch.arange(1.0, x.shape[-2] + 1)
    return ((x.sin() - 0.3).abs().sum(-1) * weight).sum(-1) + (x.sum((-2, -1)) - 0.7).square()


def by_the_formulae(config, cost, generator):
    """Return (samples, elites, mean, std) of each iteration, of one robot.

    Samples a_h = clip(mu_h + sigma_h e_h), drawn one step after the other; elites: the k of least
    cost; mu <- (1 - m) mean(elites) + m mu; sigma <- (1 - m) std(elites) + m sigma.
    """
    limit = np.array([config.max_translation] * 3 + [0.75])
    mu = np.zeros((config.horizon, 4))
    sigma = np.tile([config.max_translation] * 3 + [1.0], (config.horizon, 1))
    m_mu = np.array([config.mean_momentum] * 3 + [config.gripper_momentum])
    m_sigma = np.array([config.std_momentum] * 3 + [config.gripper_momentum])
    history = []
    for _ in range(config.num_iterations):
        samples = np.zeros((config.num_samples, config.horizon, 7))
        for h in range(config.horizon):
            noise = torch.randn(config.num_samples, 4, generator=generator).numpy()
            drawn = np.minimum(np.maximum(mu[h] + sigma[h] * noise, -limit), limit)
            samples[:, h, :3], samples[:, h, 6] = drawn[:, :3], drawn[:, 3]
        costs = cost(torch.from_numpy(samples)).numpy()
        elites = np.argsort(costs, kind="stable")[: config.num_elites]
        chosen = samples[elites][..., [0, 1, 2, 6]]
        mu = (1 - m_mu) * chosen.mean(0) + m_mu * mu
        sigma = (1 - m_sigma) * chosen.std(0, ddof=1) + m_sigma * sigma
        history.append((samples, elites, mu, sigma))
    return history


@pytest.mark.parametrize("make", [released, paper])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_search_equals_the_formulae_iteration_by_iteration(make, seed, double):
    config = replace(make(), record=True)
    history = by_the_formulae(config, landscape, torch.Generator().manual_seed(seed))
    plan = CEM(config, seed=seed).plan(lambda actions: landscape(actions), 1)
    spread = np.tile([config.max_translation] * 3 + [1.0], (config.horizon, 1))
    for iteration, (samples, elites, mean, std) in enumerate(history):
        assert np.allclose(plan.trace.samples[iteration, 0], samples, atol=1e-12)
        assert plan.trace.elites[iteration, 0].tolist() == elites.tolist()
        told = plan.trace.std[iteration, 0][[0, 1, 2, 6]]
        assert np.allclose(told, np.sqrt((spread**2).mean(0)), atol=1e-12)
        assert not plan.trace.std[iteration, 0, 3:6].any()
        spread = std
        # The mean is the answer of a search that ends here.
        short = replace(config, num_iterations=iteration + 1, gripper_dead_zone=0.0)
        answer = CEM(short, seed=seed).plan(landscape, 1).actions[0]
        assert np.allclose(answer[:, [0, 1, 2, 6]], mean, atol=1e-12)
    gripper = np.where(np.abs(mean[:, 3]) < 0.25, 0.0, mean[:, 3])
    assert np.allclose(plan.actions[0, :, :3], mean[:, :3], atol=1e-12)
    assert np.allclose(plan.actions[0, :, 6], gripper, atol=1e-12)


def test_the_presets_are_the_papers_and_the_released_codes():
    for config, search, limit, momenta in (
        (paper(), (800, 10, 10, 1), 0.075, (0.15, 0.75, 0.15)),
        (released(), (400, 10, 10, 2), 0.05, (0.15, 0.15, 0.15)),
    ):
        numbers = config.num_samples, config.num_iterations, config.num_elites, config.horizon
        assert numbers == search
        assert config.max_translation == limit
        shares = config.mean_momentum, config.std_momentum, config.gripper_momentum
        assert shares == momenta
        assert (config.gripper, config.max_gripper) == (Gripper.gaussian, 0.75)
        assert config.gripper_dead_zone == 0.25
        assert not any((config.l1_ball, config.rotations, config.warm_start))


# Samples


def samples_of(config, previous=None, n=1):
    """The action sequences that a search asks about, iteration by iteration."""
    seen = Seen(bowl(some_targets(n)))
    CEM(config).plan(seen, n, previous=previous)
    return seen.samples


def test_the_first_iteration_spreads_over_the_limit_and_the_gripper_over_one():
    config = replace(paper(), num_samples=20_000, num_iterations=1)
    (actions,) = samples_of(config)
    # A normal deviate of the limit's spread is clipped at one deviation: a third of them.
    clipped = (actions[..., :3].abs() >= 0.075).float().mean()
    assert clipped == pytest.approx(0.317, abs=0.01)
    assert (actions[..., 6].abs() >= 0.75).float().mean() == pytest.approx(0.453, abs=0.02)


def test_elites_and_the_mean_stay_among_the_samples():
    config = replace(fast(), num_iterations=3, num_elites=8, kept_elites=4)
    first, second, _ = samples_of(config)
    order = bowl(some_targets(1))(first)[0].argsort()
    assert torch.equal(second[0, 1:5], first[0, order[:4]])
    assert not first[0, 0].any(), "the first mean stands still"
    weights = math.log(8.5) - np.log(np.arange(1, 9))
    mean = np.average(first[0, order[:8]].numpy(), axis=0, weights=weights)
    assert np.allclose(second[0, 0].numpy(), mean, atol=1e-6)


def test_without_those_options_every_iteration_is_drawn_afresh():
    first, second = samples_of(replace(paper(), num_iterations=2))
    assert not torch.isin(first[..., :3], second[..., :3][second[..., :3].abs() < 0.075]).any()


def test_proposals_that_are_elites_are_carried_on():
    config = replace(fast(), num_iterations=2)
    seen = Seen(bowl(some_targets(1)))
    proposals = some_targets(1)[:, None, None].expand(1, 1, 2, 7)
    plan = CEM(config).plan(seen, 1, proposals=proposals)
    assert torch.equal(seen.samples[1][0, 1], proposals[0, 0]), "the first of the kept elites"
    assert plan.trace.best[1, 0] == 0


def test_the_answer_may_be_the_cheapest_sample():
    config = replace(fast(), num_iterations=1, answer_best=True)
    (actions,) = samples_of(config)
    costs = bowl(some_targets(1))(actions)[0]
    plan = CEM(config).plan(bowl(some_targets(1)), 1)
    assert torch.equal(plan.actions[0], actions[0, costs.argmin()])
    assert plan.cost == costs.min()


def test_a_warm_start_shifts_the_previous_plan_by_a_step_where_there_is_one():
    previous = torch.zeros(2, 3, 7)
    previous[0, :, 0] = torch.tensor([0.01, 0.02, 0.03])
    previous[1] = torch.nan
    means = samples_of(replace(fast(), horizon=3), previous, n=2)[0][:, 0, :, 0]
    assert torch.allclose(means, torch.tensor([[0.02, 0.03, 0.0], [0.0, 0.0, 0.0]]))


def test_a_warm_start_favours_what_the_gripper_was_to_do():
    previous = torch.zeros(2, 2, 7)
    previous[0, 1, 6] = 0.75
    previous[1] = torch.nan
    config = replace(fast(), gripper=Gripper.categorical, num_samples=3000, num_iterations=1)
    (samples,) = samples_of(config, previous, n=2)
    closing = (samples[..., 6] == 0.75).float().mean(1)
    assert closing[0].tolist() == pytest.approx([2 / 3, 1 / 3], abs=0.04)
    assert closing[1].tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.04)


# The gripper's odds


def test_the_odds_follow_the_elites_and_never_reach_zero():
    goal = target(gripper=0.75)
    config = replace(fast(), gripper=Gripper.categorical, num_samples=3000, horizon=1)
    config = replace(config, kept_elites=0, sample_mean=False)
    seen = Seen(bowl(goal * torch.tensor([1.0] * 7)))
    CEM(config).plan(seen, 1)
    closing = [(samples[..., 6] == 0.75).float().mean() for samples in seen.samples]
    assert closing[0] == pytest.approx(1 / 3, abs=0.03)
    # Every elite closes; a tenth of the odds is shared among the three.
    assert closing[1] == pytest.approx(0.9 + 0.1 / 3, abs=0.02)
    for samples in seen.samples:
        assert (samples[..., 6] == -0.75).any()
        assert (samples[..., 6] == 0.0).any()


@pytest.mark.parametrize("gripper", list(Gripper))
def test_a_gripper_is_planned_as_it_is_called(gripper):
    (samples,) = samples_of(replace(fast(), num_iterations=1, gripper=gripper))
    values = samples[..., 6].unique()
    assert len(values) == {"still": 1, "categorical": 3}.get(gripper.value, len(values))
    assert len(values) > 10 or gripper is not Gripper.gaussian


# Spread and convergence


def test_the_spread_never_falls_below_its_floor():
    plan = CEM(replace(fast(), min_std=0.02)).plan(bowl(some_targets(2)), 2)
    assert plan.trace.std[..., :3].min() >= 0.02 - 1e-7
    assert not plan.trace.std[..., 3:].any()


def test_the_floor_of_rotations_is_the_same_share_of_their_limit_and_the_gripper_has_none():
    config = replace(fast(), min_std=0.0075, rotations=True, max_rotation=0.3, num_iterations=25)
    plan = CEM(replace(config, gripper=Gripper.gaussian)).plan(bowl(some_targets(1)), 1)
    assert torch.allclose(plan.trace.std[-1, 0, :6], torch.tensor([0.0075] * 3 + [0.03] * 3))
    assert plan.trace.std[-1, 0, 6] < 0.02


def test_a_floor_that_forbids_convergence_is_refused():
    with pytest.raises(ValueError, match="larger than min_std"):
        replace(fast(), converged_below=1e-3)


def test_who_has_converged_keeps_the_answer_while_others_search_on():
    """The narrow valley is found at once, the wide one late."""
    proposals = torch.zeros(2, 8, 1, 7)
    config = replace(
        fast(),
        horizon=1,
        num_samples=192,
        num_iterations=12,
        num_elites=8,
        std_momentum=0.0,
        min_std=0.0,
        converged_below=4e-3,
    )
    targets = torch.cat([target(), target(0.07, -0.07, 0.07)])
    seen = Seen(bowl(targets))
    plan = CEM(config).plan(seen, 2, proposals=proposals)
    alone = CEM(config).plan(bowl(targets[:1]), 1, proposals=proposals[:1])
    assert len(alone.trace.best) < len(seen.samples), "or nothing was tested"
    assert torch.equal(alone.actions[0], plan.actions[0])
    assert torch.equal(alone.cost[0], plan.cost[0])
    assert plan.ended is alone.ended is Ended.converged


def test_the_trace_tells_how_the_cost_fell():
    config = fast()
    plan = CEM(config).plan(bowl(some_targets(3)), 3)
    assert plan.trace.best.shape == plan.trace.mean.shape == (config.num_iterations, 3)
    assert (plan.trace.best[1:] <= plan.trace.best[:-1]).all(), "kept elites are never lost"
    assert (plan.trace.mean[-1] < plan.trace.mean[0]).all()
    assert (plan.trace.best[-1] <= plan.cost).all()
    assert (plan.cost <= plan.trace.mean[-1]).all()


# Other vectors than actions


def test_it_searches_among_vectors_that_are_no_actions():
    space = ActionSpace(
        low=torch.tensor([-1.0, 2.0, 0.0, -9.0]),
        high=torch.tensor([1.0, 4.0, 0.0, 9.0]),
        first_mean=torch.tensor([0.0, 3.0, 0.0, 0.0]),
        first_std=torch.tensor([1.0, 1.0, 0.0, 5.0]),
    )
    wanted = torch.tensor([0.5, 5.0, 0.0, -3.0])
    config = CEMConfig(num_samples=500, num_elites=20, horizon=2, std_momentum=0.0)
    plan = CEM(config, space=space).plan(lambda x: (x - wanted).square().sum((-2, -1)), 1)
    assert plan.actions.shape == (1, 2, 4)
    assert torch.allclose(plan.actions[0], torch.tensor([0.5, 4.0, 0.0, -3.0]), atol=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_elites", 801),
        ("num_elites", 1),
        ("min_std", -0.1),
        ("mean_momentum", -0.1),
        ("std_momentum", 1.0),
        ("gripper_momentum", 1.5),
        ("kept_elites", 11),
        ("kept_elites", -1),
    ],
)
def test_a_senseless_setting_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        CEMConfig(**{field: value})


def test_some_of_the_first_sequences_may_repeat_one_action():
    config = CEMConfig(
        horizon=3, num_samples=16, num_iterations=2, num_elites=4, repeated=0.5, record=True
    )
    plan = CEM(config).plan(lambda actions: actions.square().sum((-1, -2)), 2)
    assert plan.trace.samples is not None
    for iteration, number in enumerate((8, 0)):
        samples = plan.trace.samples[iteration]
        alike = (samples == samples[:, :, :1]).all((2, 3))
        assert alike.sum(1).tolist() == [number, number]
    assert plan.trace.samples[0, :, :8, 0, :3].std(1).min() > 0.01


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_not_more_than_all(share):
    with pytest.raises(ValueError, match="repeated must lie in"):
        CEMConfig(repeated=share)
