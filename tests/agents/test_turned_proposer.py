import math

import pytest
import torch

from vjepa_gym.agents.base import Context, Prior, Proposer, Target
from vjepa_gym.agents.turned import PIVOT, turn_actions, turn_poses
from vjepa_gym.agents.turned_proposer import TurnedProposer


class Towards:
    """Proposes the way from where the hand is to a point, as it knows the camera of training."""

    def __init__(self, point):
        self.point = torch.tensor(point)

    def propose(self, context, target, *, samples, horizon, generator):
        self.target = target
        actions = torch.zeros(len(context.poses), samples, horizon, 7)
        actions[..., :3] = (self.point - context.poses[:, -1, :3])[:, None, None]
        actions[..., 6] = 0.5
        return actions


@pytest.mark.parametrize("degrees", [0.0, 30.0, -135.0])
def test_moves_lead_where_the_turned_camera_shows_the_point(degrees):
    angle = math.radians(degrees)
    # Seen by a camera that was carried round by the angle, the world is turned the other way.
    there = torch.tensor([0.1, 0.2, 0.3])
    cos, sin = math.cos(-angle), math.sin(-angle)
    x, y = there[0] - PIVOT[0], there[1] - PIVOT[1]
    expected = torch.tensor([PIVOT[0] + cos * x - sin * y, PIVOT[1] + sin * x + cos * y, 0.3])
    proposer = TurnedProposer(Towards([0.1, 0.2, 0.3]), angle)
    assert isinstance(proposer, Proposer)
    poses = torch.zeros(2, 1, 7)
    poses[:, 0, :3] = torch.tensor([[0.4, 0.1, 0.2], [0.6, -0.1, 0.5]])
    context = Context(latents=torch.zeros(2, 1, 1, 1), poses=poses, actions=torch.zeros(2, 0, 7))
    target = Target(latents=torch.zeros(2, 1, 1), poses=poses[:, 0])
    actions = proposer.propose(
        context, target, samples=3, horizon=2, generator=torch.Generator().manual_seed(0)
    )
    assert actions.shape == (2, 3, 2, 7)
    reached = poses[:, 0, None, None, :3] + actions[..., :3]
    assert torch.allclose(reached, expected.expand_as(reached), atol=1e-6)
    assert torch.allclose(actions[..., 6], torch.tensor(0.5))
    assert torch.equal(context.poses, poses), "what it was given stays as it was"


class Wont(Towards):
    """Is surprised by whatever leads away from where it would go."""

    def surprise(self, context, target, *, horizon):
        self.seen, self.target = context, target
        wanted = self.propose(context, target, samples=1, horizon=horizon, generator=None)
        weights = torch.tensor([3.0, 1.0, 2.0, 1.0, 5.0, 1.0, 1.0])
        return lambda actions: ((actions - wanted).abs() * weights).sum((2, 3))


def scene():
    poses = torch.zeros(2, 1, 7)
    poses[:, 0, :3] = torch.tensor([[0.4, 0.1, 0.2], [0.6, -0.1, 0.5]])
    poses[:, 0, 5] = torch.tensor([0.3, -0.2])
    actions = torch.full((2, 0, 7), 0.01)
    context = Context(latents=torch.zeros(2, 1, 1, 1), poses=poses, actions=actions)
    steps = torch.tensor([3, 4])
    return context, Target(latents=torch.zeros(2, 1, 1), poses=poses[:, 0] + 0.1, steps=steps)


@pytest.mark.parametrize("degrees", [0.0, 30.0, -135.0])
def test_turned_actions_are_judged_as_the_camera_of_the_training_would(degrees):
    angle, inner = math.radians(degrees), Wont([0.1, 0.2, 0.3])
    proposer, (context, target) = TurnedProposer(inner, angle), scene()
    assert isinstance(proposer, Prior)
    surprise = proposer.surprise(context, target, horizon=2)
    generator = torch.Generator().manual_seed(0)
    proposed = proposer.propose(context, target, samples=3, horizon=2, generator=generator)
    torch.testing.assert_close(surprise(proposed), torch.zeros(2, 3), atol=1e-5, rtol=0)
    # Anything is as surprising as it is to what is wrapped, once that is turned as the robot is.
    actions = torch.randn(2, 5, 2, 7, generator=generator) * 0.05
    seen = Context(
        latents=context.latents,
        poses=turn_poses(context.poses, angle, PIVOT),
        actions=turn_actions(context.actions, angle),
    )
    expected = inner.surprise(seen, target, horizon=2)(turn_actions(actions, angle))
    torch.testing.assert_close(surprise(actions), expected, atol=1e-5, rtol=1e-5)
    unturned = Wont([0.1, 0.2, 0.3]).surprise(context, target, horizon=2)(actions)
    assert torch.allclose(surprise(actions), unturned, atol=1e-3) == (degrees == 0)


def test_what_is_wrapped_sees_the_pose_of_the_goal_turned_and_its_steps():
    inner, (context, target) = Wont([0.1, 0.2, 0.3]), scene()
    TurnedProposer(inner, 0.5).surprise(context, target, horizon=1)
    torch.testing.assert_close(inner.seen.poses, turn_poses(context.poses, 0.5, PIVOT))
    torch.testing.assert_close(inner.target.poses, turn_poses(target.poses, 0.5, PIVOT))
    assert inner.target.steps is target.steps


def test_a_proposer_that_is_no_prior_is_refused():
    proposer, (context, target) = TurnedProposer(Towards([0.1, 0.2, 0.3]), 0.5), scene()
    with pytest.raises(ValueError, match="a Towards is no prior"):
        proposer.surprise(context, target, horizon=1)
