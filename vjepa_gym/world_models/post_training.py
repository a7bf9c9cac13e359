"""Post-training of the action-conditioned predictor on a frozen encoder (arXiv 2506.09985)."""

from collections.abc import Mapping
from copy import deepcopy
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16
from torch import Tensor
from torch.distributed.tensor import DTensor

from vjepa_gym.learning.checkpoints import JSON, to_json
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.precision import choose_precision
from vjepa_gym.learning.settings import DATA
from vjepa_gym.learning.training import OnStep, fit
from vjepa_gym.types import Frames
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.latents import OnProgress, cached_latents
from vjepa_gym.world_models.post_training_config import POST_TRAINING, PostTrainingConfig
from vjepa_gym.world_models.post_training_task import PostTraining
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.run_facts import NONE, digest_of, facts_of_frames, model_without
from vjepa_gym.world_models.starting_model import StartingModel, starting_model
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

__all__ = ["POST_TRAINING", "Latents", "PostTrainingConfig", "post_train", "train_predictor"]

LATENTS_FOLDER = "latents"
"""Where latents are kept within the folder of a run, unless told otherwise."""


class Latents(Enum):
    """Where the latents of a batch come from."""

    cache = "cache"
    """Those of all frames are computed before the training, and kept on disk."""
    online = "online"
    """Those of a batch are computed when it is its turn: slower, and nothing is kept."""


def post_train(
    frames: Frames,
    encoder: str | Path | None,
    model: ModelConfig | None,
    training: PostTrainingConfig,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
    initial: str | Path | None = None,
    unfinished: bool = False,
) -> VJEPA2AC:
    """Train a predictor on top of a pretrained encoder; continue a run that was stopped.

    Args:
        frames: Episodes; an action is the displacement really achieved between two frames.
        encoder: See `starting_model`, as for `model`, `initial` and `unfinished`.
        model: Sizes of the predictor; those of the encoder must be what it has. None for the sizes
            that come with it.
        training: How to train.
        folder: See `train_predictor`; latents are kept in it.
        seed: Of the weights and the clips.
        device: Where to compute.
        on_step: Told of every step.
        initial: A whole world model to go on from.
        unfinished: Whether to build on a training that was broken off.

    Raises:
        CheckpointError: There is no such model, or of other sizes.
        ValueError: The clips are too short for the predictor's `context_frames`.
        DatasetError: No episode is long enough for a clip.
        TrainingError: The loss is not finite.
    """
    start = starting_model(
        encoder, model, initial=initial, seed=seed, device=device, unfinished=unfinished
    )
    return train_predictor(frames, start, training, folder=folder, seed=seed, on_step=on_step)


def train_predictor(
    frames: Frames,
    start: StartingModel,
    training: PostTrainingConfig,
    *,
    folder: Path,
    seed: int,
    latents: Latents = Latents.cache,
    latents_folder: Path | None = None,
    precision: str = "float32",
    on_step: OnStep | None = None,
    on_encoded: OnProgress | None = None,
    facts: Mapping[str, JSON] | None = None,
) -> VJEPA2AC:
    """Train the predictor of a world model; continue a run that was stopped.

    Args:
        frames: Episodes; an action is the displacement really achieved between two frames.
        start: What to begin with, on the device that is to compute.
        training: How to train.
        folder: Gets the world model (also with each checkpoint), `losses.csv` and `checkpoints/`.
        seed: Of the clips.
        latents: Whether to compute the latents of all frames beforehand.
        latents_folder: Where to keep them (16 bits a number); runs on the same encoder and frames
            share them. A folder of its own within `folder` if None.
        precision: In what the encoder computes, see `Frozen.lower`; the predictor is trained in
            what `training` says, and the world model keeps the encoder as it was.
        on_step: Told of every step.
        on_encoded: Told of the frames that are encoded beforehand.
        facts: What else the run learns from, in words, such as the episodes that are held out;
            resumed with others, the log says so.

    Returns:
        The world model, frozen.

    Raises:
        ValueError: The clips are too short for the predictor's `context_frames`.
        DatasetError: No episode is long enough for a clip, or the disk too small for the latents.
        TrainingError: The loss is not finite.
        CheckpointError: `folder` holds the training of another model, or one on top of another
            encoder.
    """
    world_model = start.world_model
    check_length(training, world_model.config)
    online = latents is Latents.online
    task = PostTraining(
        frames,
        world_model,
        training,
        fit_normalisation=not start.trained,
        encode=_encoder_in(world_model, precision).encode if online else None,
    )
    if not online:
        task.latents = frame_latents(
            world_model,
            frames,
            latents_folder or folder / LATENTS_FOLDER,
            precision=precision,
            on_encoded=on_encoded,
        )
    known = _facts(frames, start) if current_world().is_first else {}
    fit(
        task,
        training,
        folder=folder,
        seed=seed,
        device=world_model.device,
        on_step=on_step,
        facts={**known, **(facts or {})},
        identity=_identity(world_model, precision),
    )
    return _frozen(world_model)


