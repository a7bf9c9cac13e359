import math

import pytest
import torch

from vjepa_gym.agents.base import Context, Proposer, Target
from vjepa_gym.agents.turned import PIVOT
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
