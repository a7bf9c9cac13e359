"""The inverse-dynamics head: what it proposes, and that it learns what leads from view to view."""

from pathlib import Path

import numpy as np
import pytest
import torch
from head_cases import seen_walks

from vjepa_gym.agents.base import Proposer
from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.tasks import Task, step_generator
from vjepa_gym.learning.training import fit
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.world_models.base import Context, Target
from vjepa_gym.world_models.heads.inverse import (
    CLOSE,
    HOLD,
    OPEN,
    InverseDynamics,
    InverseDynamicsConfig,
    gripper_moves,
)
from vjepa_gym.world_models.heads.inverse_task import InverseTask, inverse_training
from vjepa_gym.world_models.heads.registry import HeadData
from vjepa_gym.world_models.poses import ANGLES
from vjepa_gym.world_models.presets import debug, tiny

CONFIG = InverseDynamicsConfig(width=64, token_width=8, depth=1)


def head_of(config: InverseDynamicsConfig = CONFIG, seed: int = 0) -> InverseDynamics:
    torch.manual_seed(seed)
    return InverseDynamics(config, debug())


def situation(n: int = 3, steps: int | None = 5) -> tuple[Context, Target]:
    generator = torch.Generator().manual_seed(1)
    now, goal = torch.randn(2, n, 16, 24, generator=generator)
    poses = torch.randn(n, 1, 7, generator=generator)
    context = Context(latents=now[:, None], poses=poses, actions=torch.zeros(n, 0, 7))
    left = None if steps is None else torch.full((n,), steps)
    return context, Target(latents=goal, steps=left)


def propose(
    head: InverseDynamics, steps: int | None = 5, samples: int = 4, horizon: int = 2, seed: int = 0
) -> torch.Tensor:
    return head.propose(
        *situation(steps=steps),
        samples=samples,
        horizon=horizon,
        generator=torch.Generator().manual_seed(seed),
    )


def test_is_a_proposer_of_few_weights():
    assert isinstance(head_of(), Proposer)
    assert sum(x.numel() for x in InverseDynamics(InverseDynamicsConfig(), tiny()).parameters()) < (
        1_000_000
    )


def test_the_first_sample_is_the_most_likely_and_the_others_differ():
    head = head_of()
    chosen = propose(head)
    assert chosen.shape == (3, 4, 2, 7)
    other = propose(head, seed=1)
    assert torch.equal(chosen[:, 0], other[:, 0])
    assert not torch.equal(chosen[:, 1], other[:, 1])
    assert torch.equal(chosen, propose(head))
    chunk = head(*(situation()[0].latents[:, -1], situation()[1].latents),
                 situation()[0].poses[:, -1], torch.full((3,), 2))  # fmt: skip
    torch.testing.assert_close(chosen[:, 0, :, :6], chunk.median[:, :2])
    kinds = chunk.gripper[:, :2].argmax(-1)
    assert torch.equal(chosen[:, 0, :, 6], torch.tensor([-1.0, 0.0, 1.0])[kinds])


def test_samples_spread_as_the_head_says():
    head = head_of()
    head.action_scale.fill_(0.1)
    context, target = situation(1)
    samples = propose_many(head, context, target)
    chunk = head(context.latents[:, -1], target.latents, context.poses[:, -1], torch.tensor([1]))
    away = (samples[0, 1:, 0, :6] / 0.1 - chunk.median[0, 0]).abs().mean(0)
    torch.testing.assert_close(away, chunk.spread[0, 0], rtol=0.1, atol=0.0)
    shares = torch.stack([(samples[0, 1:, 0, 6] == x).float().mean() for x in (-1, 0, 1)])
    torch.testing.assert_close(shares, chunk.gripper[0, 0].softmax(-1), atol=0.05, rtol=0)


def propose_many(head: InverseDynamics, context: Context, target: Target) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return head.propose(context, target, samples=4000, horizon=1, generator=generator)