def _facts(frames: Frames, start: StartingModel) -> dict[str, JSON]:
    """Return what the run learns from."""
    initial = digest_of(start.world_model.predictor) if start.trained else NONE
    return {DATA: facts_of_frames(frames), "initial": initial}


def _identity(world_model: VJEPA2AC, precision: str) -> dict[str, JSON]:
    """Return what the latents come from, and what the predictor makes of them."""
    return {
        "model": model_without(world_model.config, "predictor"),
        "encoder": {
            "weights": digest_of(world_model.encoder, world_model.preprocessing),
            "precision": choose_precision(precision, world_model.device),
        },
    }


def _encoder_in(world_model: VJEPA2AC, precision: str) -> VJEPA2 | VJEPA2AC:
    """Return what encodes in `precision`: a copy, since what is lowered cannot be saved."""
    if choose_precision(precision, world_model.device) == "float32":
        return world_model
    encoder = VJEPA2(world_model.config, deepcopy(world_model.encoder))
    encoder.lower(precision)
    return encoder


def frame_latents(
    world_model: VJEPA2AC,
    frames: Frames,
    folder: Path,
    *,
    precision: str = "float32",
    on_encoded: OnProgress | None = None,
) -> Float16[np.ndarray, "rows tokens dim"]:
    """Return what a world model's encoder makes of all frames, computed the first time.

    Of several processes, the first encodes.

    Args:
        world_model: Its encoder is left as it is.
        frames: What is encoded.
        folder: Keeps the latents for all that learns from the same encoder and frames.
        precision: In what the encoder computes, see `Frozen.lower`.
        on_encoded: Told of the frames that are encoded.

    Raises:
        DatasetError: There is too little room on the disk; says how much is needed.
    """
    encoder = _encoder_in(world_model, precision)
    return cached_latents(
        encoder,
        [encoder.encoder, encoder.preprocessing],
        frames,
        folder,
        facts=f"{encoder.precision} {to_json(encoder.config.encoder)}"
        f" {to_json(encoder.config.preprocessing)}",
        encodes=current_world().is_first,
        on_progress=on_encoded,
    )


def check_length(training: PostTrainingConfig, model: ModelConfig) -> None:
    """Raise `ValueError` if clips are too short for what the predictor looks back on."""
    context = model.ac_predictor.context_frames
    if training.frames <= context:
        raise ValueError(
            f"clips of {training.frames} frames do not train a predictor to look back on"
            f" {context}; set job.training.frames={context + 1} or more, or give sizes with a"
            " smaller context_frames"
        )


def _frozen(world_model: VJEPA2AC) -> VJEPA2AC:
    """Return the world model with a predictor that is whole again, if it was shared out."""
    trained = world_model.predictor
    if any(isinstance(x, DTensor) for x in trained.parameters()):
        weights = {name: _whole(x) for name, x in trained.state_dict().items()}
        predictor = ACPredictor(trained.config, world_model.config.encoder.width)
        predictor.load_state_dict(weights)
        return VJEPA2AC(world_model.config, world_model.encoder, predictor.to(world_model.device))
    trained.checkpointing = False
    trained.requires_grad_(False)
    return world_model


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
