"""How the action-conditioned predictor is trained: what may be set, and recipes by name."""

from collections.abc import Callable
from dataclasses import dataclass

from vjepa_gym.learning.training import TrainingConfig


@dataclass(kw_only=True)
class PostTrainingConfig(TrainingConfig):
    """How the action-conditioned predictor is trained."""

    steps: int = 9000
    """Steps of the optimiser."""
    frames: int = 4
    """Frames in a clip; at least one more than the predictor's `context_frames`."""
    stride: int = 1
    """Rows of the data from one frame of a clip to the next; an action leads over as many."""
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
        if self.stride < 1:
            raise ValueError(f"stride must be positive, got {self.stride}")
        if self.loss_exponent <= 0:
            raise ValueError(f"loss_exponent must be positive, got {self.loss_exponent}")


def _debug() -> PostTrainingConfig:
    return PostTrainingConfig(steps=4, batch_size=4, checkpoint_every=2, log_every=1)


def _small() -> PostTrainingConfig:
    return PostTrainingConfig(
        steps=20_000,
        batch_size=64,
        learning_rate=4.25e-4,
        start_rate=7.5e-5 / 4.25e-4,
        frames=8,
        bfloat16=True,
        checkpoint_every=1000,
    )


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
        activation_checkpointing=True,
        checkpoint_every=1000,
    )


def _paper() -> PostTrainingConfig:
    published = _published()
    published.frames = 16
    return published


def _fine_tune_24gb() -> PostTrainingConfig:
    return PostTrainingConfig(
        steps=4000,
        batch_size=32,
        accumulate=4,
        learning_rate=1e-4,
        warmup=0.05,
        decay=0.2,
        frames=8,
        bfloat16=True,
        activation_checkpointing=True,
        checkpoint_every=500,
        keep_checkpoints=1,
    )


POST_TRAINING: dict[str, Callable[[], PostTrainingConfig]] = {
    "debug": _debug,
    "tiny": PostTrainingConfig,
    "small": _small,
    "published": _published,
    "paper": _paper,
    "fine_tune_24gb": _fine_tune_24gb,
}
"""Recipes by name: `small` is for one GPU; `published` has 8 frames, as the released configuration,
and `paper` 16, as the paper says; `fine_tune_24gb` goes on from a trained predictor, of the largest
encoder too, on one GPU of 24 GB (docs/fine_tuning.md says what it takes)."""
