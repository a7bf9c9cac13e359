"""Post-training of the action-conditioned predictor on a frozen encoder (V-JEPA 2-AC, section 3).

The loss has two terms: every frame of a clip predicted from the true ones before it, and a few
frames predicted one from the other, as in planning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn

from vjepa_gym import kinematics
from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.clips import clip_starts
from vjepa_gym.learning.layers import initialise
from vjepa_gym.learning.training import OnStep, TrainingConfig, fit
from vjepa_gym.types import Frames
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.latents import cached_latents
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.pretraining import load_encoder
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

Latents = Float[Tensor, "batch frames tokens dim"]
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From latents, poses and actions of some frames to the latents after each; see `ACPredictor`."""


@dataclass(kw_only=True)
class PostTrainingConfig(TrainingConfig):
    """How the action-conditioned predictor is trained."""

    steps: int = 9000
    """Steps of the optimiser."""
    frames: int = 4
    """Frames in a clip; at least one more than the predictor's `context_frames`."""
    rollout_steps: int = 2
    """Frames that are predicted one from the other; 1 leaves teacher forcing alone."""
    random_start: bool = False
    """Whether a rollout begins after a random number of true frames rather than after the first."""
    loss_exponent: float = 1.0
    """Power of the absolute error that is averaged; the loss is divided by it too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.rollout_steps < self.frames:
            raise ValueError(
                f"rollout_steps must lie between 1 and frames - 1 ({self.frames - 1}), got"
                f" {self.rollout_steps}"
            )
        if self.loss_exponent <= 0:
            raise ValueError(f"loss_exponent must be positive, got {self.loss_exponent}")


def roll_out(
    predict: Predict,
    latents: Latents,
    poses: Float[Tensor, "batch frames 7"],
    actions: Float[Tensor, "batch steps 7"],
    first: Float[Tensor, "batch tokens dim"],
    *,
    start: int,
    steps: int,
) -> Float[Tensor, "batch predicted tokens dim"]:
    """Return `steps` frames, each predicted from `start` true ones and the predictions so far.

    The second is predicted from `[z_0, first]`, not from the true `z_1`: an early public release
    fed the wrong latents here, and planned worse for it (facebookresearch/vjepa2, PR 25).

    Args:
        predict: Predicts the frame after each of those it is given.
        latents: True latents of the clip.
        poses: Measured poses.
        actions: What was done between the frames.
        first: What was predicted from the true frames alone.
        start: How many true frames are given.
        steps: How many are predicted, `first` included.
    """
    known = torch.cat([latents[:, :start], first[:, None]], 1)
    for count in range(start + 1, start + steps):
        following = predict(known, poses[:, :count], actions[:, :count])[:, -1:]
        known = torch.cat([known, following], 1)
    return known[:, start:]


def prediction_losses(
    predict: Predict,
    latents: Latents,
    poses: Float[Tensor, "batch frames 7"],
    actions: Float[Tensor, "batch steps 7"],
    *,
    start: int = 1,
    steps: int = 2,
    exponent: float = 1.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the loss of teacher forcing, every frame from the true ones, and that of a rollout.

    Both are mean powers of the absolute error over all their frames; see `roll_out`.
    """
    forced = predict(latents[:, :-1], poses[:, :-1], actions)
    first = forced[:, start - 1]
    rolled = roll_out(predict, latents, poses, actions, first, start=start, steps=steps)

    def distance(predicted: Latents, true: Latents) -> Float[Tensor, ""]:
        return ((predicted - true).abs() ** exponent).mean() / exponent

    return distance(forced, latents[:, 1:]), distance(rolled, latents[:, start : start + steps])


