"""What any planner that searches has to do; a planner's tests inherit it."""

import math
from dataclasses import replace

import pytest
import torch

from vjepa_gym.agents.action_space import Gripper
from vjepa_gym.agents.base import Ended, Plan, Planner
from vjepa_gym.agents.planners import make_planner
from vjepa_gym.errors import PlanningError


def bowl(targets):
    """The cost of every step's distance to the target of its robot."""

    def cost(actions):
        return (actions - targets[:, None, None]).square().sum((-2, -1))

    return cost


def target(*numbers, gripper=0.0):
    """One robot's target, of which the numbers that are not given are zero."""
    numbers = torch.tensor(numbers)
    return torch.cat([numbers, torch.zeros(6 - len(numbers)), torch.tensor([gripper])])[None]


def some_targets(n, seed=0, reach=0.06):
    generator = torch.Generator().manual_seed(seed)
    moves = reach * (2 * torch.rand(n, 3, generator=generator) - 1)
    return torch.cat([moves, torch.zeros(n, 4)], 1)


class Seen:
    """A cost that remembers what it was asked about."""

    def __init__(self, cost):
        self.cost = cost
        self.samples = []
        self.costs = []

    def __call__(self, actions):
        costs = self.cost(actions)
        self.samples.append(actions.detach().clone())
        self.costs.append(costs.detach().clone())
        return costs


class Slow(Seen):
    """A cost that takes a second, by the clock that it is."""

    now = 0.0

    def __call__(self, actions):
        self.now += 1.0
        return super().__call__(actions)

    def clock(self):
        return self.now