def test_beyond_what_it_was_made_for_it_holds_still():
    head = head_of()
    chosen = propose(head, horizon=6)
    assert chosen.shape == (3, 4, 6, 7)
    assert (chosen[:, :, 4:] == 0).all()
    assert (chosen[:, :, :4, :6] != 0).all()


def test_wants_the_goal_by_the_end_of_the_horizon_or_of_the_steps_left():
    head = head_of()
    first = propose(head, steps=None, horizon=3)[:, 0]
    assert torch.equal(first, propose(head, steps=9, horizon=3)[:, 0])
    assert not torch.equal(first, propose(head, steps=1, horizon=3)[:, 0])
    # Whose time is over still wants it as soon as can be.
    assert torch.equal(propose(head, steps=0), propose(head, steps=1))


def test_what_one_robot_is_proposed_does_not_depend_on_the_goal_of_another():
    head = head_of()
    context, target = situation(2)
    one = propose_many(head, context, target)
    swapped = Target(latents=target.latents * torch.tensor([1.0, -1.0])[:, None, None], steps=None)
    other = propose_many(head, context, swapped)
    torch.testing.assert_close(one[0], other[0])
    assert not torch.allclose(one[1], other[1])


def test_where_a_token_is_matters():
    head = head_of()
    context, target = situation(1)
    moved = Target(latents=target.latents.roll(1, dims=1), steps=target.steps)
    one, other = (propose_many(head, context, wanted)[:, 0] for wanted in (target, moved))
    assert not torch.allclose(one, other)


