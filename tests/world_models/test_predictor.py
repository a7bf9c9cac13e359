import pytest
import torch

from vjepa_gym.learning.layers import initialise
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


@pytest.mark.parametrize(
    "changes", [{"width": 100}, {"width": 48, "heads": 12}, {"mask_tokens": 0}]
)
def test_impossible_sizes_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"heads|mask_tokens"):
        PredictorConfig(**changes)
