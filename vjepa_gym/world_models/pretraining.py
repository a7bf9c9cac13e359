"""Masked pretraining of the encoder on video, without labels (V-JEPA 2, arXiv 2506.09985)."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vjepa_gym.learning.checkpoints import (
    CONFIG_FILE,
    from_json,
    load_into,
    load_weights,
    read_json,
    save_model,
    to_json,
)
from vjepa_gym.learning.clips import clip_starts, random_crops
from vjepa_gym.learning.layers import initialise
from vjepa_gym.learning.training import LATENT_STD, OnStep, TrainingConfig, fit
from vjepa_gym.types import Frames
from vjepa_gym.world_models.encoder import VisionTransformer, normalise_tokens, take_tokens
from vjepa_gym.world_models.masking import (
    MaskConfig,
    published_masks,
    sample_masks,
    small_grid_masks,
)
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import ModelConfig

ENCODER = "encoder."
"""What the names of the encoder's weights begin with in a model folder."""


@dataclass(kw_only=True)
class PretrainingConfig(TrainingConfig):
    """How the encoder is pretrained; the masks and rates are the published ones."""

    frames: int = 16
    """Frames in a clip; a whole number of tubelets."""
    stride: int = 1
    """Rows of the data from one frame of a clip to the next."""
    masks: list[MaskConfig] = field(default_factory=published_masks)
    """Kinds of mask; every clip is predicted under each."""
    ema_start: float = 0.99925
    """Part of the target encoder that a step keeps, at first."""
    ema_end: float = 0.99925
    """The same at the last step; linear in between."""
    random_crop: bool = False
    """Whether to crop and scale clips at random. It destroys where things are in metres."""
    crop_scale: list[float] = field(default_factory=lambda: [0.3, 1.0])
    """Smallest and largest part of the frame that a crop covers."""
    crop_aspect: list[float] = field(default_factory=lambda: [0.75, 1.35])
    """Smallest and largest width of a crop over its height."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 1 or self.stride < 1 or not self.masks:
            raise ValueError("frames and stride must be positive, and there must be a mask")
        if not 0 <= self.ema_start <= 1 or not 0 <= self.ema_end <= 1:
            raise ValueError(
                f"ema_start and ema_end lie in [0, 1], got {self.ema_start}, {self.ema_end}"
            )


class MaskedPretraining:
    """Trains an encoder to make what is masked predictable from what is not.

    The targets are the tokens of a slow moving average of the encoder, normalised, which saw
    everything; the loss is their mean absolute difference from the prediction, on masked tokens.
    """

    def __init__(
        self,
        frames: Frames,
        model: ModelConfig,
        training: PretrainingConfig,
        *,
        generator: torch.Generator,
        device: torch.device | str,
    ) -> None:
        self._frames, self._model, self._training = frames, model, training
        self._starts = clip_starts(frames.offsets, training.frames, training.stride)
        self._device = torch.device(device)
        self.encoder = VisionTransformer(model.encoder)
        self.predictor = MaskedPredictor(model.predictor, model.encoder.width)
        initialise(self.encoder, generator)
        initialise(self.predictor, generator)
        self.target = deepcopy(self.encoder).requires_grad_(False)
        self.preprocessing = Preprocessing(model.preprocessing, model.encoder.image_size)
        for module in (self.encoder, self.predictor, self.target, self.preprocessing):
            module.to(self._device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Return the encoder, the predictor, and the moving average that gives the targets."""
        return {"encoder": self.encoder, "predictor": self.predictor, "target": self.target}

    def loss(
        self, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of a batch of clips, averaged over the kinds of mask."""
        video = self._video(generator)
        with torch.no_grad():
            targets = normalise_tokens(self.target(video))
        losses = [
            self._masked_loss(video, targets, index, mask, generator)
            for index, mask in enumerate(self._training.masks)
        ]
        return torch.stack(losses).mean(), {LATENT_STD: targets.std(0).mean()}

    def after_step(self, done: float) -> None:
        """Move the target encoder a little towards the encoder."""
        start, end = self._training.ema_start, self._training.ema_end
        kept = start + (end - start) * done
        with torch.no_grad():
            pairs = zip(self.target.parameters(), self.encoder.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, 1 - kept)

    def export(self, folder: Path) -> None:
        """Write the target encoder, which is what later stages use."""
        save_encoder(folder, self.target, self._model)

    def _masked_loss(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        targets: Float[Tensor, "batch tokens dim"],
        index: int,
        mask: MaskConfig,
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        encoder = self._model.encoder
        grid = (len(targets[0]) // encoder.grid_size**2, encoder.grid_size, encoder.grid_size)
        masks = sample_masks(mask, len(video), grid, generator)
        keep, masked = masks.keep.to(self._device), masks.masked.to(self._device)
        context = self.encoder(video, keep)
        predicted = self.predictor(context, keep, masked, grid=grid, mask_index=index)
        return (predicted - take_tokens(targets, masked)).abs().mean()

    def _video(self, generator: torch.Generator) -> Float[Tensor, "batch 3 frames height width"]:
        """Draw a batch of clips."""
        training = self._training
        drawn = torch.randint(len(self._starts), (training.batch_size,), generator=generator)
        rows = self._starts[drawn.numpy()][:, None] + training.stride * np.arange(training.frames)
        images = torch.from_numpy(self._frames.images[rows.ravel()]).to(self._device)
        video = self.preprocessing(images).unflatten(0, rows.shape).transpose(1, 2)
        if training.random_crop:
            return random_crops(video, training.crop_scale, training.crop_aspect, generator)
        return video


def pretrain(
    frames: Frames,
    model: ModelConfig,
    training: PretrainingConfig,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
) -> VisionTransformer:
    """Pretrain an encoder on `frames`; continue if `folder` holds a run that was stopped.

    Args:
        frames: Episodes; clips never cross from one to the next.
        model: Sizes of encoder and predictor.
        training: How to train them.
        folder: Gets the encoder (`model.safetensors`, `config.json`; also with each checkpoint),
            `losses.csv` and `checkpoints/`.
        seed: Of the weights, the clips and the masks.
        device: Where to compute.
        on_step: Told of every step.

    Returns:
        The moving average of the encoder.

    Raises:
        DatasetError: No episode is long enough for a clip.
        TrainingError: The loss is not finite, or the latents collapsed.
    """
    generator = torch.Generator().manual_seed(seed)
    task = MaskedPretraining(frames, model, training, generator=generator, device=device)
    fit(task, training, folder=folder, seed=seed, device=device, on_step=on_step)
    return task.target


def save_encoder(folder: Path, encoder: VisionTransformer, model: ModelConfig) -> None:
    """Write a model folder that holds only an encoder."""
    weights = {ENCODER + name: tensor for name, tensor in encoder.state_dict().items()}
    save_model(folder, weights=weights, config=to_json(model))


def load_encoder(
    folder: Path, device: torch.device | str = "cpu"
) -> tuple[VisionTransformer, ModelConfig]:
    """Return the encoder of a model folder, and the configuration of the whole model.

    Raises:
        CheckpointError: The folder holds no encoder, or not the one that its configuration says.
    """
    source = folder / CONFIG_FILE
    model = from_json(ModelConfig, read_json(source), source=source)
    encoder = VisionTransformer(model.encoder)
    load_into(encoder, load_weights(folder), source=folder, prefix=ENCODER)
    return encoder.to(device).eval(), model


def _tiny() -> PretrainingConfig:
    return PretrainingConfig(
        frames=4, masks=small_grid_masks(), ema_start=0.99, ema_end=0.999, steps=3000
    )


def _debug() -> PretrainingConfig:
    return PretrainingConfig(
        frames=4, masks=small_grid_masks(), steps=4, batch_size=4, checkpoint_every=2, log_every=1
    )


def _published() -> PretrainingConfig:
    return PretrainingConfig(
        steps=252_000,
        batch_size=3072,
        learning_rate=5.25e-4,
        start_rate=1e-4 / 5.25e-4,
        final_rate=1e-6 / 5.25e-4,
        warmup=12 / 252,
        decay=12 / 252,
        random_crop=True,
        bfloat16=True,
        checkpoint_every=1000,
    )


PRETRAINING: dict[str, Callable[[], PretrainingConfig]] = {
    "debug": _debug,
    "tiny": _tiny,
    "published": _published,
}
"""Recipes by name; `published` lacks the growth in frames and pixels of the last 12 k steps."""
