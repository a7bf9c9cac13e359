from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import ToyWorldModel, picture, toy_envs

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Ended, Plan, Prior, Target, Trace
from vjepa_gym.agents.cem import CEM, fast
from vjepa_gym.agents.energies import L1, L2, PoseDistance, Sum
from vjepa_gym.agents.gradient import GradientConfig, GradientPlanner
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.agents.switching import Switching
from vjepa_gym.errors import GoalError, PlanningError
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.spaces import MAX_TRANSLATION
from vjepa_gym.types import Agent, Goal


class Recorder(ToyWorldModel):
    """Remembers the contexts that it was asked to imagine from."""

    def __init__(self):
        super().__init__()
        self.contexts = []

    def imagine(self, context, actions):
        self.contexts.append(context)
        return super().imagine(context, actions)


class ForwardPlanner:
    """Plans a centimetre in x whatever it costs, and remembers what it was told."""

    horizon = 2

    def __init__(self):
        self.previous = []
        self.proposals = []
        self.resets = 0

    def reset(self):
        self.resets += 1

    def plan(self, cost, n, *, previous=None, proposals=None):
        actions = torch.zeros(n, 2, 7)
        actions[..., 0] = 0.01
        self.previous.append(previous)
        self.proposals.append(proposals)
        costs = cost(actions[:, None])[:, 0]
        none = torch.zeros(0, n)
        return Plan(
            actions=actions,
            cost=costs,
            trace=Trace(best=none, mean=none, std=torch.zeros(0, n, 7)),
            evaluations=1,
            ended=Ended.iterations,
        )


class Straight:
    """Proposes to go where the toy's goal is, and one step astray."""

    def __init__(self, there):
        self.there = torch.from_numpy(there)
        self.asked = []

    def propose(self, context, target, *, samples, horizon, generator):
        self.asked.append((context, target, samples, horizon))
        actions = torch.zeros(len(self.there), samples, horizon, 7)
        actions[:, 0, 0] = self.there - context.poses[:, -1]
        noise = torch.randn(samples - 1, generator=generator)
        actions[:, 1:, 0, 0] = 0.01 * noise
        return actions


class Habit:
    """Is surprised by moves along x: a nat for each metre, two if it is of the second robot."""

    def __init__(self):
        self.asked = []

    def surprise(self, context, target, *, horizon):
        self.asked.append((context, target, horizon))
        strength = torch.arange(1.0, 1.0 + len(context.poses))[:, None]
        return lambda actions: strength * actions[..., 0].abs().sum(2)


class HalfWay:
    """Wants what lies half way between the present view and the goal."""

    def __init__(self):
        self.elapsed = []
        self.resets = 0

    def reset(self):
        self.resets += 1

    def subgoal(self, context, target, elapsed):
        self.elapsed.append(elapsed.tolist())
        return Target(latents=(context.latents[:, -1] + target.latents) / 2, steps=target.steps)


def poses_at(*xyz):
    return np.array([[*p, 0, 0, 0, 0] for p in xyz], np.float32)


def observe(poses):
    return {"image": np.stack([picture(pose) for pose in poses]), "pose": poses}


def goal_of(*views, steps=(10,)):
    """A goal of some robots, each view given by the pose of each robot."""
    images = np.stack([[picture(pose) for pose in view] for view in views], 1)
    return Goal(images=images, steps=steps)


START = poses_at((0.4, 0.0, 0.1), (0.5, 0.1, 0.2))
THERE = poses_at((0.5, 0.1, 0.2), (0.4, -0.05, 0.3))


@pytest.mark.parametrize(
    ("energy", "horizon"), [(L1(), 1), (L2(), 1), (L1(summed=True), 2), (L2(summed=True), 2)]
)
def test_with_an_exact_model_robots_reach_their_goals_in_a_few_steps(energy, horizon):
    agent = PlanningAgent(ToyWorldModel(), CEM(replace(fast(), horizon=horizon)), energy)
    agent.reset(goal_of(THERE))
    poses = START
    for _ in range(5):
        action = agent.act(observe(poses))
        assert action.dtype == np.float32
        assert np.abs(action).max() <= MAX_TRANSLATION + 1e-7
        poses = kinematics.integrate(poses, action)
    assert np.linalg.norm(poses[:, :3] - THERE[:, :3], axis=1).max() < 0.005


def test_it_is_an_agent_that_needs_no_poses():
    agent = PlanningAgent(ToyWorldModel(), CEM(fast()), L1())
    assert isinstance(agent, Agent)
    assert not agent.privileged


