"""Measure what a world model must pass before anyone plans with it."""

from dataclasses import dataclass, field

from vjepa_gym.experiments.frames import open_split
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.world_models.gates import GateConfig, Gates, measure_gates
from vjepa_gym.world_models.vjepa2_ac import load_world_model


@dataclass(kw_only=True)
class GatesConfig:
    """Which model to judge, and by what."""

    model: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    data: str = "data/tabletop"
    """Folder of the dataset."""
    held_out: int = 100
    """Episodes at the end of the dataset, those that the model was not trained on."""
    seed: int = 0
    """Chooses what is judged, and the random actions that true ones are ranked among."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    gates: GateConfig = field(default_factory=GateConfig)
    """How much is measured. Gates that are not passed are said to be so, and the exit status is 0
    all the same: it says that they were measured."""


def run_gates(config: GatesConfig) -> Gates:
    """Return what was measured.

    Raises:
        CheckpointError: There is no such model.
        DatasetError: There are no such data, or too few.
    """
    world_model = load_world_model(config.model, choose_device(config.device))
    size = world_model.config.encoder.image_size
    known, frames = open_split(config.data, size=size, held_out=config.held_out)
    return measure_gates(world_model, frames, seed=config.seed, config=config.gates, known=known)
