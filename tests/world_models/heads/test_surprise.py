"""What the inverse-dynamics head finds surprising."""

import pytest
import torch

from vjepa_gym.agents.base import Prior
from vjepa_gym.world_models.base import Context, Target
from vjepa_gym.world_models.heads.inverse import (
    CLOSE,
    MOVED,
    OPEN,
    ActionChunk,
    InverseDynamics,
    InverseDynamicsConfig,
)
from vjepa_gym.world_models.presets import debug

ROBOTS, LEFT = 3, 5
CLOSEDNESS = torch.tensor([-0.3, 0.0, 0.4])
"""What opens, holds and closes the gripper."""


@pytest.fixture
def head() -> InverseDynamics:
    torch.manual_seed(0)
    made = InverseDynamics(InverseDynamicsConfig(width=64, token_width=8, depth=1), debug())
    made.action_scale.copy_(torch.linspace(0.01, 0.06, MOVED))
    return made


def situation(steps: int | None = LEFT) -> tuple[Context, Target]:
    generator = torch.Generator().manual_seed(1)
    now, goal = torch.randn(2, ROBOTS, 16, 24, generator=generator)
    poses = torch.randn(ROBOTS, 1, 7, generator=generator)
    context = Context(latents=now[:, None], poses=poses, actions=torch.zeros(ROBOTS, 0, 7))
    left = None if steps is None else torch.full((ROBOTS,), steps)
    return context, Target(latents=goal, steps=left)


def told(head: InverseDynamics, horizon: int) -> ActionChunk:
    context, target = situation()
    steps = torch.full((ROBOTS,), min(horizon, LEFT))
    return head(context.latents[:, -1], target.latents, context.poses[:, -1], steps)


def likely(head: InverseDynamics, horizon: int) -> torch.Tensor:
    """Return the medians and the most likely moves of the gripper, as one sample a robot."""
    chunk = told(head, horizon)
    closing = CLOSEDNESS[chunk.gripper.argmax(-1)]
    actions = torch.cat([chunk.median * head.action_scale, closing[..., None]], -1)[:, :horizon]
    return actions.detach()[:, None]


def judge(head: InverseDynamics, actions: torch.Tensor, steps: int | None = LEFT) -> torch.Tensor:
    return head.surprise(*situation(steps), horizon=actions.shape[2])(actions)


def test_a_head_is_a_prior(head: InverseDynamics):
    assert isinstance(head, Prior)
    actions = torch.zeros(ROBOTS, 6, 2, 7)
    assert judge(head, actions).shape == (ROBOTS, 6)


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_it_is_the_negative_log_likelihood_but_for_constants(head: InverseDynamics, horizon: int):
    generator, chunk = torch.Generator().manual_seed(2), told(head, horizon)
    actions = torch.randn(ROBOTS, 8, horizon, 7, generator=generator) * 0.1
    median, spread = (x[:, None, :horizon] for x in (chunk.median, chunk.spread))
    moves = torch.distributions.Laplace(median, spread)
    gripper = torch.distributions.Categorical(logits=chunk.gripper[:, None, :horizon])
    kinds = 1 + (actions[..., 6] > 0.05).long() - (actions[..., 6] < -0.05).long()
    expected = -moves.log_prob(actions[..., :MOVED] / head.action_scale).sum((2, 3))
    constants = (2 * spread).log().sum((2, 3))
    expected = expected - constants - gripper.log_prob(kinds).sum(2)
    torch.testing.assert_close(judge(head, actions), expected)


def test_it_is_least_where_the_head_proposes(head: InverseDynamics):
    best, generator = likely(head, 3), torch.Generator().manual_seed(0)
    proposals = head.propose(*situation(), samples=200, horizon=3, generator=generator)
    torch.testing.assert_close(proposals[:, :1, :, :MOVED], best[..., :MOVED])
    surprise, least = judge(head, proposals), judge(head, best)
    torch.testing.assert_close(surprise[:, :1], least)
    assert (surprise[:, 1:] > least).all()


