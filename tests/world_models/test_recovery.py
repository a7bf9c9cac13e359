"""The recovery of poses and actions from latents: its sizes, its loss, its batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from recovery_cases import HEAD, recipe, recovering, recovering_task, seen_hand

from vjepa_gym.errors import DatasetError, TrainingError
from vjepa_gym.learning.tasks import Plan, Task, step_generator
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.inverse import InverseDynamicsConfig
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.recovery import (
    ACTION_LOSS,
    POSE_ERROR,
    RecoveryConfig,
    RecoveryObjective,
)
from vjepa_gym.world_models.recovery_task import JointPlan, RecoveringPretraining, RecoveryPlan
from vjepa_gym.world_models.warping import warp

STEPS = 10


def plan_of(task: RecoveringPretraining, step: int = 1, seed: int = 0) -> JointPlan:
    return task.plan(step, STEPS, step_generator(seed, step))


def drawn_by(frames: Frames, **changes: Any) -> RecoveryPlan:
    return plan_of(recovering_task(frames, recipe(recovery=recovering(**changes)))).recovery


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weight": -1.0}, "weight must not be negative, got -1"),
        ({"weight": float("nan")}, "weight must not be negative, got nan"),
        ({"alone": 1.0}, "alone must be at least 0 and less than 1, got 1"),
        ({"warp": -0.1}, "warp must be at least 0 and less than 1, got -0.1"),
        ({"episodes": 0}, "episodes must be positive"),
        ({"views": 1, "pairs": 1}, "views at least 2"),
        ({"views": 4, "pairs": 7}, "as many as there are, 6; got 16, 4 and 7"),
        ({"pairs": 0}, "pairs from 1"),
        ({"head": InverseDynamicsConfig()}, "head.reader_width must be positive"),
    ],
)
def test_impossible_settings_are_refused_by_their_names(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RecoveryConfig(**changes)


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert RecoveryConfig().weight == 0
    assert RecoveryConfig(views=8).most_pairs == 28


def test_poses_and_actions_come_to_be_told_from_latents() -> None:
    torch.manual_seed(0)
    task = recovering_task(training=recipe(recovery=recovering(episodes=8)))
    objective = task.objective.get_submodule("recovery")
    assert isinstance(objective, RecoveryObjective)
    optimizer = torch.optim.Adam(objective.parameters(), 3e-3)
    seen: list[list[float]] = []
    for step in range(1, 61):
        plan = plan_of(task, step)
        loss, metrics = objective(**task.load(plan, slice(0, plan.size))["recovery"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append([loss.item(), metrics[POSE_ERROR].item(), metrics[ACTION_LOSS].item()])
    first, last = np.mean(seen[:8], 0), np.mean(seen[-8:], 0)
    assert last[0] < 0.75 * first[0]
    assert last[1] < 0.6 * first[1]
    assert last[2] < 0.9 * first[2]


def test_every_weight_of_encoder_and_head_learns_from_it() -> None:
    task = recovering_task()
    plan = plan_of(task)
    objective = task.objective.get_submodule("recovery")
    loss, metrics = objective(**task.load(plan, slice(0, plan.size))["recovery"])
    loss.backward()
    for name, weight in objective.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    assert objective.get_parameter("encoder.patch_embed.proj.weight").grad.any()
    assert not any(metric.requires_grad for metric in metrics.values())


def test_the_loss_is_that_of_masked_prediction_and_a_weight_times_the_term() -> None:
    task = recovering_task(training=recipe(recovery=recovering(weight=0.25)))
    plan = plan_of(task)
    loss, metrics = task.objective(**task.load(plan, slice(0, plan.size)))
    expected = metrics["masked"] + 0.25 * metrics["recovery"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert {POSE_ERROR, ACTION_LOSS, "latent_std", "latent_rank"} <= metrics.keys()


def test_half_precision_costs_poses_no_digits() -> None:
    task = recovering_task()
    plan = plan_of(task)
    batch = task.load(plan, slice(0, plan.size))["recovery"]
    objective = task.objective.get_submodule("recovery")
    asked: list[torch.dtype] = []
    task.head.reader.register_forward_hook(lambda *told: asked.append(told[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(**batch)[0]
    assert set(asked) == {torch.float32}
    assert half.item() == pytest.approx(objective(**batch)[0].item(), rel=0.05)


# What a batch is.


def test_it_is_a_task_and_its_plan_is_as_large_as_its_clips() -> None:
    task = recovering_task()
    assert isinstance(task, Task)
    assert isinstance(plan_of(task), Plan)
    assert plan_of(task).size == 4
    assert task.describe(plan_of(task), slice(1, 2)) == [
        task._masked.describe(plan_of(task).masked, slice(1, 2))[0]
    ]
    assert task.modules.keys() == {"encoder", "predictor", "target", "recovery"}


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    def batch(step: int, seed: int) -> dict[str, torch.Tensor]:
        task = recovering_task(training=recipe(jitter=0.2))
        return task.load(plan_of(task, step, seed), slice(0, 4))["recovery"]

    first, again = batch(3, 0), batch(3, 0)
    assert all(torch.equal(x, again[name]) for name, x in first.items())
    for other in (batch(4, 0), batch(3, 1)):
        assert not torch.equal(first["poses"], other["poses"])


def test_views_of_an_episode_are_warped_alike() -> None:
    frames = seen_hand()
    task = recovering_task(frames, recipe(recovery=recovering(warp=0.3)))
    plan = plan_of(task)
    drawn, size = plan.recovery, frames.images.shape[1]
    assert drawn.warps is not None
    assert drawn.warps.shape == (len(drawn.rows), 2, 3)
    loaded = task.load(plan, slice(0, plan.size))["recovery"]["images"]
    for number, (rows, by) in enumerate(zip(drawn.rows, drawn.warps, strict=True)):
        seen = warp(np.asarray(frames.images[rows]), np.stack([by] * len(rows)))
        preprocessing = Preprocessing(debug().preprocessing, size)
        torch.testing.assert_close(loaded[number], preprocessing(torch.from_numpy(seen)))


def test_clips_and_masks_are_those_that_there_are_without_recovery() -> None:
    task = recovering_task()
    plan = plan_of(task).masked
    alone = task._masked.plan(1, STEPS, step_generator(0, 1))
    for name in ("video", "start", "places"):
        np.testing.assert_array_equal(
            getattr(plan.groups["video"], name), getattr(alone.groups["video"], name)
        )


def test_pairs_are_two_views_of_an_episode_in_the_order_of_time() -> None:
    drawn = drawn_by(seen_hand(12), episodes=200, views=5, pairs=6)
    assert drawn.rows.shape == (200, 5)
    assert (np.diff(drawn.rows, axis=1) > 0).all()
    assert (drawn.rows // 12 == drawn.rows[:, :1] // 12).all()
    assert set(np.unique(drawn.rows)) == set(range(72))
    assert (drawn.first < drawn.second).all()
    assert (drawn.first >= 0).all()
    assert (drawn.second < 5).all()
    both = drawn.first * 5 + drawn.second
    assert all(len(set(pairs)) == 6 for pairs in both.tolist()), "none is drawn twice"


def test_near_pairs_are_drawn_more_often_and_those_beyond_the_heads_reach_last() -> None:
    head = InverseDynamicsConfig(**{**HEAD, "goal_steps": 2})
    drawn = drawn_by(seen_hand(8), episodes=400, views=8, pairs=6, head=head)
    apart = np.take_along_axis(drawn.rows, drawn.second, 1) - np.take_along_axis(
        drawn.rows, drawn.first, 1
    )
    counts = np.bincount(apart.ravel())
    assert counts.tolist() == [0, counts[1], counts[2]]
    # There are seven pairs of neighbours, and six with one between.
    assert counts[1] / 7 > 1.1 * counts[2] / 6
    all_pairs = drawn_by(seen_hand(8), episodes=2, views=8, pairs=28, head=head)
    assert all(len(set(one)) == 28 for one in (8 * all_pairs.first + all_pairs.second).tolist())


def closes(frames: Frames, row: int) -> bool:
    """Return whether the hand opens or closes after a row."""
    return frames.poses[row + 1, 6] != frames.poses[row, 6]


def test_a_batch_tells_what_was_done_until_the_later_view_and_nothing_after() -> None:
    frames = seen_hand(9)
    task = recovering_task(frames, recipe(recovery=recovering(episodes=40)))
    plan = plan_of(task)
    batch, drawn = task.load(plan, slice(0, 4))["recovery"], plan.recovery
    shapes = {name: tuple(x.shape) for name, x in batch.items()}
    assert shapes == {
        "images": (40, 4, 3, 16, 16),
        "poses": (40, 4, 7),
        "first": (40, 4),
        "second": (40, 4),
        "steps": (40, 4),
        "actions": (40, 4, 3, 7),
        "key_poses": (40, 4, 7),
    }
    np.testing.assert_array_equal(batch["poses"].numpy(), frames.poses[drawn.rows])
    begin = np.take_along_axis(drawn.rows, drawn.first, 1)
    apart = np.take_along_axis(drawn.rows, drawn.second, 1) - begin
    np.testing.assert_array_equal(batch["steps"].numpy(), np.where(drawn.told, apart, 0))
    assert 0.3 < drawn.told.mean() < 0.7
    for place in np.ndindex(begin.shape):
        done, row, count = batch["actions"][place].numpy(), begin[place], apart[place]
        assert not done[count:].any()
        for step in range(min(count, 3)):
            moved = frames.poses[row + step + 1] - frames.poses[row + step]
            np.testing.assert_allclose(done[step, :3], moved[:3], atol=1e-6)
            assert done[step, 6] == moved[6]
        key = next((k for k in range(count) if closes(frames, row + k)), count)
        wanted = frames.poses[row + key].copy()
        wanted[6] = frames.poses[row + min(key + 1, count), 6]
        np.testing.assert_array_equal(batch["key_poses"][place].numpy(), wanted)
    assert (apart < 3).any(), "some views are reached before the head's actions are over"


def test_pictures_are_those_of_the_views_as_the_encoder_takes_them() -> None:
    frames = seen_hand()
    task = recovering_task(frames)
    plan = plan_of(task)
    images = task.load(plan, slice(0, 4))["recovery"]["images"]
    shown = (images[..., 0, :, :] * 0.229 + 0.485) * 255
    wanted = frames.images[plan.recovery.rows][..., 0]
    np.testing.assert_allclose(shown.numpy(), wanted, atol=1e-2)


def test_contrast_is_changed_alike_for_all_views_of_an_episode() -> None:
    plain, jittered = (recovering_task(training=recipe(jitter=x)) for x in (0.0, 0.3))
    assert torch.equal(plan_of(plain).recovery.gains, torch.ones(4, 3))
    plan = plan_of(jittered)
    gains = plan.recovery.gains
    assert gains.shape == (4, 3)
    assert ((gains >= 0.7) & (gains <= 1.3)).all()
    assert len(gains.unique()) == 12
    images = jittered.load(plan, slice(0, 4))["recovery"]["images"]
    level = replace(plan, recovery=replace(plan.recovery, gains=torch.ones(4, 3)))
    before = jittered.load(level, slice(0, 4))["recovery"]["images"]
    torch.testing.assert_close(images, before * gains[:, None, :, None, None])


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(parts: int) -> None:
    task = recovering_task(training=recipe(recovery=recovering(episodes=8), jitter=0.2))
    plan = plan_of(task)

    def gradients(part: slice) -> list[torch.Tensor]:
        loss = task.objective(**task.load(plan, part))[0]
        weights = [x for x in task.objective.parameters() if x.requires_grad]
        return list(torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))

    size = plan.size // parts
    split = [gradients(slice(i, i + size)) for i in range(0, plan.size, size)]
    for whole, *some in zip(gradients(slice(0, plan.size)), *split, strict=True):
        torch.testing.assert_close(torch.stack(some).mean(0), whole, rtol=1e-3, atol=1e-5)


def test_episodes_too_short_for_the_views_are_left_out() -> None:
    drawn = drawn_by(seen_hand([3, 8, 2, 6]), episodes=50)
    assert set(np.unique(drawn.rows)) == {*range(3, 11), *range(13, 19)}


def test_where_all_episodes_are_too_short_it_says_what_to_change() -> None:
    said = r"4 views of an episode, and the longest of 3 has 3 rows: .*recovery\.views"
    with pytest.raises(DatasetError, match=said):
        recovering_task(seen_hand([3, 1, 2]))


def test_episodes_that_cannot_be_shared_out_are_refused() -> None:
    task = recovering_task(training=recipe(recovery=recovering(episodes=6)))
    plan = plan_of(task)
    for part in (slice(0, 4), slice(0, 2), slice(2, 4)):
        task.load(plan, part)
    with pytest.raises(TrainingError, match=r"6 episodes .* the 4 clips are: set job\.training"):
        task.load(plan, slice(0, 1))


def test_scales_are_those_of_moves_within_episodes() -> None:
    frames = seen_hand(5, episodes=2)
    poses = frames.poses.copy()
    poses[5:, 0] += 100.0
    task = recovering_task(Frames(images=frames.images, poses=poses, offsets=frames.offsets))
    assert task.head.action_scale[0] < 0.1
    assert task.head.state_mean[0] == pytest.approx(poses[:, 0].mean(), rel=1e-5)
