from pathlib import Path

import pytest
import torch

from vjepa_gym.learning.checkpoints import from_json, to_json
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import MODELS, ACPredictorConfig, ModelConfig


def millions(name: str) -> float:
    with torch.device("meta"):
        encoder = VisionTransformer(MODELS[name]().encoder)
    return sum(weight.numel() for weight in encoder.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("debug", 0.012),
        ("tiny", 2.1),
        ("vit_b", 86),
        ("vit_l", 304),
        ("vit_h", 632),
        ("vit_g", 1012),
        ("vit_G", 1844),
    ],
)
def test_encoders_have_the_size_of_their_name(name: str, size: float) -> None:
    assert millions(name) == pytest.approx(size, rel=0.02)


def test_mlps_of_the_giants_have_whole_widths() -> None:
    giants = [MODELS[name]().encoder for name in ("vit_g", "vit_G")]
    assert [int(giant.width * giant.mlp_ratio) for giant in giants] == [6144, 8192]


@pytest.mark.parametrize("name", MODELS)
def test_presets_survive_json_and_positions_fit_the_grid(name: str) -> None:
    model = MODELS[name]()
    assert from_json(ModelConfig, to_json(model), source=Path("config.json")) == model
    assert model.ac_predictor.grid_size == model.encoder.grid_size


@pytest.mark.parametrize(
    "changes", [{"width": 100}, {"width": 96, "heads": 32}, {"context_frames": 0}]
)
def test_impossible_predictors_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"heads|context_frames"):
        ACPredictorConfig(**changes)
