"""Train the action-conditioned predictor on top of an encoder, then put it to the gates."""

from dataclasses import dataclass, field
from pathlib import Path

from vjepa_gym.experiments.frames import open_split
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.training import OnStep
from vjepa_gym.world_models.gates import measure_gates
from vjepa_gym.world_models.post_training import POST_TRAINING, PostTrainingConfig, post_train
from vjepa_gym.world_models.presets import ModelConfig, tiny
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


@dataclass(kw_only=True)
class TrainConfig:
    """What to train the predictor on, and where to keep the model."""

    data: str = "data/tabletop"
    """Folder of the dataset."""
    encoder: str = "runs/encoder"
    """Folder of the encoder, as `pretrain` leaves it."""
    folder: str = "runs/model"
    """Folder of the model; a training that was stopped there goes on."""
    held_out: int = 100
    """Episodes at the end of the dataset that no model is trained on."""
    seed: int = 0
    """Everything random derives from this."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    half: bool = False
    """Whether to store the weights in 16 bits, as shipped ones are."""
    model: ModelConfig = field(default_factory=tiny)
    """Sizes; `job.model=<name>` takes a preset."""
    training: PostTrainingConfig = field(default_factory=POST_TRAINING["tiny"])
    """How; `job.training=<name>` takes a preset."""


def run_train(config: TrainConfig, on_step: OnStep | None = None) -> VJEPA2AC:
    """Train the predictor, judge it on what was held out, and return the whole model.

    `folder` holds it as well, with its gates.

    Raises:
        CheckpointError: There is no such encoder, or it is of other sizes.
        DatasetError: There are no such data.
        TrainingError: The loss is not finite.
    """
    size = config.model.encoder.image_size
    frames, held_out = open_split(config.data, size=size, held_out=config.held_out)
    model = post_train(
        frames,
        Path(config.encoder),
        config.model,
        config.training,
        folder=Path(config.folder),
        seed=config.seed,
        device=choose_device(config.device),
        on_step=on_step,
    )
    model.gates = measure_gates(model, held_out, seed=config.seed, known=frames)
    model.save(Path(config.folder), half=config.half)
    return model