class PlannerContract:
    """A subclass names settings that find minima to `tolerance` [m] in any of these tests."""

    config = None
    tolerance = 4e-3
    converged_below = 4e-3
    """Something that the search falls below before its iterations are over; None: it never does."""

    def planner(self, seed=0, **changes):
        return make_planner(replace(self.config, **changes), seed=seed)

    def near(self, got, wanted, tolerance=1.0):
        assert torch.allclose(got, wanted.expand_as(got), atol=tolerance * self.tolerance)

    # Minima

    def test_it_is_a_planner(self):
        planner = self.planner(horizon=3)
        assert isinstance(planner, Planner)
        assert planner.horizon == 3

    def test_every_robot_of_a_batch_finds_its_own_minimum(self):
        targets = some_targets(8)
        plan = self.planner(horizon=1).plan(bowl(targets), 8)
        assert isinstance(plan, Plan)
        self.near(plan.actions[:, 0], targets)

    def test_two_robots_with_opposite_minima(self):
        targets = torch.cat([target(0.06, -0.05, 0.04), target(-0.06, 0.05, -0.04)])
        plan = self.planner(horizon=1).plan(bowl(targets), 2)
        self.near(plan.actions[:, 0], targets)

    def test_a_longer_sequence(self):
        targets = some_targets(3)
        plan = self.planner(horizon=3).plan(bowl(targets), 3)
        assert plan.actions.shape == (3, 3, 7)
        self.near(plan.actions, targets[:, None], 1.5)

    def test_steps_of_a_sequence_differ(self):
        wanted = torch.zeros(2, 7)
        wanted[:, 0] = torch.tensor([0.05, -0.05])

        def cost(actions):
            return (actions - wanted).square().sum((-2, -1))

        self.near(self.planner(horizon=2).plan(cost, 1).actions[0], wanted, 1.5)

    def test_the_limits_bound_what_is_imagined_and_what_is_done(self):
        seen = Seen(bowl(target(0.08, -0.08, 0.0)))
        plan = self.planner(max_translation=0.05, horizon=2).plan(seen, 1)
        for actions in (*seen.samples, plan.actions):
            assert actions[..., :3].abs().max() <= 0.05 + 1e-7
            assert not actions[..., 3:].any(), "neither turns nor the gripper were asked for"
        self.near(plan.actions[..., :3], torch.tensor([0.05, -0.05, 0.0]))

    def test_the_nearest_corner_of_an_l1_ball(self):
        seen = Seen(bowl(torch.cat([target(0.06, -0.06, 0.0), target(0.3, 0.0, 0.0)])))
        plan = self.planner(l1_ball=True, horizon=1).plan(seen, 2)
        for actions in (*seen.samples, plan.actions):
            assert actions[..., :3].abs().sum(-1).max() <= 0.075 + 1e-6
        wanted = torch.tensor([[0.0375, -0.0375, 0.0], [0.075, 0.0, 0.0]])
        self.near(plan.actions[:, 0, :3], wanted, 1.5)

    def test_rotations(self):
        wanted = target(0.03, -0.03, 0.01, 0.1, -0.15, 0.05)
        config = {"rotations": True, "max_rotation": 0.2, "horizon": 1}
        seen = Seen(bowl(wanted))
        plan = self.planner(**config).plan(seen, 1)
        assert max(actions[..., 3:6].abs().max() for actions in seen.samples) <= 0.2 + 1e-6
        self.near(plan.actions[0, :, :3], wanted[:, :3], 3)
        self.near(plan.actions[0, :, 3:6], wanted[:, 3:6], 5)

    @pytest.mark.parametrize(("wanted", "answer"), [(0.6, 0.6), (0.1, 0.0), (-0.1, 0.0)])
    def test_a_gaussian_gripper_makes_large_changes_only(self, wanted, answer):
        scale = torch.tensor([1.0] * 6 + [0.1])
        goal = target(0.02, gripper=wanted) * scale
        plan = self.planner(gripper=Gripper.gaussian, horizon=1).plan(
            lambda actions: bowl(goal)(actions * scale), 1
        )
        assert plan.actions[0, 0, 6] == pytest.approx(answer, abs=0.1)

    @pytest.mark.parametrize("wanted", [-0.75, 0.0, 0.75])
    @pytest.mark.parametrize("horizon", [1, 2])
    def test_a_categorical_gripper_opens_holds_or_closes(self, wanted, horizon):
        scale = torch.tensor([1.0] * 6 + [0.05])
        goal = target(0.05, gripper=wanted) * scale
        seen = Seen(lambda actions: bowl(goal)(actions * scale))
        plan = self.planner(gripper=Gripper.categorical, horizon=horizon).plan(seen, 1)
        categories = torch.tensor([-0.75, 0.0, 0.75])
        for actions in seen.samples:
            assert torch.isin(actions[..., 6], categories).all()
        first = seen.samples[0][0, :, 0, 6]
        assert all((first == category).any() for category in categories), "none is left untried"
        assert plan.actions[0, 0, 6] == wanted
        self.near(plan.actions[0, 0, :3], torch.tensor([0.05, 0.0, 0.0]), 1.5)

    # Randomness

    def test_the_same_seed_plans_the_same_and_reset_begins_anew(self):
        cost = bowl(some_targets(2))
        planner = self.planner(seed=7)
        first, second = (planner.plan(cost, 2).actions for _ in range(2))
        planner.reset()
        assert torch.equal(planner.plan(cost, 2).actions, first)
        assert torch.equal(self.planner(seed=7).plan(cost, 2).actions, first)
        assert not torch.equal(first, second)
        assert not torch.equal(self.planner(seed=8).plan(cost, 2).actions, first)

    def test_a_robot_plans_the_same_alone_and_among_others(self):
        """Over several steps, with early stops, warm starts and a neighbour that begins anew."""
        targets = some_targets(4)
        settings = {"warm_start": True, "horizon": 2, "gripper": Gripper.categorical}
        if self.converged_below:
            settings["converged_below"] = self.converged_below

        def steps(robots):
            planner, previous, plans = self.planner(**settings), None, []
            for step in range(3):
                plan = planner.plan(bowl(targets[robots]), len(robots), previous=previous)
                plans.append(plan.actions)
                previous = plan.actions.clone()
                if step == 1 and 2 in robots:
                    previous[robots.index(2)] = torch.nan
            return torch.stack(plans, 1)

        together = steps([0, 1, 2, 3])
        for robot in range(4):
            assert torch.allclose(steps([robot])[0], together[robot], atol=1e-6)

    def test_nothing_depends_on_gradients_being_off(self):
        cost = bowl(some_targets(1))
        with torch.no_grad():
            without = self.planner().plan(cost, 1).actions
        plan = self.planner().plan(cost, 1)
        assert torch.equal(plan.actions, without)
        assert not plan.actions.requires_grad

    # Where it begins

    def test_a_warm_start_has_the_previous_plan_one_step_on_where_there_is_one(self):
        previous = torch.zeros(2, 3, 7)
        previous[0, :, 0] = torch.tensor([0.01, 0.02, 0.03])
        previous[1] = torch.nan
        seen = Seen(bowl(some_targets(2)))
        self.planner(warm_start=True, horizon=3).plan(seen, 2, previous=previous)
        assert all(samples.isfinite().all() for samples in seen.samples)
        # All robots are given the same noise, of which the limits cut some away.
        moved = (seen.samples[0][0] - seen.samples[0][1])[:, :2]
        assert torch.allclose(moved[..., 0].amax(0), torch.tensor([0.02, 0.03]), atol=1e-6)
        assert not moved[..., 1:].any()
        cold = Seen(bowl(some_targets(2)))
        self.planner(warm_start=False, horizon=3).plan(cold, 2, previous=previous)
        assert torch.equal(cold.samples[0][0], cold.samples[0][1])

    def test_proposals_are_among_the_first_samples_and_win_if_they_are_best(self):
        targets = some_targets(2)
        needle = torch.tensor([0.031, -0.042, 0.053])

        def cost(actions):
            hit = ((actions[..., 0, :3] - needle).abs() < 1e-4).all(-1)
            return bowl(targets)(actions) - 1.0 * hit

        proposals = torch.zeros(2, 3, 2, 7)
        proposals[:, 2, 0, :3] = needle
        proposals[:, 1, :, 0] = 7.0  # beyond the limit
        seen = Seen(cost)
        plan = self.planner(horizon=2).plan(seen, 2, proposals=proposals)
        assert torch.equal(seen.samples[0][:, 2], proposals[:, 2])
        assert (seen.samples[0][:, 1, :, 0] == 0.075).all()
        assert (plan.trace.best[0] < -0.9).all()
        assert seen.samples[0].shape == (2, self.config.num_samples, 2, 7)

    def test_as_many_proposals_as_samples_are_all_that_is_tried_first(self):
        proposals = 0.01 * torch.randn(1, self.config.num_samples, 1, 7).clamp(-1, 1)
        proposals[..., 3:] = 0
        seen = Seen(bowl(some_targets(1)))
        self.planner(horizon=1).plan(seen, 1, proposals=proposals)
        assert torch.equal(seen.samples[0], proposals)

    # When it ends

    def test_a_narrow_search_ends_early(self):
        if self.converged_below is None:
            plan = self.planner(converged_below=0.01).plan(bowl(some_targets(1)), 1)
            assert plan.ended is Ended.iterations
            return
        config = {"horizon": 1, "converged_below": self.converged_below}
        seen = Seen(bowl(some_targets(2)))
        plan = self.planner(**config).plan(seen, 2)
        assert plan.ended is Ended.converged
        assert len(seen.samples) < self.config.num_iterations
        assert plan.evaluations == sum(samples.shape[1] for samples in seen.samples)
        self.near(plan.actions[:, 0], some_targets(2), 3)

    def test_all_iterations_are_done_otherwise(self):
        seen = Seen(bowl(some_targets(1)))
        plan = self.planner().plan(seen, 1)
        assert plan.ended is Ended.iterations
        assert len(seen.samples) == self.config.num_iterations
        assert plan.evaluations == sum(samples.shape[1] for samples in seen.samples)

    @pytest.mark.parametrize(("budget", "iterations"), [(0.01, 1), (1.9, 1), (2.0, 2), (2.9, 2)])
    def test_no_iteration_begins_that_would_end_after_the_time_is_up(self, budget, iterations):
        slow = Slow(bowl(some_targets(2)))
        config = replace(self.config, budget_s=budget)
        plan = type(make_planner(config))(config, clock=slow.clock).plan(slow, 2)
        assert plan.ended is Ended.budget
        assert len(slow.samples) == len(plan.trace.best) == iterations
        assert plan.evaluations == sum(samples.shape[1] for samples in slow.samples)
        with_nothing_done = bowl(some_targets(2))(torch.zeros(2, 1, *plan.actions.shape[1:]))[:, 0]
        cost = bowl(some_targets(2))(plan.actions[:, None])[:, 0]
        assert (cost <= with_nothing_done).all(), "what there is, is no worse than nothing"

    def test_time_enough_changes_nothing(self):
        cost = bowl(some_targets(1))
        hurried = self.planner(budget_s=3600.0).plan(cost, 1)
        assert torch.equal(hurried.actions, self.planner().plan(cost, 1).actions)

    # What it tells

    def test_the_trace_tells_all_that_was_imagined_if_it_is_to_be_recorded(self):
        seen = Seen(bowl(some_targets(3)))
        plan = self.planner(horizon=2, record=True).plan(seen, 3)
        trace, iterations, most = plan.trace, len(seen.samples), self.config.num_samples
        assert trace.best.shape == trace.mean.shape == (iterations, 3)
        assert trace.std.shape == (iterations, 3, 7)
        assert trace.samples.shape == (iterations, 3, most, 2, 7)
        assert trace.energies.shape == (iterations, 3, most)
        assert trace.elites.shape[:2] == (iterations, 3)
        for iteration, (samples, costs) in enumerate(zip(seen.samples, seen.costs, strict=True)):
            number = costs.shape[1]
            assert torch.equal(trace.samples[iteration, :, :number], samples)
            assert torch.equal(trace.energies[iteration, :, :number], costs)
            assert trace.samples[iteration, :, number:].isnan().all()
            assert trace.energies[iteration, :, number:].isnan().all()
            assert torch.equal(trace.best[iteration], costs.amin(1))
            assert torch.allclose(trace.mean[iteration], costs.mean(1))
            elites = costs.gather(1, trace.elites[iteration])
            assert torch.equal(elites[:, 0], costs.amin(1))
            assert (elites.diff(dim=1) >= 0).all()

    def test_nothing_is_kept_that_nobody_asked_for(self):
        trace = self.planner().plan(bowl(some_targets(1)), 1).trace
        assert trace.samples is trace.energies is trace.elites is None

    def test_the_cost_of_the_plan_is_about_what_it_costs(self):
        seen = Seen(bowl(some_targets(2)))
        plan = self.planner(horizon=1).plan(seen, 2)
        cost = bowl(some_targets(2))(plan.actions[:, None])[:, 0]
        assert torch.allclose(plan.cost, cost, atol=5 * self.tolerance**2)

    # What is refused

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_cost_that_is_not_finite_is_an_error_that_names_the_robot(self, bad):
        def cost(actions):
            wrong = torch.zeros(3, actions.shape[1])
            wrong[1, 5] = bad
            return bowl(some_targets(3))(actions) + wrong

        with pytest.raises(PlanningError, match=r"robots \[1\]"):
            self.planner().plan(cost, 3)

    def test_a_cost_of_another_shape_is_refused(self):
        with pytest.raises(ValueError, match="one number a sequence"):
            self.planner().plan(lambda actions: bowl(some_targets(1))(actions)[:, :3], 1)

    def refuses(self, error, words, **given):
        def cost(actions):
            raise AssertionError("a model ran")

        with pytest.raises(error, match=words):
            self.planner(horizon=2, warm_start=True).plan(cost, 2, **given)

    def test_what_does_not_fit_is_refused_before_any_model_runs(self):
        most = self.config.num_samples
        self.refuses(ValueError, "previous", previous=torch.zeros(2, 3, 7))
        self.refuses(ValueError, "previous", previous=torch.zeros(1, 2, 7))
        self.refuses(ValueError, "proposals", proposals=torch.zeros(2, 4, 1, 7))
        self.refuses(ValueError, "proposals", proposals=torch.zeros(1, 4, 2, 7))
        self.refuses(ValueError, "num_samples", proposals=torch.zeros(2, most + 1, 2, 7))
        wrong = torch.zeros(2, 4, 2, 7)
        wrong[1, 3, 1, 0] = math.nan
        self.refuses(PlanningError, r"robots \[1\]", proposals=wrong)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("num_samples", 0),
            ("num_iterations", 0),
            ("horizon", 0),
            ("max_translation", 0.0),
            ("max_translation", -0.1),
            ("max_rotation", 0.0),
            ("max_gripper", -1.0),
            ("max_translation", math.nan),
            ("initial_std", 0.0),
            ("converged_below", -1.0),
            ("gripper_smoothing", 1.0),
            ("gripper_dead_zone", -0.1),
            ("budget_s", 0.0),
        ],
    )
    def test_a_senseless_setting_is_refused_by_its_name(self, field, value):
        with pytest.raises(ValueError, match=field):
            replace(self.config, **{field: value})
