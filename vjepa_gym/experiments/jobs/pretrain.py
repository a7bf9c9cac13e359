"""Train an encoder on the videos of a dataset, masked; stopped and resumed at will."""

from dataclasses import dataclass, field
from pathlib import Path

from vjepa_gym.experiments.frames import open_split
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.training import OnStep
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import ModelConfig, tiny
from vjepa_gym.world_models.pretraining import PRETRAINING, PretrainingConfig, pretrain


@dataclass(kw_only=True)
class PretrainConfig:
    """What to train the encoder on, and where to keep it."""

    data: str = "data/tabletop"
    """Folder of the dataset."""
    folder: str = "runs/encoder"
    """Folder of the encoder; a training that was stopped there goes on."""
    held_out: int = 100
    """Episodes at the end of the dataset that no model is trained on."""
    seed: int = 0
    """Everything random derives from this."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    model: ModelConfig = field(default_factory=tiny)
    """Sizes; `job.model=<name>` takes a preset."""
    training: PretrainingConfig = field(default_factory=PRETRAINING["tiny"])
    """How; `job.training=<name>` takes a preset."""


def run_pretrain(config: PretrainConfig, on_step: OnStep | None = None) -> VisionTransformer:
    """Train the encoder and return it; `folder` holds it as well.

    Raises:
        DatasetError: There are no such data.
        TrainingError: The loss is not finite, or the latents collapsed.
    """
    size = config.model.encoder.image_size
    frames, _ = open_split(config.data, size=size, held_out=config.held_out)
    return pretrain(
        frames,
        config.model,
        config.training,
        folder=Path(config.folder),
        seed=config.seed,
        device=choose_device(config.device),
        on_step=on_step,
    )