class PostTraining:
    """Trains a predictor on clips of latents that were computed once."""

    def __init__(
        self,
        frames: Frames,
        latents: Float16[np.ndarray, "rows tokens dim"],
        world_model: VJEPA2AC,
        training: PostTrainingConfig,
    ) -> None:
        self._world_model, self._training, self._latents = world_model, training, latents
        self._starts = clip_starts(frames.offsets, training.frames)
        self._poses = torch.tensor(frames.poses)
        self._actions = torch.from_numpy(kinematics.difference(frames.poses[:-1], frames.poses[1:]))
        within = np.ones(len(frames.poses), bool)
        within[frames.offsets[1:] - 1] = False
        predictor = world_model.predictor.requires_grad_(True)
        predictor.fit_normalisation(
            self._poses.to(world_model.device),
            self._actions[within[:-1]].to(world_model.device),
        )

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the predictor: the encoder is frozen."""
        return {"predictor": self._world_model.predictor}

    def loss(
        self, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the sum of the two losses on a batch of clips."""
        latents, poses, actions = self._clips(generator)
        forced, rolled = prediction_losses(
            self._world_model.predictor,
            latents,
            poses,
            actions,
            start=self._draw_start(generator),
            steps=self._training.rollout_steps,
            exponent=self._training.loss_exponent,
        )
        unchanged = (latents[:, 1:] - latents[:, :-1]).abs().mean()
        metrics = {
            "teacher_forcing": forced.detach(),
            "rollout": rolled.detach(),
            "over_persistence": forced.detach() / unchanged,
        }
        return forced + rolled, metrics

    def after_step(self, done: float) -> None:
        """Do nothing: there is no moving average."""

    def export(self, folder: Path) -> None:
        """Write the whole world model."""
        self._world_model.save(folder)

    def _clips(
        self, generator: torch.Generator
    ) -> tuple[Latents, Float[Tensor, "batch frames 7"], Float[Tensor, "batch frames_minus_one 7"]]:
        training, device = self._training, self._world_model.device
        drawn = torch.randint(len(self._starts), (training.batch_size,), generator=generator)
        rows = self._starts[drawn.numpy()][:, None] + np.arange(training.frames)
        latents = torch.from_numpy(self._latents[rows]).to(device).float()
        indices = torch.from_numpy(rows)
        return (
            latents,
            self._poses[indices].to(device),
            self._actions[indices[:, :-1]].to(device),
        )

    def _draw_start(self, generator: torch.Generator) -> int:
        """Return how many true frames a rollout is given."""
        if not self._training.random_start:
            return 1
        most = self._training.frames - self._training.rollout_steps
        return int(torch.randint(1, most + 1, (), generator=generator))


def post_train(
    frames: Frames,
    encoder_folder: Path,
    model: ModelConfig,
    training: PostTrainingConfig,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
) -> VJEPA2AC:
    """Train a predictor on top of a pretrained encoder; continue a run that was stopped.

    Args:
        frames: Episodes; an action is the displacement really achieved between two frames.
        encoder_folder: What `pretrain` wrote.
        model: Sizes of the predictor; those of the encoder must be what `encoder_folder` says.
        training: How to train.
        folder: Gets the world model (also with each checkpoint), `losses.csv`, `checkpoints/`, and
            the latents of all frames (16 bits a number).
        seed: Of the weights and the clips.
        device: Where to compute.
        on_step: Told of every step.

    Raises:
        CheckpointError: There is no such encoder in `encoder_folder`.
        ValueError: The clips are too short for the predictor's `context_frames`.
        DatasetError: No episode is long enough for a clip.
        TrainingError: The loss is not finite.
    """
    encoder, trained = load_encoder(encoder_folder, device)
    if trained.encoder != model.encoder:
        raise CheckpointError(
            f"{encoder_folder} holds another encoder than is asked for:\n  {trained.encoder}\n"
            f"  {model.encoder}"
        )
    if training.frames <= model.ac_predictor.context_frames:
        raise ValueError(
            f"clips of {training.frames} frames do not train a predictor to look back on"
            f" {model.ac_predictor.context_frames}; lengthen the clips or shorten context_frames"
        )
    predictor = ACPredictor(model.ac_predictor, model.encoder.width)
    initialise(predictor, torch.Generator().manual_seed(seed))
    world_model = VJEPA2AC(model, encoder, predictor.to(device))
    latents = cached_latents(world_model, [encoder, world_model.preprocessing], frames, folder)
    task = PostTraining(frames, latents, world_model, training)
    fit(task, training, folder=folder, seed=seed, device=device, on_step=on_step)
    predictor.requires_grad_(False)
    return world_model


def _tiny() -> PostTrainingConfig:
    return PostTrainingConfig()


def _debug() -> PostTrainingConfig:
    return PostTrainingConfig(steps=4, batch_size=4, checkpoint_every=2, log_every=1)


def _published() -> PostTrainingConfig:
    return PostTrainingConfig(
        steps=94_500,
        batch_size=256,
        learning_rate=4.25e-4,
        start_rate=7.5e-5 / 4.25e-4,
        warmup=4.5 / 94.5,
        decay=4.5 / 94.5,
        frames=8,
        bfloat16=True,
        checkpoint_every=1000,
    )


POST_TRAINING: dict[str, Callable[[], PostTrainingConfig]] = {
    "debug": _debug,
    "tiny": _tiny,
    "published": _published,
}
"""Recipes by name; `published` has 8 frames, as the released configuration (the paper says 16)."""