def test_a_pose_beyond_half_a_turn_is_the_same_pose():
    head = head_of()
    context, target = situation(1)
    turned = context.poses.clone()
    turned[..., ANGLES] += 2 * torch.pi
    other = Context(latents=context.latents, poses=turned, actions=context.actions)
    torch.testing.assert_close(
        propose_many(head, context, target)[:, 0],
        propose_many(head, other, target)[:, 0],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(("samples", "horizon"), [(0, 1), (1, 0)])
def test_refuses_to_propose_nothing(samples: int, horizon: int):
    with pytest.raises(ValueError, match="must be positive"):
        propose(head_of(), samples=samples, horizon=horizon)


@pytest.mark.parametrize("sizes", [{"horizon": 0}, {"width": 0}, {"depth": -1}, {"goal_steps": 0}])
def test_refuses_sizes_that_nothing_has(sizes: dict[str, int]):
    with pytest.raises(ValueError, match="must be"):
        InverseDynamicsConfig(**sizes)


def test_tells_what_the_gripper_does():
    changes = torch.tensor([-0.4, -0.01, 0.0, 0.04, 0.3])
    assert gripper_moves(changes).tolist() == [OPEN, HOLD, HOLD, HOLD, CLOSE]


def test_scales_are_those_of_the_data():
    head = head_of()
    poses = torch.zeros(100, 7)
    poses[:, 3] = torch.linspace(torch.pi - 0.1, torch.pi + 0.1, 100)
    moves = torch.zeros(100, 7)
    moves[:, 0], moves[:10, 6], moves[10:13, 6] = 0.03, 0.4, -0.2
    head.fit_normalisation(poses, moves)
    assert float(head.state_mean[3]) % (2 * torch.pi) == pytest.approx(torch.pi, abs=1e-3)
    assert float(head.state_scale[3]) == pytest.approx(0.058, abs=1e-3)
    assert float(head.action_scale[0]) == pytest.approx(0.03)
    assert head.action_scale[1] > 0
    torch.testing.assert_close(head.gripper_step, torch.tensor([-0.2, 0.0, 0.4]))


def task_of(data: HeadData, batch_size: int = 8) -> InverseTask:
    return InverseTask(data, head_of(), TrainingConfig(steps=10, batch_size=batch_size))


def test_goals_are_later_views_of_the_same_episode_and_near_ones_more_often():
    data = seen_walks(episodes=4, rows=8)
    task = task_of(data, batch_size=4000)
    assert isinstance(task, Task)
    plan = task.plan(1, 10, step_generator(0, 1))
    assert plan.size == 4000
    episode = plan.rows // 8
    assert ((plan.rows + plan.steps) // 8 == episode).all()
    assert plan.steps.min() == 1
    assert plan.steps.max() == 7
    from_first = plan.steps[plan.rows % 8 == 0]
    shares = np.bincount(from_first, minlength=8)[1:] / len(from_first)
    assert (np.diff(shares[[0, 1, 3, 6]]) < 0).all()
    assert set(plan.rows.tolist()) == {row for row in range(32) if row % 8 != 7}
    assert 0.6 < plan.told.mean() < 0.9


def test_a_batch_holds_what_was_achieved_and_nothing_after_the_goal():
    data = seen_walks(episodes=4, rows=8)
    task = task_of(data, batch_size=64)
    plan = task.plan(1, 10, step_generator(0, 1))
    part = slice(8, 40)
    batch = task.load(plan, part)
    rows, steps = plan.rows[part], plan.steps[part]
    np.testing.assert_array_equal(batch["latents"].numpy(), data.latents[rows])
    np.testing.assert_array_equal(batch["goals"].numpy(), data.latents[rows + steps])
    poses = data.frames.poses
    for index, (row, count) in enumerate(zip(rows, steps, strict=True)):
        done = batch["actions"][index].numpy()
        assert (done[count:] == 0).all()
        for step in range(min(count, 4)):
            wanted = poses[row + step + 1, :3] - poses[row + step, :3]
            np.testing.assert_allclose(done[step, :3], wanted, atol=1e-6)
    told = plan.told[part]
    np.testing.assert_array_equal(batch["steps"].numpy(), np.where(told, steps, 0))
    assert len(task.describe(plan, part)) == 32
    assert task.describe(plan, slice(0, 1))[0].startswith("episode")


def test_refuses_episodes_of_a_single_view():
    data = seen_walks(episodes=3, rows=1)
    with pytest.raises(DatasetError, match="2 frames"):
        task_of(data)


def test_learns_which_move_leads_to_the_next_view(tmp_path: Path):
    held = seen_walks(episodes=80)
    data = HeadData(latents=held.latents[: 60 * 12], frames=held.frames.split(20)[0])
    head = head_of(InverseDynamicsConfig(width=64, token_width=8, depth=1, goal_steps=2))
    training = TrainingConfig(steps=100, batch_size=32, learning_rate=1e-2, decay=0.5)
    losses: list[float] = []
    fit(
        InverseTask(data, head, training),
        training,
        folder=tmp_path,
        seed=0,
        on_step=lambda _step, _steps, metrics: losses.append(metrics["loss"]),
    )
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1
    rows = np.arange(60 * 12, 80 * 12 - 1)
    rows = rows[rows % 12 != 11]
    context = Context(
        latents=torch.from_numpy(held.latents[rows]).float()[:, None],
        poses=torch.from_numpy(held.frames.poses[rows])[:, None],
        actions=torch.zeros(len(rows), 0, 7),
    )
    goal = Target(latents=torch.from_numpy(held.latents[rows + 1]).float())
    told = head.propose(context, goal, samples=1, horizon=1, generator=torch.Generator())[:, 0, 0]
    done = torch.from_numpy(held.frames.poses[rows + 1] - held.frames.poses[rows])
    error, usual = (told - done)[:, :3].abs().mean(), done[:, :3].abs().mean()
    assert error < 0.4 * usual
    assert (gripper_moves(told[:, 6]) == gripper_moves(done[:, 6])).float().mean() > 0.9


def test_trains_in_minutes_by_default():
    assert inverse_training().steps * inverse_training().batch_size < 2_000_000
