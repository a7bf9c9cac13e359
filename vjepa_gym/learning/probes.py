"""Probes: small readers that tell what frozen features know about the world.

A ridge regression says what can be read off linearly; a small network, what is there at all. Both
choose how much to trust the features by rows held back from fitting, and are to be judged on yet
others: the rows of one episode should not be on both sides.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""Ridge penalties tried; the penalty is this times the number of rows, features being standard."""
HELD_BACK = 0.2
"""Part of the rows that a penalty or a stopping time is chosen by."""


@dataclass(frozen=True, kw_only=True)
class Standardiser:
    """Shifts and scales columns to mean 0 and deviation 1, and back.

    Attributes:
        mean: Of each column.
        scale: Deviation of each column; 1 where a column does not vary.
    """

    mean: Float[Tensor, "*columns"]
    scale: Float[Tensor, "*columns"]

    @classmethod
    def fit(cls, rows: Float[Tensor, "rows columns"]) -> "Standardiser":
        """Return the standardiser of the columns of `rows`."""
        scale = rows.std(0, correction=0)
        return cls(mean=rows.mean(0), scale=torch.where(scale > 1e-6, scale, 1.0))

    def apply(self, rows: Float[Tensor, "rows *columns"]) -> Float[Tensor, "rows *columns"]:
        """Return the rows standardised."""
        return (rows - self.mean) / self.scale

    def undo(self, rows: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        """Return standardised rows in their own units."""
        return rows * self.scale + self.mean


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Reads targets from features.

    Attributes:
        features: Standardises what is read from.
        targets: Standardises what is read.
        read: Maps the one to the other, both standardised.
        chosen: The ridge penalty, or the number of epochs, that held-back rows preferred.
    """

    features: Standardiser
    targets: Standardiser
    read: Callable[[Tensor], Tensor]
    chosen: float

    @torch.no_grad()
    def __call__(self, features: Float[Tensor, "rows *features"]) -> Float[Tensor, "rows targets"]:
        """Return what is read from `features`, in the targets' own units."""
        return self.targets.undo(self.read(self.features.apply(features)))


def fit_ridge(
    features: Float[Tensor, "rows features"],
    targets: Float[Tensor, "rows targets"],
    *,
    generator: torch.Generator,
) -> Probe:
    """Fit a linear reader with the best of `PENALTIES`, then once more on all rows."""
    scale_x, scale_y = Standardiser.fit(features), Standardiser.fit(targets)
    x, y = scale_x.apply(features), scale_y.apply(targets)
    fitted, held = _hold_back(len(x), generator)
    errors = [
        float((x[held] @ weights - y[held]).abs().mean())
        for weights in (_ridge(x[fitted], y[fitted], penalty) for penalty in PENALTIES)
    ]
    penalty = PENALTIES[errors.index(min(errors))]
    weights = _ridge(x, y, penalty)
    return Probe(
        features=scale_x, targets=scale_y, read=lambda rows: rows @ weights, chosen=penalty
    )


def fit_mlp(
    features: Float[Tensor, "rows features"],
    targets: Float[Tensor, "rows targets"],
    *,
    generator: torch.Generator,
    hidden: int = 128,
    epochs: int = 60,
    patience: int = 10,
) -> Probe:
    """Fit a reader with one hidden layer; keep the epoch that did best on held-back rows.

    Args:
        features: What is read from.
        targets: What is to be read.
        generator: Of the first weights and of the order of rows; on the CPU.
        hidden: Width of the hidden layer.
        epochs: Passes over the rows, at most.
        patience: Passes without improvement after which to stop.
    """
    scale_x, scale_y = Standardiser.fit(features), Standardiser.fit(targets)
    x, y = scale_x.apply(features), scale_y.apply(targets)
    fitted, held = _hold_back(len(x), generator)
    network = _network([x.shape[1], hidden, y.shape[1]], generator).to(x.device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    best, best_error, best_epoch = copy.deepcopy(network), float("inf"), 0
    for epoch in range(1, epochs + 1):
        for rows in fitted[torch.randperm(len(fitted), generator=generator)].split(64):
            optimiser.zero_grad()
            (network(x[rows]) - y[rows]).abs().mean().backward()
            optimiser.step()
        with torch.no_grad():
            error = float((network(x[held]) - y[held]).abs().mean())
        if error < best_error:
            best, best_error, best_epoch = copy.deepcopy(network), error, epoch
        elif epoch - best_epoch >= patience:
            break
    return Probe(features=scale_x, targets=scale_y, read=best, chosen=float(best_epoch))


def _network(widths: list[int], generator: torch.Generator) -> nn.Sequential:
    """Return linear layers of these widths with GELUs between, variance kept (LeCun)."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.normal_(linear.weight, std=fan_in**-0.5, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.GELU()]
    return nn.Sequential(*layers[:-1])


def _hold_back(
    rows: int, generator: torch.Generator
) -> tuple[Int64[Tensor, " fitted"], Int64[Tensor, " held"]]:
    """Return the indices of rows to fit on and of rows to choose by."""
    if rows < 2:
        raise ValueError(f"a probe needs at least 2 rows, got {rows}")
    order = torch.randperm(rows, generator=generator)
    held = max(1, round(HELD_BACK * rows))
    return order[held:], order[:held]


def _ridge(
    x: Float[Tensor, "rows features"], y: Float[Tensor, "rows targets"], penalty: float
) -> Float[Tensor, "features targets"]:
    """Return the ridge solution, through whichever of the two Gram matrices is smaller."""
    rows, width = x.shape
    gram = (x @ x.T if width > rows else x.T @ x).double()
    gram.diagonal().add_(penalty * rows)
    factor = torch.linalg.cholesky(gram)
    if width > rows:
        return x.T @ torch.cholesky_solve(y.double(), factor).to(x.dtype)
    return torch.cholesky_solve((x.T @ y).double(), factor).to(x.dtype)
