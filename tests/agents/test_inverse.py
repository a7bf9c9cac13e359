"""The inverse agent on a robot that is a point, driven by a proposer that sees where it is."""

import numpy as np
import pytest
import torch
from toys import SIZE, ToyReach, ToyWorldModel, picture, toy_envs

from vjepa_gym.agents.base import Proposer
from vjepa_gym.agents.inverse import InverseAgent
from vjepa_gym.errors import GoalError, PlanningError
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.spaces import MAX_TRANSLATION
from vjepa_gym.types import Agent, Goal, Observation
from vjepa_gym.world_models.base import Context, Target


class Seer:
    """Proposes what a table of views says about their poses, and takes notes."""

    def __init__(self, poses: np.ndarray | None = None) -> None:
        self.views = {picture(pose).tobytes(): pose for pose in ([] if poses is None else poses)}
        self.asked: list[tuple[list[int], int]] = []
        self.answer = 0.0

    def propose(
        self,
        context: Context,
        target: Target,
        *,
        samples: int,
        horizon: int,
        generator: torch.Generator,
    ) -> torch.Tensor:
        assert target.steps is not None
        self.asked.append((target.steps.tolist(), horizon))
        actions = torch.full((len(context.poses), samples, horizon, 7), self.answer)
        if self.views:
            seen = (target.latents * 255).round().to(torch.uint8).unflatten(1, (SIZE, SIZE))
            goals = np.stack([self.views[x.numpy().tobytes()] for x in seen])
            away = torch.from_numpy(goals) - context.poses[:, -1]
            actions[:] = away.clamp(-MAX_TRANSLATION, MAX_TRANSLATION)[:, None, None]
        return actions


def poses_of(*rows: tuple[float, float, float]) -> np.ndarray:
    poses = np.zeros((len(rows), 7), np.float32)
    poses[:, :3] = rows
    return poses


def goal_of(poses: np.ndarray, k: int = 1, steps: tuple[int, ...] = (4,)) -> Goal:
    images = np.stack([picture(pose) for pose in poses])
    return Goal(images=images.reshape(-1, k, *images.shape[1:]), steps=steps)


def seen_at(poses: np.ndarray) -> Observation:
    return {"image": np.stack([picture(pose) for pose in poses]), "pose": poses.copy()}


START = poses_of((0.5, 0.0, 0.2), (0.5, 0.1, 0.2))
GOALS = poses_of((0.55, 0.0, 0.2), (0.4, 0.1, 0.2))


def test_is_an_agent_that_needs_a_proposer():
    assert isinstance(Seer(), Proposer)
    agent = InverseAgent(ToyWorldModel(), Seer())
    assert isinstance(agent, Agent)
    assert not agent.privileged


def test_does_what_leads_to_each_robots_goal():
    agent = InverseAgent(ToyWorldModel(), Seer(GOALS))
    agent.reset(goal_of(GOALS))
    actions = agent.act(seen_at(START))
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions[:, :3], [[0.05, 0, 0], [-MAX_TRANSLATION, 0, 0]], atol=1e-6)
    assert agent.target is not None
    assert agent.target.latents.shape == (2, SIZE * SIZE, 3)


def test_reaches_in_an_environment():
    envs = toy_envs(2)
    seeds = [0, 1, 2]
    one = ToyReach()
    found = [one.reset(seed=seed)[1]["goal"]["poses"][0] for seed in seeds]
    agent = InverseAgent(ToyWorldModel(), Seer(np.stack(found)))
    assert all(record.success for record in rollout(envs, agent, seeds))


def test_goals_are_encoded_once_and_every_view_once():
    model = ToyWorldModel()
    agent = InverseAgent(model, Seer(GOALS))
    agent.reset(goal_of(GOALS))
    assert model.encoded == 2
    for _ in range(3):
        agent.act(seen_at(START))
    assert model.encoded == 2 + 3 * 2


def test_wants_a_view_within_a_few_steps_and_says_how_many_are_left():
    for within, horizons in ((2, [2, 2, 2, 2]), (None, [3, 2, 1, 1])):
        seer = Seer(GOALS)
        agent = InverseAgent(ToyWorldModel(), seer, within=within)
        agent.reset(goal_of(GOALS, steps=(3,)))
        for _ in range(4):
            agent.act(seen_at(START))
        assert [horizon for _, horizon in seer.asked] == horizons
        assert [steps for steps, _ in seer.asked] == [[3, 3], [2, 2], [1, 1], [1, 1]]


def test_goes_from_view_to_view_by_the_clock():
    views = poses_of((0.55, 0.0, 0.2), (0.5, 0.05, 0.2))
    seer = Seer(views)
    agent = InverseAgent(ToyWorldModel(), seer)
    agent.reset(goal_of(views, k=2, steps=(2, 3)))
    moves = np.stack([agent.act(seen_at(START[:1]))[0, :2] for _ in range(6)])
    np.testing.assert_allclose(moves, [[0.05, 0.0]] * 2 + [[0.0, 0.05]] * 4, atol=1e-6)
    assert [steps for steps, _ in seer.asked] == [[2], [1], [3], [2], [1], [1]]


def test_one_robot_begins_anew_beside_another():
    both = np.concatenate([GOALS, poses_of((0.5, 0.0, 0.25))])
    seer = Seer(both)
    agent = InverseAgent(ToyWorldModel(), seer)
    agent.reset(goal_of(GOALS))
    agent.act(seen_at(START))
    new = goal_of(both[[2, 1]])
    agent.reset(new, np.array([True, False]))
    actions = agent.act(seen_at(START))
    np.testing.assert_allclose(actions[0, :3], [0, 0, 0.05], atol=1e-6)
    np.testing.assert_allclose(actions[1, :3], [-MAX_TRANSLATION, 0, 0], atol=1e-6)
    assert seer.asked[-1][0] == [4, 3]
    agent.reset(new, np.array([False, False]))
    agent.act(seen_at(START))
    assert seer.asked[-1][0] == [3, 2]


def test_a_goal_of_another_form_needs_all_robots_to_begin_anew():
    agent = InverseAgent(ToyWorldModel(), Seer(GOALS))
    with pytest.raises(ValueError, match="which=None"):
        agent.reset(goal_of(GOALS), np.array([True, False]))
    agent.reset(goal_of(GOALS))
    with pytest.raises(ValueError, match="which=None"):
        agent.reset(goal_of(GOALS, steps=(5,)), np.array([True, False]))


def test_refuses_what_cannot_be_before_anything_is_encoded():
    model = ToyWorldModel()
    agent = InverseAgent(model, Seer(GOALS))
    with pytest.raises(GoalError, match="no goal yet"):
        agent.act(seen_at(START))
    agent.reset(goal_of(GOALS))
    encoded = model.encoded
    wide: Observation = {
        "image": np.zeros((2, SIZE, 2 * SIZE, 3), np.uint8),
        "pose": START.copy(),
    }
    with pytest.raises(GoalError, match="must be alike"):
        agent.act(wide)
    with pytest.raises(GoalError, match="2 robots"):
        agent.act(seen_at(START[:1]))
    assert model.encoded == encoded
    with pytest.raises(ValueError, match="within must be at least 1"):
        InverseAgent(model, Seer(), within=0)


def test_an_action_that_is_no_number_is_not_done():
    seer = Seer()
    agent = InverseAgent(ToyWorldModel(), seer)
    agent.reset(goal_of(GOALS))
    agent.act(seen_at(START))
    seer.answer = float("nan")
    with pytest.raises(PlanningError, match="not finite"):
        agent.act(seen_at(START))
