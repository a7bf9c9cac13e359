"""Whether features still tell things apart: two figures that fall when an encoder collapses."""

import torch
from jaxtyping import Float
from torch import Tensor

ROWS = 256
"""Features that a rank is taken of: enough to see a collapse, and a matter of milliseconds."""
NOISE = 1e-6
"""Variation below this part of the largest feature is rounding."""


def feature_deviation(features: Float[Tensor, "samples *tokens dim"]) -> Float[Tensor, ""]:
    """Return how much features differ between samples: their deviation, averaged over all places.

    Of a single sample nothing can be said: the figure is NaN, which no alarm takes for a collapse.
    """
    if len(features) < 2:
        return features.new_full((), torch.nan)
    # The same as `std(0)`, in a third of its time on a CPU.
    x = features.detach()
    return ((x - x.mean(0)).square().sum(0) / (len(x) - 1)).sqrt().mean()


def effective_rank(
    features: Float[Tensor, "rows dim"], *, most_rows: int = ROWS
) -> Float[Tensor, ""]:
    """Return in how many directions features vary: 0 if they are all alike, at most `dim`.

    It is the exponential of the entropy of the singular values, divided by their sum (Roy and
    Vetterli, The Effective Rank, 2007), of the features about their mean. It costs a product and
    an eigenvalue problem of `most_rows` rows at most, on the CPU. Features that are not finite have
    no rank: the figure is NaN.

    Args:
        features: One a row, such as the tokens of a batch laid end to end.
        most_rows: If there are more, as many are taken, evenly spaced; no rank is above this.
    """
    rows = len(features)
    if rows > most_rows:
        spaced = torch.linspace(0, rows - 1, most_rows, dtype=torch.float64)
        features = features[spaced.round().long().to(features.device)]
    x = features.detach().double().cpu()
    if not len(x):
        return torch.zeros(())
    if not bool(x.isfinite().all()):
        return torch.full((), torch.nan)
    largest = x.abs().max()
    x = x - x.mean(0)
    # The eigenvalues of the smaller product are the squares of the singular values.
    product = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    values = torch.linalg.eigvalsh(product).clamp(min=0).sqrt()
    values = values[values > NOISE * largest * max(x.shape) ** 0.5]
    if not len(values):
        return torch.zeros(())
    parts = values / values.sum()
    return torch.exp(-(parts * parts.log()).sum()).float()
