"""Masked pretraining of an encoder on video and images, without labels: the V-JEPA family.

V-JEPA 2 (arXiv 2506.09985), V-JEPA 2.1 (arXiv 2603.14482), V-JEPA (arXiv 2404.08471) and I-JEPA
(arXiv 2301.08243) are recipes of the same task; `pretraining_presets.PRETRAINING` has them.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from vjepa_gym.learning.checkpoints import (
    CONFIG_FILE,
    JSON,
    from_json,
    load_into,
    load_weights,
    read_json,
    save_model,
    to_json,
)
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.settings import DATA
from vjepa_gym.learning.tasks import Task
from vjepa_gym.learning.training import OnStep, fit
from vjepa_gym.types import Frames, Videos
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.pretraining_config import PretrainingConfig
from vjepa_gym.world_models.pretraining_task import ENCODER, MaskedPretraining
from vjepa_gym.world_models.recovery_task import RecoveringPretraining
from vjepa_gym.world_models.run_facts import (
    NONE,
    digest_of,
    facts_of_frames,
    facts_of_videos,
    facts_of_weights,
    model_without,
)
from vjepa_gym.world_models.vjepa2 import VJEPA2

logger = logging.getLogger(__name__)


def pretrain(
    videos: Videos,
    model: ModelConfig,
    training: PretrainingConfig,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
    images: Videos | None = None,
    weights: Float64[np.ndarray, " videos"] | None = None,
    initial: VJEPA2 | None = None,
    skip_bad: bool = False,
    facts: Mapping[str, JSON] | None = None,
    episodes: Frames | None = None,
) -> VisionTransformer:
    """Pretrain an encoder; continue if `folder` holds a run that was stopped.

    Args:
        videos: What clips are cut from; none crosses from one to the next.
        model: Sizes of encoder and predictor.
        training: How to train them.
        folder: Gets the encoder and the predictor (`model.safetensors`, `config.json`; also with
            each checkpoint), `training.json`, `losses.csv` and `checkpoints/`.
        seed: Of the weights, the clips and the masks.
        device: Where to compute.
        on_step: Told of every step.
        images: Still images, part of each batch.
        weights: Chances of each video; all clips have the same if None.
        initial: A model of these sizes to start from.
        skip_bad: Whether to leave out videos that are too short, and to take others in place of
            clips that cannot be read.
        facts: What else the run learns from, in words, such as the episodes that are held out;
            resumed with others, the log says so.
        episodes: Frames with poses, for a recipe with recovery (`training.recovery`).

    Returns:
        The moving average of the encoder.

    Raises:
        ValueError: The recipe needs episodes, and there are none.
        DatasetError: Videos are too short or cannot be read, and are not to be left out.
        TrainingError: The loss is not finite, or the latents collapsed.
        CheckpointError: `folder` holds the training of a model of another configuration.
    """
    started = NONE if initial is None else digest_of(initial)
    generator = torch.Generator().manual_seed(seed)
    masked = MaskedPretraining(
        videos,
        model,
        training,
        generator=generator,
        device=device,
        images=images,
        weights=weights,
        initial=initial,
        skip_bad=skip_bad,
    )
    known = _facts(videos, images, weights) if current_world().is_first else {}
    if known and training.recovery.weight and episodes is not None:
        known["episodes"] = facts_of_frames(episodes)
    fit(
        _with_recovery(masked, model, training, episodes, generator, device),
        training,
        folder=folder,
        seed=seed,
        device=device,
        on_step=on_step,
        facts={**known, "initial": started, **(facts or {})},
        identity={"model": model_without(model, "ac_predictor")},
    )
    if masked.unreadable:
        logger.warning("%d videos could not be read and were replaced.", len(masked.unreadable))
    return masked.target


def _with_recovery(
    masked: MaskedPretraining,
    model: ModelConfig,
    training: PretrainingConfig,
    episodes: Frames | None,
    generator: torch.Generator,
    device: torch.device | str,
) -> Task:
    """Return the task as it is, or with recovery beside it if the recipe has that."""
    if not training.recovery.weight:
        return masked
    if episodes is None:
        raise ValueError("training.recovery needs episodes with poses: pass episodes=...")
    return RecoveringPretraining(
        masked,
        episodes,
        model,
        training.recovery,
        jitter=training.jitter,
        generator=generator,
        device=device,
    )


def _facts(
    videos: Videos, images: Videos | None, weights: Float64[np.ndarray, " videos"] | None
) -> dict[str, JSON]:
    """Return what clips are drawn from, and how often."""
    return {
        DATA: facts_of_videos(videos),
        "images": NONE if images is None else facts_of_videos(images),
        "weights": facts_of_weights(weights),
    }


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
