from typing import Any

import pytest
import torch
from torch import nn

from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.positions import Positions
from vjepa_gym.world_models.predictor import MaskedPredictor, PredictorConfig

GRID = (2, 2, 2)


@pytest.fixture
def predictor() -> MaskedPredictor:
    module = MaskedPredictor(PredictorConfig(width=12, depth=2, heads=2, mask_tokens=3), 8)
    initialise(module, torch.Generator().manual_seed(0))
    for index, token in enumerate(module.mask_tokens):
        token.data.fill_(index + 1.0)
    return module


@pytest.fixture
def context() -> torch.Tensor:
    return torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))


KEEP = torch.tensor([[0, 2, 7], [1, 2, 3]])
MASKED = torch.tensor([[1, 5], [0, 6]])


def test_there_is_a_prediction_for_each_masked_token(
    predictor: MaskedPredictor, context: torch.Tensor
) -> None:
    assert predictor(context, KEEP, MASKED, grid=GRID).shape == (2, 2, 8)


def test_a_prediction_belongs_to_its_position_not_its_place_in_the_list(
    predictor: MaskedPredictor, context: torch.Tensor
) -> None:
    straight = predictor(context, KEEP, MASKED, grid=GRID)
    turned = predictor(context.flip(1), KEEP.flip(1), MASKED.flip(1), grid=GRID)
    torch.testing.assert_close(turned.flip(1), straight)
    assert not torch.allclose(straight[:, 0], straight[:, 1])


def test_the_mask_token_is_chosen_by_the_kind_of_mask(
    predictor: MaskedPredictor, context: torch.Tensor
) -> None:
    outputs = [predictor(context, KEEP, MASKED, grid=GRID, mask_index=i) for i in range(4)]
    assert not torch.allclose(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[3])


def test_mask_tokens_start_at_zero_and_there_are_ten() -> None:
    module = MaskedPredictor(PredictorConfig(width=12, depth=1, heads=2), 8)
    assert len(module.mask_tokens) == 10
    assert not any(token.any() for token in module.mask_tokens)


def test_the_published_predictor_has_22_million_weights() -> None:
    with torch.device("meta"):
        module = MaskedPredictor(PredictorConfig(), 1024)
    assert sum(weight.numel() for weight in module.parameters()) == pytest.approx(22e6, rel=0.02)


def dense_predictor(**changes: Any) -> MaskedPredictor:
    config = PredictorConfig(width=12, depth=2, heads=2, dense=True, **changes)
    module = MaskedPredictor(config, 8)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        nn.init.uniform_(weight, -0.5, 0.5, generator=generator)
    return module


def test_several_depths_are_fused_and_predicted_for_visible_tokens_too(
    context: torch.Tensor,
) -> None:
    module = dense_predictor(levels=3)
    deep = torch.cat([context, 2 * context, context - 1], -1)
    masked, visible = module.dense(deep, KEEP, MASKED, grid=GRID)
    assert masked.shape == (2, 2, 24)
    assert visible.shape == (2, 3, 24)
    assert torch.equal(module(deep, KEEP, MASKED, grid=GRID), masked)
    turned = module.dense(deep.flip(1), KEEP.flip(1), MASKED, grid=GRID)
    torch.testing.assert_close(turned[1].flip(1), visible)


def test_a_predictor_of_masked_tokens_has_no_other_predictions(
    predictor: MaskedPredictor, context: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match="set `dense` to true"):
        predictor.dense(context, KEEP, MASKED, grid=GRID)


def test_targets_may_be_of_another_width(context: torch.Tensor) -> None:
    masked, visible = dense_predictor(target_width=5).dense(context, KEEP, MASKED, grid=GRID)
    assert masked.shape[-1] == visible.shape[-1] == 5


def test_images_and_videos_are_told_apart_only_with_tokens_for_it(context: torch.Tensor) -> None:
    for told in (True, False):
        module = dense_predictor(image_tokens=told)
        image = module(context, KEEP, MASKED, grid=GRID, image=True)
        video = module(context, KEEP, MASKED, grid=GRID)
        assert torch.equal(image, video) is not told


@pytest.mark.parametrize("positions", Positions)
def test_predictions_depend_on_positions_on_any_grid(
    positions: Positions, context: torch.Tensor
) -> None:
    module = dense_predictor(positions=positions, base_grid=[2, 4, 4])
    two = [module(context, KEEP, MASKED, grid=grid) for grid in [(1, 2, 4), (1, 4, 2)]]
    assert not torch.allclose(*two)


def test_gradients_are_the_same_with_checkpointing(context: torch.Tensor) -> None:
    module, gradients = dense_predictor(), []
    for module.checkpointing in (False, True):
        masked, visible = module.dense(context, KEEP, MASKED, grid=GRID)
        loss = masked.square().sum() + visible.square().sum()
        used = [module.mask_tokens[0], *module.predictor_blocks.parameters()]
        gradients.append(torch.autograd.grad(loss, used))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 100},
        {"width": 48, "heads": 12},
        {"mask_tokens": 0},
        {"levels": 0},
        {"target_width": -1},
        {"base_grid": [8, 14]},
        {"base_grid": [8, 0, 14]},
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"heads|mask_tokens|levels|target_width|base_grid"):
        PredictorConfig(**changes)