def test_the_goal_is_encoded_once_and_only_for_the_robots_that_begin_anew():
    model = ToyWorldModel()
    agent = PlanningAgent(model, ForwardPlanner(), L1())
    agent.reset(goal_of(START, THERE, steps=(1, 1)))
    assert model.encoded == 4
    agent.act(observe(START))
    assert model.encoded == 4 + 2
    agent.reset(goal_of(START, THERE, steps=(1, 1)), np.array([False, True]))
    assert model.encoded == 4 + 2 + 2
    agent.reset(goal_of(START, THERE, steps=(1, 1)), np.array([False, False]))
    assert model.encoded == 4 + 2 + 2


def test_the_context_holds_what_was_achieved_and_no_more_views_than_allowed():
    model = Recorder()
    agent = PlanningAgent(model, ForwardPlanner(), L1(), max_context=2)
    agent.reset(goal_of(THERE))
    moved = kinematics.integrate(START, np.full((2, 7), 0.02, np.float32))
    again = kinematics.integrate(moved, np.full((2, 7), -0.03, np.float32))
    for poses in (START, moved, again):
        agent.act(observe(poses))
    assert [context.latents.shape[1] for context in model.contexts] == [1, 2, 2]
    assert np.array_equal(model.contexts[1].poses.numpy(), np.stack([START, moved], 1))
    assert np.allclose(model.contexts[1].actions.numpy(), 0.02, atol=1e-6)
    assert np.allclose(model.contexts[2].actions[:, 0, :6].numpy(), -0.03, atol=1e-6)
    seen = torch.from_numpy(observe(again)["image"])
    assert torch.equal(model.contexts[2].latents[:, -1], ToyWorldModel().encode(seen))


def test_a_robot_that_begins_anew_has_always_stood_where_it_stands():
    model = Recorder()
    agent = PlanningAgent(model, ForwardPlanner(), L1(), max_context=3)
    agent.reset(goal_of(THERE))
    agent.act(observe(START))
    agent.reset(goal_of(THERE), np.array([True, False]))
    agent.act(observe(THERE))
    context = model.contexts[-1]
    assert np.array_equal(context.poses.numpy()[0], np.stack([THERE[0], THERE[0]]))
    assert np.array_equal(context.poses.numpy()[1], np.stack([START[1], THERE[1]]))
    assert not context.actions[0].any()
    assert torch.equal(context.latents[0, 0], context.latents[0, 1])
    assert not torch.equal(context.latents[1, 0], context.latents[1, 1])


def test_a_new_goal_for_all_forgets_the_past():
    model, planner = Recorder(), ForwardPlanner()
    agent = PlanningAgent(model, planner, L1(), max_context=3)
    for _ in range(2):
        agent.reset(goal_of(THERE))
        agent.act(observe(START))
    assert [context.latents.shape[1] for context in model.contexts] == [1, 1]
    assert planner.previous == [None, None]
    assert planner.resets == 2


def test_the_planner_is_told_its_previous_plan_except_for_robots_that_begin_anew():
    planner = ForwardPlanner()
    agent = PlanningAgent(ToyWorldModel(), planner, L1())
    agent.reset(goal_of(THERE))
    agent.act(observe(START))
    agent.act(observe(START))
    agent.reset(goal_of(THERE), np.array([False, True]))
    agent.act(observe(START))
    assert torch.equal(planner.previous[1], agent.plan.actions)
    assert torch.equal(planner.previous[2][0], agent.plan.actions[0])
    assert planner.previous[2][1].isnan().all()
    assert planner.resets == 1
    assert agent.plan.actions.isfinite().all()


def test_sub_goals_follow_the_clock_of_each_robot():
    agent = PlanningAgent(ToyWorldModel(), CEM(fast()), L1())
    here = np.concatenate([START[:1]] * 2)
    there = here + poses_at((0.05, 0, 0))
    goal = goal_of(here, there, steps=(2, 5))
    agent.reset(goal)

    def advances():
        return (agent.act(observe(here))[:, 0] > 0.02).tolist()

    assert [advances(), advances()] == [[False, False]] * 2
    agent.reset(goal, np.array([False, True]))
    assert advances() == [True, False]
    assert advances() == [True, False]
    assert advances() == [True, True]


def test_robots_that_begin_anew_beside_others_need_a_goal_of_the_same_form():
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), L1())
    agent.reset(goal_of(THERE))
    with pytest.raises(ValueError, match="same form"):
        agent.reset(goal_of(THERE, THERE, steps=(5, 5)), np.array([True, False]))
    with pytest.raises(ValueError, match="max_context"):
        PlanningAgent(ToyWorldModel(), ForwardPlanner(), L1(), max_context=0)


