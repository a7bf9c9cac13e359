from pathlib import Path
from typing import Any

import pytest
import torch

from vjepa_gym.learning.checkpoints import from_json, to_json
from vjepa_gym.learning.layers import RopeForm
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import Stem, VisionTransformer
from vjepa_gym.world_models.positions import Positions
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import MODELS, ACPredictorConfig, ModelConfig


def weights(name: str) -> list[int]:
    """Return how many weights the encoder, masked and action-conditioned predictor have."""
    model = MODELS[name]()
    width = model.encoder.width
    with torch.device("meta"):
        modules = (
            VisionTransformer(model.encoder),
            MaskedPredictor(model.predictor, width),
            ACPredictor(model.ac_predictor, width),
        )
    return [sum(weight.numel() for weight in module.parameters()) for module in modules]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("debug", 0.012),
        ("tiny", 2.1),
        ("small", 5.1),
        ("vit_b", 86),
        ("vit_l", 304),
        ("vit_h", 632),
        ("vit_g", 1012),
        ("vit_G", 1844),
        # The papers say 80 M, 300 M, 1 B and 2 B; these are what the public code gives.
        ("vit_b_21", 86.8),
        ("vit_l_21", 304.7),
        ("vit_g_21", 1013.3),
        ("vit_G_21", 1845.2),
        ("vjepa_l", 304),
        ("vjepa_h", 632),
        ("ijepa_h", 630),
    ],
)
def test_encoders_have_the_size_of_their_name(name: str, size: float) -> None:
    assert weights(name)[0] / 1e6 == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize(("name", "size"), [("vit_l", 326), ("vit_h", 654), ("vit_g", 1034.5)])
def test_encoder_and_predictor_are_as_large_as_those_on_the_hub(name: str, size: float) -> None:
    encoder, predictor, ac_predictor = weights(name)
    assert (encoder + predictor) / 1e6 == pytest.approx(size, rel=1e-3)
    assert ac_predictor / 1e6 == pytest.approx(305, rel=0.005)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_what_is_shipped_fits_into_fifteen_megabytes_of_half_precision(name: str) -> None:
    encoder, _, ac_predictor = weights(name)
    assert 2 * (encoder + ac_predictor) < 15e6


def test_tiny_128_has_as_few_tokens_as_tiny_and_looks_into_large_patches() -> None:
    encoder, predictor = MODELS["tiny_128"]().encoder, MODELS["tiny_128"]().ac_predictor
    assert (encoder.image_size, encoder.patch_size, encoder.grid_size) == (128, 32, 4)
    assert encoder.stem is Stem.hierarchical
    assert predictor.grid_size == encoder.grid_size == MODELS["tiny"]().encoder.grid_size


@pytest.mark.parametrize("name", ["vit_b_21", "vit_l_21", "vit_h_21", "vit_g_21", "vit_G_21"])
def test_v_jepa_21_has_four_depths_dense_predictions_and_images(name: str) -> None:
    model = MODELS[name]()
    assert model.encoder.levels == model.predictor.levels == len(model.encoder.level_ends) == 4
    assert model.encoder.image_tokens
    assert model.predictor.image_tokens
    assert model.predictor.dense
    # It was trained with true rotations, scaled onto the grid of 256 px.
    for part in (model.encoder, model.predictor):
        assert (part.rope, part.rope_grid) == (RopeForm.interleaved, 16)


def test_the_gigantic_encoder_takes_the_depths_of_its_public_definition() -> None:
    assert MODELS["vit_G_21"]().encoder.level_ends == [11, 23, 37, 47]
    assert MODELS["vit_g_21"]().encoder.level_ends == [9, 19, 29, 39]


@pytest.mark.parametrize("name", ["vjepa_l", "vjepa_h", "vjepa_h_384", "ijepa_h"])
def test_tables_of_predictor_and_encoder_are_of_one_grid(name: str) -> None:
    model = MODELS[name]()
    assert tuple(model.predictor.base_grid) == model.encoder.base_grid
    assert model.predictor.positions is model.encoder.positions is not Positions.rope


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
def test_impossible_predictors_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"heads|context_frames"):
        ACPredictorConfig(**changes)
