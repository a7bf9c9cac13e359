from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import ToyWorldModel, picture

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Plan, Trace
from vjepa_gym.agents.cem import CEM, fast
from vjepa_gym.agents.energies import L1, L2
from vjepa_gym.agents.planning import PlanningAgent
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

    def __init__(self):
        self.previous = []
        self.resets = 0

    def reset(self):
        self.resets += 1

    def plan(self, cost, n, *, previous=None):
        actions = torch.zeros(n, 2, 7)
        actions[..., 0] = 0.01
        self.previous.append(previous)
        costs = cost(actions[:, None])[:, 0]
        none = torch.zeros(0, n)
        return Plan(
            actions=actions, cost=costs, trace=Trace(best=none, mean=none, std=torch.zeros(0, n, 7))
        )


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