@pytest.mark.parametrize("coordinate", range(MOVED))
def test_it_grows_by_a_nat_for_each_spread(head: InverseDynamics, coordinate: int):
    best, spread = likely(head, 2), told(head, 2).spread
    for step, spreads in ((0, 1.0), (1, -2.5)):
        actions = best.clone()
        away = spreads * spread[:, None, step, coordinate] * head.action_scale[coordinate]
        actions[:, :, step, coordinate] += away
        torch.testing.assert_close(
            judge(head, actions) - judge(head, best), torch.full((ROBOTS, 1), abs(spreads))
        )


def test_the_odds_of_the_gripper_count(head: InverseDynamics):
    logits = told(head, 2).gripper
    opening, closing = likely(head, 2), likely(head, 2)
    opening[:, :, 1, 6], closing[:, :, 1, 6] = CLOSEDNESS[OPEN], CLOSEDNESS[CLOSE]
    expected = (logits[:, 1, CLOSE] - logits[:, 1, OPEN])[:, None]
    torch.testing.assert_close(judge(head, opening) - judge(head, closing), expected)
    # How far it opens or closes is of no account.
    further = closing.clone()
    further[:, :, 1, 6] *= 2
    assert torch.equal(judge(head, further), judge(head, closing))


def test_steps_that_the_head_was_not_made_for_are_ignored(head: InverseDynamics):
    actions = torch.randn(ROBOTS, 2, 6, 7, generator=torch.Generator().manual_seed(3)) * 0.05
    changed = actions.clone()
    changed[:, :, 4:] = 1.0
    assert torch.equal(judge(head, changed), judge(head, actions))
    changed[:, :, 3] = 1.0
    assert (judge(head, changed) > judge(head, actions)).all()


def test_it_knows_how_many_steps_are_left(head: InverseDynamics):
    actions = torch.zeros(ROBOTS, 1, 3, 7)
    assert torch.equal(judge(head, actions, None), judge(head, actions, 9))
    assert not torch.equal(judge(head, actions, 1), judge(head, actions, 9))
    assert torch.equal(judge(head, actions, 0), judge(head, actions, 1))


def test_a_robot_is_judged_by_its_own_goal_and_a_sample_by_itself(head: InverseDynamics):
    actions = torch.randn(ROBOTS, 4, 2, 7, generator=torch.Generator().manual_seed(4)) * 0.05
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(judge(head, actions[:, order]), judge(head, actions)[:, order])
    context, target = situation()
    other = Target(latents=target.latents.clone(), steps=target.steps)
    other.latents[1] *= -1
    changed = head.surprise(context, other, horizon=2)(actions)
    torch.testing.assert_close(changed[[0, 2]], judge(head, actions)[[0, 2]])
    assert not torch.allclose(changed[1], judge(head, actions)[1])


def test_planners_of_gradients_can_follow_it(head: InverseDynamics):
    actions = likely(head, 2) + 0.01
    actions.requires_grad_()
    judge(head, actions).sum().backward()
    assert actions.grad is not None
    spread = told(head, 2).spread[:, None, :2] * head.action_scale
    torch.testing.assert_close(actions.grad[..., :MOVED], 1 / spread.detach())
    assert not any(weight.grad is not None for weight in head.parameters())


@pytest.mark.gpu
def test_on_a_gpu_it_is_the_same(head: InverseDynamics):
    actions = torch.randn(ROBOTS, 4, 2, 7, generator=torch.Generator().manual_seed(4)) * 0.05
    expected = judge(head, actions)
    head.cuda()
    context, target = situation()
    there = Context(
        latents=context.latents.cuda(), poses=context.poses.cuda(), actions=context.actions.cuda()
    )
    assert target.steps is not None
    wanted = Target(latents=target.latents.cuda(), steps=target.steps.cuda())
    found = head.surprise(there, wanted, horizon=2)(actions.cuda())
    torch.testing.assert_close(found.cpu(), expected, atol=1e-2, rtol=1e-3)
