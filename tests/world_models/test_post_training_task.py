"""Post-training as a task: what a batch is, and what its loss is made of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from post_training_cases import row_latents, some_model, walks

from vjepa_gym import kinematics
from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.tasks import Plan, Task, step_generator
from vjepa_gym.types import Frames
from vjepa_gym.world_models.post_training_config import PostTrainingConfig
from vjepa_gym.world_models.post_training_task import ClipPlan, PostTraining
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

ALL = slice(None)


def new_task(training: PostTrainingConfig, frames: Frames) -> PostTraining:
    task = PostTraining(frames, some_model(), training)
    task.latents = row_latents(frames)
    return task


def plan_of(task: PostTraining, step: int = 1) -> ClipPlan:
    return task.plan(step, 100, step_generator(0, step))


def batch_of(task: PostTraining, part: slice = ALL) -> dict[str, Any]:
    return task.load(plan_of(task), part)


def test_it_is_a_task_of_the_loop() -> None:
    task = new_task(PostTrainingConfig(batch_size=5), walks())
    assert isinstance(task, Task)
    assert isinstance(plan_of(task), Plan)
    assert plan_of(task).size == 5


@pytest.mark.parametrize("stride", [1, 2])
def test_a_clip_is_of_one_episode_and_its_actions_lead_from_pose_to_pose(stride: int) -> None:
    frames = walks(rows=8)
    batch = batch_of(new_task(PostTrainingConfig(batch_size=40, stride=stride), frames))
    rows = batch["latents"][:, :, 0, 0].long().numpy()
    assert rows.shape == (40, 4)
    assert (np.diff(rows) == stride).all()
    assert (rows // 8 == rows[:, :1] // 8).all()
    np.testing.assert_array_equal(batch["poses"], frames.poses[rows])
    reached = kinematics.integrate(batch["poses"][:, :-1].numpy(), batch["actions"].numpy())
    np.testing.assert_allclose(reached, batch["poses"][:, 1:], atol=1e-6)


def test_a_part_of_a_batch_is_a_part_of_what_the_whole_is() -> None:
    task = new_task(PostTrainingConfig(batch_size=6), walks())
    whole, parts = batch_of(task), [batch_of(task, slice(0, 2)), batch_of(task, slice(2, 6))]
    for name in ("latents", "poses", "actions"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    assert all(part["start"] == whole["start"] for part in parts)


def test_a_step_says_what_its_batch_is() -> None:
    task = new_task(PostTrainingConfig(batch_size=6, frames=5, random_start=True), walks())
    again, other = plan_of(task), plan_of(task, 2)
    np.testing.assert_array_equal(plan_of(task).rows, again.rows)
    assert plan_of(task).start == again.start
    assert not np.array_equal(other.rows, again.rows)


def test_a_clip_is_named_by_its_episode_and_its_first_frame() -> None:
    task = new_task(PostTrainingConfig(batch_size=2), walks())
    plan = ClipPlan(rows=np.arange(4) + np.array([[0], [13]]), start=1)
    assert task.describe(plan, ALL) == ["episode 0 from frame 0", "episode 2 from frame 1"]
    assert task.describe(plan, slice(1, 2)) == ["episode 2 from frame 1"]


def test_scales_are_of_displacements_within_episodes_only() -> None:
    frames = walks()
    # Episodes far apart: were the jumps between them counted, the scale would be metres.
    frames.poses[:, 0] += 10 * np.repeat(np.arange(6), 6)
    predictor = new_task(PostTrainingConfig(), frames).modules["predictor"]
    assert predictor.action_scale[0] < 0.1
    assert predictor.state_scale[0] > 10


def test_scales_are_of_what_happens_between_the_frames_of_a_clip() -> None:
    frames = walks()
    frames.poses[:, :6] = 0
    frames.poses[:, 0] = 0.01 * np.arange(len(frames.poses))
    for stride in (1, 3):
        training = PostTrainingConfig(frames=2, stride=stride, rollout_steps=1)
        predictor = new_task(training, frames).modules["predictor"]
        assert predictor.action_scale[0] == pytest.approx(0.01 * stride)


def test_a_trained_predictor_keeps_its_scales() -> None:
    world_model = some_model()
    world_model.predictor.state_mean.fill_(0.25)
    PostTraining(walks(), world_model, PostTrainingConfig(), fit_normalisation=False)
    assert world_model.predictor.state_mean.tolist() == [0.25] * 7
    assert world_model.predictor.action_scale.tolist() == [1.0] * 7


def test_a_random_start_leaves_room_for_the_rollout() -> None:
    task = new_task(PostTrainingConfig(frames=5, random_start=True), walks())
    assert {plan_of(task, step).start for step in range(1, 60)} == {1, 2, 3}
    task = new_task(PostTrainingConfig(frames=5, rollout_steps=3, random_start=True), walks())
    assert {plan_of(task, step).start for step in range(1, 60)} == {1, 2}
    assert {plan_of(new_task(PostTrainingConfig(), walks()), n).start for n in range(9)} == {1}


def test_the_clips_of_a_step_do_not_depend_on_whether_its_start_is_random() -> None:
    frames = walks()
    fixed, random = (
        plan_of(new_task(PostTrainingConfig(random_start=random), frames))
        for random in (False, True)
    )
    np.testing.assert_array_equal(fixed.rows, random.rows)


def test_the_loss_is_the_sum_of_both_and_only_the_predictor_learns() -> None:
    task = new_task(PostTrainingConfig(batch_size=3), walks())
    loss, metrics = task.objective(**batch_of(task))
    assert set(metrics) == {"teacher_forcing", "rollout", "persistence"}
    assert loss.item() == pytest.approx(float(metrics["teacher_forcing"] + metrics["rollout"]))
    # A row's latents are its number: from one to the next they change by one.
    assert metrics["persistence"] == 1
    assert not any(metric.requires_grad for metric in metrics.values())
    trained = [name for name, x in task.objective.named_parameters() if x.requires_grad]
    assert all(name.startswith("predictor.") for name in trained)
    assert len(trained) == len(list(task.modules["predictor"].parameters()))


def test_the_encoder_is_no_part_of_what_is_saved_or_sharded() -> None:
    task = new_task(PostTrainingConfig(), walks())
    assert set(task.modules) == {"predictor"}
    assert all(name.startswith("predictor.") for name in task.objective.state_dict())


def test_latents_encoded_online_are_those_that_are_cached_but_for_float16() -> None:
    frames, training = walks(), PostTrainingConfig(batch_size=3)
    task = PostTraining(frames, some_model(), training)
    online = batch_of(task)
    assert online["images"].shape == (3, 4, 16, 16, 3)
    encoded = task._world_model.encode(torch.from_numpy(frames.images))
    task.latents = encoded.half().numpy()
    cached = batch_of(task)
    assert "images" not in cached
    losses = [task.objective(**batch)[0] for batch in (online, cached)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-5)
    # As the encoder computes by itself, whatever the predictor is computed in.
    with torch.autocast("cpu", torch.bfloat16):
        inside = task.objective._encoded(online["images"])
    torch.testing.assert_close(inside, cached["latents"].float(), rtol=0, atol=2e-3)
    assert not inside.requires_grad


def test_a_batch_without_latents_and_images_is_refused() -> None:
    task = new_task(PostTrainingConfig(), walks())
    batch = batch_of(task)
    del batch["latents"]
    with pytest.raises(ValueError, match="latents or images"):
        task.objective(**batch)


def test_what_is_exported_is_a_whole_world_model(tmp_path: Path) -> None:
    task = new_task(PostTrainingConfig(), walks())
    weights = {"predictor": {k: x + 1 for k, x in task.modules["predictor"].state_dict().items()}}
    task.export(tmp_path, weights, 3, 9)
    again = VJEPA2AC.load(tmp_path)
    for name, x in again.predictor.state_dict().items():
        assert torch.equal(x, weights["predictor"][name]), name
    for name, x in again.encoder.state_dict().items():
        assert torch.equal(x, task._world_model.encoder.state_dict()[name]), name
    assert json.loads((tmp_path / "training.json").read_text()) == {"step": 3, "steps": 9}


def test_checkpointing_is_the_predictors() -> None:
    for wanted in (True, False):
        task = new_task(PostTrainingConfig(activation_checkpointing=wanted), walks())
        assert task.modules["predictor"].checkpointing is wanted


def test_episodes_that_are_too_short_are_refused() -> None:
    with pytest.raises(DatasetError, match="needs an episode of 16 rows"):
        new_task(PostTrainingConfig(frames=4, stride=5), walks())


def test_a_predictor_that_wants_extrinsics_is_refused() -> None:
    model = debug()
    model.ac_predictor.use_extrinsics = True
    with pytest.raises(ValueError, match="use_extrinsics=false"):
        PostTraining(walks(), some_model(model), PostTrainingConfig())
