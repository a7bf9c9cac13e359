"""An attentive probe finds the token that knows, wherever it is, and nothing where nothing is."""

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning.attentive_probe import fit_attentive


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden_in_one_token(rows: int = 2600) -> tuple[Tensor, Tensor]:
    """One of five tokens is marked, and holds the target; the others hold other numbers."""
    tokens = torch.randn(rows, 5, 16, generator=seeded(1))
    tokens[..., 0] = 0.0
    which = torch.randint(5, (rows,), generator=seeded(2))
    tokens[torch.arange(rows), which, 0] = 5.0
    return tokens, 100 + 3 * tokens[torch.arange(rows), which, 1:3]


def test_it_reads_the_token_that_knows() -> None:
    tokens, targets = hidden_in_one_token()
    probe = fit_attentive(tokens[:2300], targets[:2300], generator=seeded(), epochs=20, rate=3e-3)
    error = (probe(tokens[2300:]) - targets[2300:]).abs().mean()
    assert error < 0.4 * (targets - targets.mean(0)).abs().mean()


def test_the_order_of_tokens_does_not_matter() -> None:
    tokens, targets = hidden_in_one_token(200)
    probe = fit_attentive(tokens, targets, generator=seeded(), epochs=1)
    torch.testing.assert_close(probe(tokens.flip(1)), probe(tokens), atol=1e-4, rtol=1e-4)


def test_what_is_not_there_is_not_read() -> None:
    tokens = torch.randn(600, 3, 8, generator=seeded(3))
    targets = torch.randn(600, 1, generator=seeded(4))
    probe = fit_attentive(tokens[:400], targets[:400], generator=seeded(), epochs=3)
    left = (probe(tokens[400:]) - targets[400:]).abs().mean()
    assert left > 0.9 * targets[400:].abs().mean()


def test_the_same_seed_gives_the_same_probe() -> None:
    tokens, targets = hidden_in_one_token(150)
    one, two = (
        fit_attentive(tokens, targets, generator=seeded(5), epochs=1)(tokens) for _ in range(2)
    )
    assert torch.equal(one, two)


def test_what_cannot_be_fitted_is_said() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        fit_attentive(torch.zeros(1, 2, 8), torch.zeros(1, 1), generator=seeded())
    with pytest.raises(ValueError, match="heads must divide"):
        fit_attentive(torch.zeros(4, 2, 6), torch.zeros(4, 1), generator=seeded())
