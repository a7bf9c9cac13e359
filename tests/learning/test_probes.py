"""Probes read what is there, do not read what is not, and say so on rows they have not seen."""

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning import probes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(width: int, rows: int = 400) -> Tensor:
    return torch.randn(rows, width, generator=seeded(1)) * 3 + 5


@pytest.mark.parametrize("width", [5, 600], ids=["narrow", "wider than its rows"])
def test_a_ridge_reads_what_is_linear(width: int) -> None:
    features = torch.randn(400, 4, generator=seeded(2)) @ rows_of(width, rows=4)
    targets = features[:, :3] * torch.tensor([1.0, -2.0, 0.1]) + 7.0
    probe = probes.fit_ridge(features[:300], targets[:300], generator=seeded())
    error = (probe(features[300:]) - targets[300:]).abs().mean(0) / targets.std(0)
    assert (error < 0.02).all()


def test_both_gram_matrices_give_the_same_ridge() -> None:
    x, y = torch.randn(20, 20, generator=seeded(3)), torch.randn(20, 2, generator=seeded(4))
    padded = torch.cat([x, torch.zeros(20, 1)], 1)
    torch.testing.assert_close(
        probes._ridge(padded, y, 0.1)[:20], probes._ridge(x, y, 0.1), atol=1e-4, rtol=1e-4
    )


def test_a_ridge_distrusts_features_that_are_noise() -> None:
    features, targets = rows_of(300), torch.randn(400, 1, generator=seeded(5))
    probe = probes.fit_ridge(features[:200], targets[:200], generator=seeded())
    assert probe.chosen >= 10.0
    assert (probe(features[200:]) - targets[200:]).std() < 1.15 * targets[200:].std()


def test_a_network_reads_what_a_ridge_cannot() -> None:
    features = torch.randn(1200, 3, generator=seeded(6))
    targets = features[:, :1].abs()
    ridge = probes.fit_ridge(features[:900], targets[:900], generator=seeded())
    mlp = probes.fit_mlp(features[:900], targets[:900], generator=seeded(), epochs=40)
    linear, bent = (float((p(features[900:]) - targets[900:]).abs().mean()) for p in (ridge, mlp))
    assert bent < 0.5 * linear


def test_a_network_stops_once_it_no_longer_improves() -> None:
    targets = torch.randn(100, 1, generator=seeded(7))
    probe = probes.fit_mlp(rows_of(20, 100), targets, generator=seeded(), epochs=500, patience=2)
    assert probe.chosen < 100


def test_the_same_seed_gives_the_same_probe() -> None:
    features, targets = rows_of(6), rows_of(2)
    one, two = (
        probes.fit_mlp(features, targets, generator=seeded(8), epochs=2)(features) for _ in range(2)
    )
    assert torch.equal(one, two)


def test_a_constant_target_is_read_exactly() -> None:
    probe = probes.fit_ridge(rows_of(4), torch.full((400, 1), 0.25), generator=seeded())
    torch.testing.assert_close(probe(rows_of(4)), torch.full((400, 1), 0.25))


def test_one_row_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        probes.fit_ridge(torch.zeros(1, 3), torch.zeros(1, 1), generator=seeded())