# Poses.


def goal_with_poses(poses):
    goal = goal_of(poses)
    return replace(goal, poses=poses[:, None])


def test_an_energy_of_poses_makes_the_agent_privileged_and_turns_the_hand_there():
    energy = Sum(((0.0, L1()), (1.0, PoseDistance(gripper=0.0))))
    agent = PlanningAgent(ToyWorldModel(), CEM(replace(fast(), rotations=True)), energy)
    assert agent.privileged
    there = THERE.copy()
    there[:, 3] = 0.3
    agent.reset(goal_with_poses(there))
    poses = START
    for _ in range(6):
        poses = kinematics.integrate(poses, agent.act(observe(poses)))
    assert np.abs(poses - there)[:, :3].max() < 0.005
    assert np.abs(poses[:, 3] - 0.3).max() < 0.03
    assert agent.target.poses is not None


def test_an_agent_that_needs_poses_says_so_where_the_goal_has_none():
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), PoseDistance())
    with pytest.raises(GoalError, match="pose_weight=0"):
        agent.reset(goal_of(THERE))


def test_an_agent_of_images_looks_at_no_pose_even_if_it_is_given_some():
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), L1())
    agent.reset(goal_with_poses(THERE))
    agent.act(observe(START))
    assert agent.target.poses is None


# Where it stands.


def test_it_tells_what_it_planned_for_and_how_far_that_is():
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), L1())
    there = np.stack([START[0], THERE[1]])
    agent.reset(goal_of(THERE, there, steps=(1, 3)))
    agent.act(observe(START))
    assert agent.current.tolist() == [0, 0]
    agent.act(observe(START))
    assert agent.current.tolist() == [1, 1]
    seen, wanted = (torch.from_numpy(observe(x)["image"]).float() / 255 for x in (START, there))
    expected = (seen - wanted).abs().mean((1, 2, 3))
    assert np.allclose(agent.energy_now, expected.numpy(), atol=1e-6)
    assert agent.energy_now[0] == 0
    assert agent.target.steps.tolist() == [3, 3]
    assert torch.allclose(agent.target.latents, wanted.flatten(1, 2))


def test_a_sub_goal_that_is_reached_early_makes_room_for_the_next():
    first = START + poses_at((0.06, 0, 0), (0, 0.06, 0))
    goal = goal_of(first, first + poses_at((0, 0.06, 0), (0, 0, 0.06)), steps=(8, 8))
    agent = PlanningAgent(
        ToyWorldModel(), CEM(fast()), L1(), switching=Switching(by="energy", below=0.3)
    )
    agent.reset(goal)
    poses, seen = START, []
    for _ in range(6):
        poses = kinematics.integrate(poses, agent.act(observe(poses)))
        seen.append(agent.current.tolist())
    assert seen[0] == [0, 0]
    assert seen[3] == [1, 1]
    assert np.linalg.norm(poses[:, 1:3] - (START[:, 1:3] + [[0.06, 0], [0.06, 0.06]])) < 0.02


# Proposals and intermediate goals.


def test_what_is_proposed_is_among_the_samples_and_found_best():
    proposer = Straight(THERE)
    agent = PlanningAgent(
        ToyWorldModel(),
        CEM(replace(fast(), horizon=1, num_samples=16, num_iterations=1, answer_best=True)),
        L1(),
        proposer=proposer,
        num_proposals=3,
    )
    near = THERE + poses_at((0.05, 0, 0), (0, -0.05, 0.05))
    agent.reset(goal_of(THERE))
    assert np.allclose(agent.act(observe(near)), THERE - near, atol=1e-6)
    context, target, samples, horizon = proposer.asked[0]
    assert (samples, horizon) == (3, 1)
    assert target is agent.target
    assert np.array_equal(context.poses[:, -1].numpy(), near)


def test_proposals_repeat_with_the_seed_after_a_reset_and_go_on_otherwise():
    planner = ForwardPlanner()
    agent = PlanningAgent(
        ToyWorldModel(), planner, L1(), proposer=Straight(THERE), num_proposals=4, seed=3
    )
    for _ in range(2):
        agent.reset(goal_of(THERE))
        agent.act(observe(START))
        agent.act(observe(START))
    first, second, again, _ = planner.proposals
    assert first.shape == (2, 4, 2, 7)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_without_proposals_nobody_is_asked():
    proposer, planner = Straight(THERE), ForwardPlanner()
    agent = PlanningAgent(ToyWorldModel(), planner, L1(), proposer=proposer)
    agent.reset(goal_of(THERE))
    agent.act(observe(START))
    assert proposer.asked == []
    assert planner.proposals == [None]


