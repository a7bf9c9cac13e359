from dataclasses import replace

import pytest
import torch
from planner_contract import PlannerContract, Seen, bowl, some_targets, target

from vjepa_gym.agents.action_space import Gripper
from vjepa_gym.agents.gradient import GradientConfig, GradientPlanner
from vjepa_gym.errors import PlanningError


class TestContract(PlannerContract):
    config = GradientConfig(num_samples=16, num_iterations=40)


CONFIG = GradientConfig()


def test_few_sequences_find_a_minimum_to_a_millimetre():
    targets = some_targets(20)
    plan = GradientPlanner(CONFIG).plan(bowl(targets), 20)
    assert plan.evaluations == 384
    assert torch.allclose(plan.actions[:, 0], targets, atol=1e-3)


def test_it_differentiates_where_gradients_are_off():
    with torch.no_grad():
        plan = GradientPlanner(CONFIG).plan(bowl(some_targets(1)), 1)
        assert not torch.is_grad_enabled()
    assert torch.allclose(plan.actions[0, 0], some_targets(1)[0], atol=1e-3)
    assert not plan.actions.requires_grad


def test_several_starts_find_the_deeper_of_two_valleys():
    """The centre lies in the shallow one."""

    def cost(actions):
        x = actions[..., 0]
        shallow = (x / 0.02).square()
        deep = ((x - 0.06) / 0.02).square() - 1.0
        return torch.minimum(shallow, deep).sum(-1)

    one = replace(CONFIG, horizon=1, num_samples=1)
    assert GradientPlanner(one).plan(cost, 1).actions[0, 0, 0].abs() < 0.01
    many = replace(CONFIG, horizon=1, num_samples=16)
    assert GradientPlanner(many).plan(cost, 1).actions[0, 0, 0] == pytest.approx(0.06, abs=2e-3)


def test_the_answer_is_the_cheapest_of_all_that_was_visited():
    """A cliff that is stepped over."""
    seen = Seen(lambda actions: (actions[..., 0] - 0.013).abs().sqrt().sum(-1))
    plan = GradientPlanner(CONFIG).plan(seen, 1)
    assert plan.cost[0] == torch.stack([costs.min() for costs in seen.costs]).min()


def test_starts_are_spread_over_what_the_gripper_can_do():
    config = replace(CONFIG, gripper=Gripper.categorical, num_samples=9, num_iterations=2)
    seen = Seen(bowl(target(gripper=0.75)))
    GradientPlanner(config).plan(seen, 1)
    combinations = {tuple(row) for row in seen.samples[0][0, :, :, 6].tolist()}
    assert len(combinations) == 9, "hold, open, close, for each of two steps"
    assert torch.equal(seen.samples[0][..., 6], seen.samples[1][..., 6]), "and they stay"


def test_what_simulates_has_no_gradient_and_is_told_so():
    def detached(actions):
        return bowl(some_targets(1))(actions.detach())

    def through_numpy(actions):
        return torch.from_numpy(actions.numpy()).square().sum((-2, -1))

    def of_other_weights(actions):
        weight = torch.ones(1, requires_grad=True)
        return weight * detached(actions)

    for cost in (detached, through_numpy, of_other_weights):
        with pytest.raises(PlanningError, match="oracle simulates"):
            GradientPlanner(CONFIG).plan(cost, 1)


def test_other_errors_of_a_cost_are_its_own():
    def cost(actions):
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        GradientPlanner(CONFIG).plan(cost, 1)


def test_inference_mode_is_refused_with_what_to_use_instead():
    with torch.inference_mode(), pytest.raises(PlanningError, match="no_grad"):
        GradientPlanner(CONFIG).plan(bowl(some_targets(1)), 1)


def test_a_slope_that_is_not_finite_is_an_error_that_names_the_robot():
    # The root of a square: worth zero at the centre, where it has no slope.
    offsets = torch.tensor([0.01, 0.0, 0.02])[:, None]

    def cost(actions):
        return (actions.square().sum((-2, -1)) + offsets).sqrt()

    with pytest.raises(PlanningError, match=r"gradient.*robots \[1\]"):
        GradientPlanner(CONFIG).plan(cost, 3)


def test_a_step_must_have_a_size():
    with pytest.raises(ValueError, match="step_size"):
        GradientConfig(step_size=0.0)
