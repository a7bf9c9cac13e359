"""Post-training: the losses by hand, clips that stay in their episode, a resume that is exact."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Frames
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.post_training import (
    POST_TRAINING,
    PostTraining,
    PostTrainingConfig,
    post_train,
    prediction_losses,
    roll_out,
)
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.pretraining import save_encoder
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

TRUE = torch.tensor([1.0, 5.0, 11.0, 20.0]).reshape(1, 4, 1, 1)
POSES = torch.zeros(1, 4, 7)
ACTIONS = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1).expand(1, 3, 7)


def double_and_add(latents: Tensor, poses: Tensor, actions: Tensor) -> Tensor:
    """Predict twice the latest frame, plus the action, plus the frame before if there is one."""
    assert latents.shape[1] == poses.shape[1] == actions.shape[1]
    before = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], 1)
    return 2 * latents + actions[..., :1, None] + before


def test_a_rollout_is_fed_the_first_frame_and_its_own_predictions() -> None:
    # First 2*1+1 = 3; then from [1, 3]: 2*3+2+1 = 9; then from [1, 3, 9]: 2*9+3+3 = 24.
    # The defect of the early release, the true 5 in place of the 3, would give 13.
    first = double_and_add(TRUE[:, :1], POSES[:, :1], ACTIONS[:, :1])[:, 0]
    rolled = roll_out(double_and_add, TRUE, POSES, ACTIONS, first, start=1, steps=3)
    assert rolled.flatten().tolist() == [3.0, 9.0, 24.0]


def test_a_rollout_may_start_after_more_true_frames() -> None:
    # From [1, 5]: 2*5+2+1 = 13; then from [1, 5, 13]: 2*13+3+5 = 34.
    first = double_and_add(TRUE[:, :2], POSES[:, :2], ACTIONS[:, :2])[:, -1]
    rolled = roll_out(double_and_add, TRUE, POSES, ACTIONS, first, start=2, steps=2)
    assert rolled.flatten().tolist() == [13.0, 34.0]


def test_both_losses_are_those_worked_by_hand() -> None:
    # Teacher forcing: 3, 13, 2*11+3+5 = 30 against 5, 11, 20: errors 2, 2, 10.
    # Rollout of two: 3, 9 against 5, 11: errors 2, 2.
    forced, rolled = prediction_losses(double_and_add, TRUE, POSES, ACTIONS)
    assert forced.item() == pytest.approx((2 + 2 + 10) / 3)
    assert rolled.item() == pytest.approx((2 + 2) / 2)


def test_the_exponent_is_that_of_the_error() -> None:
    forced, rolled = prediction_losses(double_and_add, TRUE, POSES, ACTIONS, steps=1, exponent=2.0)
    assert forced.item() == pytest.approx((4 + 4 + 100) / 3 / 2)
    assert rolled.item() == pytest.approx(4 / 2)


def walks(episodes: int = 6, rows: int = 6) -> Frames:
    rng = np.random.default_rng(0)
    poses = rng.uniform(-0.1, 0.1, (episodes * rows, 7)).astype(np.float32).cumsum(0) / 5
    poses[:, 6] = 0.5
    images = rng.integers(0, 256, (len(poses), 16, 16, 3), np.uint8)
    return Frames(images=images, poses=poses, offsets=np.arange(0, len(poses) + 1, rows))


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    encoder = VisionTransformer(debug().encoder)
    initialise(encoder, torch.Generator().manual_seed(0))
    save_encoder(tmp_path / "encoder", encoder, debug())
    return tmp_path / "encoder"


def new_task(training: PostTrainingConfig, frames: Frames) -> PostTraining:
    """A task whose latents tell the row that they are of."""
    model = debug()
    predictor = ACPredictor(model.ac_predictor, model.encoder.width)
    world_model = VJEPA2AC(model, VisionTransformer(model.encoder), predictor)
    rows = np.arange(len(frames.poses), dtype=np.float16)
    latents = np.broadcast_to(rows[:, None, None], (len(rows), 16, 24))
    return PostTraining(frames, latents, world_model, training)


def test_a_clip_is_of_one_episode_and_its_actions_lead_from_pose_to_pose() -> None:
    frames = walks()
    task = new_task(PostTrainingConfig(batch_size=40), frames)
    latents, poses, actions = task._clips(torch.Generator().manual_seed(0))
    rows = latents[:, :, 0, 0].long().numpy()
    assert (np.diff(rows) == 1).all()
    assert (rows // 6 == rows[:, :1] // 6).all()
    np.testing.assert_array_equal(poses, frames.poses[rows])
    reached = kinematics.integrate(poses[:, :-1].numpy(), actions.numpy())
    np.testing.assert_allclose(reached, poses[:, 1:], atol=1e-6)


def test_scales_are_of_displacements_within_episodes_only() -> None:
    frames = walks()
    # Episodes far apart: were the jumps between them counted, the scale would be metres.
    frames.poses[:, 0] += 10 * np.repeat(np.arange(6), 6)
    task = new_task(PostTrainingConfig(), frames)
    assert task._world_model.predictor.action_scale[0] < 0.1
    assert task._world_model.predictor.state_scale[0] > 10


def test_a_random_start_leaves_room_for_the_rollout() -> None:
    task = new_task(PostTrainingConfig(frames=5, random_start=True), walks())
    generator = torch.Generator().manual_seed(0)
    assert {task._draw_start(generator) for _ in range(60)} == {1, 2, 3}
    assert new_task(PostTrainingConfig(), walks())._draw_start(generator) == 1


def test_training_lowers_the_loss_and_leaves_a_world_model(
    encoder_folder: Path, tmp_path: Path
) -> None:
    losses: list[float] = []
    training = PostTrainingConfig(steps=40, batch_size=8, learning_rate=1e-2)
    trained = post_train(
        walks(),
        encoder_folder,
        debug(),
        training,
        folder=tmp_path / "run",
        seed=0,
        on_step=lambda _step, _steps, metrics: losses.append(metrics["loss"]),
    )
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    assert not any(parameter.requires_grad for parameter in trained.parameters())
    again = VJEPA2AC.load(tmp_path / "run")
    for name, x in trained.state_dict().items():
        assert torch.equal(again.state_dict()[name], x), name


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    encoder_folder: Path, tmp_path: Path
) -> None:
    def train(folder: Path, stop: int | None = None) -> dict[str, Tensor]:
        def on_step(step: int, _steps: int, _metrics: dict[str, float]) -> None:
            if step == stop:
                raise KeyboardInterrupt

        training = POST_TRAINING["debug"]()
        frames, model = walks(), debug()
        return post_train(
            frames, encoder_folder, model, training, folder=folder, seed=1, on_step=on_step
        ).state_dict()

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", stop=3)
    resumed = train(tmp_path / "stopped")
    assert all(torch.equal(resumed[name], x) for name, x in whole.items())


def test_another_encoder_than_asked_for_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    other = debug()
    other.encoder.depth += 1
    with pytest.raises(CheckpointError, match="another encoder than is asked for"):
        post_train(
            walks(), encoder_folder, other, POST_TRAINING["debug"](), folder=tmp_path, seed=0
        )


def test_clips_too_short_for_the_context_are_refused(encoder_folder: Path, tmp_path: Path) -> None:
    training = PostTrainingConfig(frames=3)
    with pytest.raises(ValueError, match="clips of 3 frames"):
        post_train(walks(), encoder_folder, debug(), training, folder=tmp_path, seed=0)


@pytest.mark.parametrize(
    "wrong", [{"rollout_steps": 4}, {"rollout_steps": 0}, {"loss_exponent": 0.0}]
)
def test_a_loss_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        PostTrainingConfig(**wrong)


@pytest.mark.parametrize("name", list(POST_TRAINING))
def test_every_recipe_is_valid(name: str) -> None:
    assert POST_TRAINING[name]().rollout_steps == 2


def test_the_published_rates_are_those_of_the_paper() -> None:
    published = POST_TRAINING["published"]()
    rates = [published.rate_at(step / 94_500) for step in (0, 4_500, 90_000, 94_500)]
    assert rates == pytest.approx([7.5e-5, 4.25e-4, 4.25e-4, 0.0], abs=1e-12)