def test_what_surprises_adds_to_what_a_plan_costs():
    habit, costs = Habit(), []
    assert isinstance(habit, Prior)
    for weight in (0.0, 3.0):
        prior = habit if weight else None
        planner = ForwardPlanner()
        agent = PlanningAgent(ToyWorldModel(), planner, L1(), prior=prior, prior_weight=weight)
        agent.reset(goal_of(THERE))
        agent.act(observe(START))
        costs.append(agent.plan.cost)
    # Two steps of a centimetre along x, three units of energy a nat.
    torch.testing.assert_close(costs[1] - costs[0], 3.0 * 0.02 * torch.tensor([1.0, 2.0]))
    context, target, horizon = habit.asked[0]
    assert len(habit.asked) == 1, "once for all samples"
    assert (target, horizon) == (agent.target, 2)
    assert np.array_equal(context.poses[:, -1].numpy(), START)


def test_how_far_the_goal_is_does_not_depend_on_the_prior():
    told = []
    for weight in (0.0, 3.0):
        agent = PlanningAgent(
            ToyWorldModel(), ForwardPlanner(), L1(), prior=Habit(), prior_weight=weight
        )
        agent.reset(goal_of(THERE))
        agent.act(observe(START))
        told.append(agent.energy_now)
    assert np.array_equal(*told)


def test_a_prior_keeps_a_search_from_what_nobody_does():
    actions = []
    for weight in (0.0, 100.0):
        agent = PlanningAgent(
            ToyWorldModel(), CEM(fast()), L1(), prior=Habit(), prior_weight=weight
        )
        agent.reset(goal_of(THERE))
        actions.append(np.abs(agent.act(observe(START))))
    assert (actions[0][:, 0] > 0.02).all()
    assert (actions[1][:, 0] < 0.005).all()
    assert (actions[1][:, 1] > 0.02).all()


def test_a_prior_without_weight_is_never_asked():
    habit = Habit()
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), L1(), prior=habit)
    agent.reset(goal_of(THERE))
    agent.act(observe(START))
    assert habit.asked == []


def test_a_prior_is_asked_about_the_intermediate_goal():
    habit = Habit()
    agent = PlanningAgent(
        ToyWorldModel(), ForwardPlanner(), L1(), prior=habit, prior_weight=1.0, high_level=HalfWay()
    )
    agent.reset(goal_of(THERE))
    agent.act(observe(START))
    assert habit.asked[0][1] is agent.target


def test_a_surprise_that_is_no_number_fails_loudly():
    class Lost(Habit):
        def surprise(self, context, target, *, horizon):
            return lambda actions: super(Lost, self).surprise(context, target, horizon=horizon)(
                actions * torch.nan
            )

    agent = PlanningAgent(ToyWorldModel(), CEM(fast()), L1(), prior=Lost(), prior_weight=1.0)
    agent.reset(goal_of(THERE))
    with pytest.raises(PlanningError, match="finite"):
        agent.act(observe(START))


def test_intermediate_goals_are_what_is_planned_for_and_their_clock_is_the_views():
    upper = HalfWay()
    agent = PlanningAgent(ToyWorldModel(), CEM(fast()), L1(), high_level=upper)
    agent.reset(goal_of(THERE, THERE, steps=(2, 5)))
    for _ in range(3):
        agent.act(observe(START))
    agent.reset(goal_of(THERE, THERE, steps=(2, 5)), np.array([False, True]))
    agent.act(observe(START))
    assert upper.elapsed == [[0, 0], [1, 1], [0, 0], [1, 0]]
    assert upper.resets == 1
    now, there = (torch.from_numpy(observe(x)["image"]).float() / 255 for x in (START, THERE))
    assert torch.allclose(agent.target.latents, ((now + there) / 2).flatten(1, 2))
    assert np.allclose(agent.energy_now, ((there - now) / 2).abs().mean((1, 2, 3)), atol=1e-6)


