"""The figures that fall when features become alike, on matrices whose figures are known."""

import math

import pytest
import torch

from vjepa_gym.learning.collapse import effective_rank, feature_deviation


def rotated(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows seen along other axes, which changes no rank."""
    generator = torch.Generator().manual_seed(3)
    axes, _ = torch.linalg.qr(torch.randn(rows.shape[1], rows.shape[1], generator=generator))
    return rows @ axes


def both_ways(scales: list[float]) -> torch.Tensor:
    """Return rows about 0 whose singular values are in the ratio of `scales`."""
    return torch.cat([torch.diag(torch.tensor(scales)), -torch.diag(torch.tensor(scales))])


@pytest.mark.parametrize("directions", [1, 2, 7, 16])
def test_equal_directions_count_one_each(directions: int) -> None:
    rows = torch.zeros(2 * directions, 16)
    rows[:, :directions] = both_ways([2.5] * directions)
    assert float(effective_rank(rotated(rows))) == pytest.approx(directions, rel=1e-4)


def test_unequal_directions_count_by_their_entropy() -> None:
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    rank = effective_rank(rotated(both_ways([3.0, 1.0])))
    assert float(rank) == pytest.approx(math.exp(entropy), rel=1e-5)


def test_neither_scale_nor_what_all_share_changes_the_rank() -> None:
    rows = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    rank = float(effective_rank(rows))
    assert 10 < rank < 12
    assert float(effective_rank(100 * rows + 5)) == pytest.approx(rank, rel=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_features_that_are_alike_have_no_rank(rows: int) -> None:
    alike = torch.randn(1, 24, generator=torch.Generator().manual_seed(0)).expand(rows, -1)
    assert float(effective_rank(alike)) == 0
    assert float(effective_rank(alike / 3 + 0.1)) == 0


def test_no_features_have_no_rank() -> None:
    assert float(effective_rank(torch.zeros(0, 4))) == 0


def test_features_that_are_not_finite_have_no_figure_and_stop_nothing() -> None:
    assert effective_rank(torch.full((5, 4), torch.nan)).isnan()
    assert effective_rank(torch.tensor([[1.0, math.inf], [0.0, 1.0]])).isnan()


def test_of_many_features_some_are_taken() -> None:
    rows = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0))
    assert float(effective_rank(rows)) == pytest.approx(float(effective_rank(rows[:256])), abs=0.2)
    wide = torch.randn(3000, 500, generator=torch.Generator().manual_seed(0))
    assert float(effective_rank(wide, most_rows=32)) < 32


def test_a_rank_needs_no_gradient() -> None:
    rows = torch.randn(4, 3, requires_grad=True)
    assert not effective_rank(rows).requires_grad
    assert not feature_deviation(rows).requires_grad


def test_deviation_is_between_samples_not_within_them() -> None:
    within = torch.randn(1, 9, 6).expand(5, -1, -1)
    assert float(feature_deviation(within)) == pytest.approx(0, abs=1e-6)
    between = torch.tensor([-1.0, 1.0])[:, None, None].expand(2, 9, 6)
    assert float(feature_deviation(between)) == pytest.approx(math.sqrt(2))


def test_of_one_sample_no_deviation_is_known() -> None:
    assert feature_deviation(torch.randn(1, 3, 2)).isnan()
