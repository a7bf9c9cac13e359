"""A predictor trained on a frozen encoder of your own: `python examples/own_encoder.py`."""

from pathlib import Path

from torch import Tensor, nn

from vjepa_gym.experiments.frames import open_split
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import EncoderConfig
from vjepa_gym.world_models.gates import measure_gates
from vjepa_gym.world_models.post_training import PostTrainingConfig, train_predictor
from vjepa_gym.world_models.presets import tiny
from vjepa_gym.world_models.starting_model import StartingModel
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


class RandomFeatures(nn.Sequential):
    """Untrained convolutions: what any trained encoder has to beat."""

    config = EncoderConfig(image_size=64, patch_size=16, tubelet_size=1, width=96, heads=2)

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 48, 5, 4, 2), nn.ReLU(), nn.Conv2d(48, 96, 4, 4))

    def forward(self, input: Tensor) -> Tensor:
        """Return tokens [batch tokens width], row by row, of videos [batch 3 time h w]."""
        return super().forward(input.mean(2)).flatten(2).mT


def main(data: str = "data/tabletop", folder: str = "runs/own_encoder", steps: int = 3000) -> None:
    (sizes := tiny()).encoder = RandomFeatures.config
    model = VJEPA2AC(sizes, RandomFeatures(), ACPredictor(sizes.ac_predictor, 96))
    frames, unseen = open_split(data, size=64, held_out=2)
    start, how = StartingModel(world_model=model, trained=False), PostTrainingConfig(steps=steps)
    model = train_predictor(frames, start, how, folder=Path(folder), seed=0)
    print("percentile:", measure_gates(model, unseen, seed=0).true_action_percentile)


if __name__ == "__main__":
    main()