def test_a_planner_that_needs_gradients_gets_them():
    agent = PlanningAgent(ToyWorldModel(), GradientPlanner(GradientConfig()), L2())
    agent.reset(goal_of(THERE))
    poses = START
    for _ in range(5):
        poses = kinematics.integrate(poses, agent.act(observe(poses)))
    assert np.linalg.norm(poses[:, :3] - THERE[:, :3], axis=1).max() < 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_proposals": 2}, "need a proposer"),
        ({"prior_weight": 0.5}, "above 0 needs a prior; got 0.5"),
        ({"num_proposals": -1}, "num_proposals not negative"),
        ({"max_context": 0}, "max_context"),
        ({"energy": PoseDistance(), "high_level": HalfWay()}, "have no poses"),
    ],
)
def test_what_does_not_go_together_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        PlanningAgent(ToyWorldModel(), ForwardPlanner(), options.pop("energy", L1()), **options)


# Goals that are none.


def with_field(goal, name, value):
    """Return a goal that its own type checks would not let through."""
    object.__setattr__(goal, name, value)
    return goal


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("images", np.zeros((2, 0, 12, 12, 3), np.uint8), "2 robots and 0 views"),
        ("images", np.zeros((0, 1, 12, 12, 3), np.uint8), "0 robots and 1 views"),
        ("images", np.zeros((2, 1, 12, 12, 3), np.float32), "uint8"),
        ("images", np.zeros((2, 12, 12, 3), np.uint8), r"\[2, 12, 12, 3\]"),
        ("steps", (), "1 positive numbers"),
        ("steps", (4, 4), r"got \(4, 4\)"),
        ("steps", (0,), r"got \(0,\)"),
    ],
)
def test_a_goal_that_is_none_is_refused_before_any_model_runs(name, value, said):
    model, planner = ToyWorldModel(), ForwardPlanner()
    agent = PlanningAgent(model, planner, L1())
    with pytest.raises(GoalError, match=said):
        agent.reset(with_field(goal_of(THERE), name, value))
    assert model.encoded == planner.resets == 0


def test_poses_that_do_not_fit_their_views_are_refused():
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), PoseDistance())
    with pytest.raises(GoalError, match=r"\[2 1 7\], got \[1, 1, 7\]"):
        agent.reset(with_field(goal_with_poses(THERE), "poses", THERE[:1, None]))


def test_a_goal_of_another_size_is_refused_with_both_sizes():
    model = ToyWorldModel()
    agent = PlanningAgent(model, ForwardPlanner(), L1())
    wide = np.zeros((2, 1, 12, 20, 3), np.uint8)
    agent.reset(Goal(images=wide, steps=(10,)))
    encoded = model.encoded
    with pytest.raises(GoalError, match=r"12 x 20 px, what is observed is 12 x 12"):
        agent.act(observe(START))
    assert model.encoded == encoded


def test_acting_without_a_goal_or_for_other_robots_is_refused():
    agent = PlanningAgent(ToyWorldModel(), ForwardPlanner(), L1())
    with pytest.raises(GoalError, match="call reset"):
        agent.act(observe(START))
    with pytest.raises(ValueError, match="none"):
        agent.reset(goal_of(THERE), np.array([True, False]))
    agent.reset(goal_of(THERE))
    with pytest.raises(GoalError, match="2 robots, 1 are observed"):
        agent.act(observe(START[:1]))


# Worlds that go wrong.


class Broken(ToyWorldModel):
    """Imagines NaN for the second robot."""

    def imagine(self, context, actions):
        imagined = super().imagine(context, actions)
        imagined.latents[1:] = torch.nan
        return imagined


class Blinded(ToyWorldModel):
    """Encodes NaN from some image on."""

    def encode(self, images):
        latents = super().encode(images)
        return latents * torch.nan if self.encoded > 4 else latents


@pytest.mark.parametrize("make", [Broken, Blinded])
def test_energies_that_are_no_numbers_fail_loudly_and_nothing_moves(make):
    envs = toy_envs(2)
    told = []
    envs.step = lambda actions: told.append(actions)
    agent = PlanningAgent(make(), CEM(fast()), L1())
    if make is Blinded:
        agent.reset(goal_of(THERE))
    with pytest.raises(PlanningError, match="finite"):
        rollout(envs, agent, [0, 1])
    assert told == []
    assert agent.plan is None


def test_a_plan_that_is_no_numbers_is_not_returned():
    class Lost(ForwardPlanner):
        def plan(self, cost, n, **options):
            plan = super().plan(cost, n, **options)
            return replace(plan, actions=plan.actions * torch.nan)

    agent = PlanningAgent(ToyWorldModel(), Lost(), L1())
    agent.reset(goal_of(THERE))
    with pytest.raises(PlanningError, match="not finite"):
        agent.act(observe(START))
    assert agent.plan is None
