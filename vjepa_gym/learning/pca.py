"""Principal components of features, as colours: what a frozen encoder tells apart, to look at.

As in DINOv2 (Oquab et al., 2023, figure 1): the first three components of the features of patches
become red, green and blue. Equal features give equal pictures: signs and order are fixed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

NOISE = 1e-10
"""Variance below this part of the features' mean square is rounding, and no component."""
TAIL = 0.02
"""Part of the values at either end of a component that are drawn in the colour of the ends."""


@dataclass(frozen=True, kw_only=True)
class PCA:
    """The directions in which features vary most.

    Attributes:
        mean: Of the features.
        components: Directions of length 1, by falling variance; the largest entry of each is
            positive. A direction in which nothing varies is 0.
        explained: The part of all variance that each explains.
    """

    mean: Float64[Tensor, " dim"]
    components: Float64[Tensor, "count dim"]
    explained: Float64[Tensor, " count"]

    def project(self, features: Float[Tensor, "*n dim"]) -> Float64[Tensor, "*n count"]:
        """Return how far features lie from the mean along each component."""
        return (features.double().cpu() - self.mean) @ self.components.T


def fit_pca(features: Float[Tensor, "rows dim"], count: int = 3) -> PCA:
    """Return the first components of features; computed in 64 bits on the CPU.

    Raises:
        ValueError: There are no features, fewer numbers in each than `count`, or some not finite.
    """
    rows, dim = features.shape
    if not rows or dim < count:
        raise ValueError(
            f"{count} components need features of at least {count} numbers, got {rows} of {dim}"
        )
    x = features.detach().double().cpu()
    if not bool(x.isfinite().all()):
        raise ValueError("the features are not finite: are the weights of the model broken?")
    mean = x.mean(0)
    size = x.square().mean()
    x = x - mean
    variances, directions = torch.linalg.eigh(x.T @ x / rows)
    variances = variances.flip(0).clamp(min=0)
    found = variances[:count] > NOISE * dim * size
    components = directions.flip(1)[:, :count].T
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    components = torch.where(found[:, None], components * largest.sign(), 0.0)
    parts = variances[:count] / variances.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return PCA(mean=mean, components=components, explained=torch.where(found, parts, 0.0))


def colour(
    features: Float[Tensor, "*n dim"], shown: Bool[Tensor, "*n"] | None = None
) -> tuple[Float32[Tensor, "*n 3"], PCA]:
    """Return features as colours in [0, 1], and the components that these are.

    Each component is stretched from its `TAIL` quantile to the one at the other end, so that a few
    odd patches do not take the colours from all others. One that does not vary is drawn as 0.5.

    Args:
        features: Of the patches of a picture or of a whole clip, which then has colours in common.
        shown: Which of them count; the others are black, and no component is fitted to them.
    """
    flat = features.flatten(0, -2)
    kept = torch.ones(len(flat), dtype=torch.bool) if shown is None else shown.flatten().cpu()
    pca = fit_pca(flat[kept.to(flat.device)])
    along = pca.project(flat)
    low, high = _quantile(along[kept], TAIL), _quantile(along[kept], 1 - TAIL)
    varies = high > low
    stretched = (along - low) / torch.where(varies, high - low, 1.0)
    colours = torch.where(varies, stretched, 0.5).clamp(0, 1)
    colours[~kept] = 0.0
    return colours.float().unflatten(0, features.shape[:-1]), pca


def foreground(features: Float[Tensor, "*n rows columns dim"]) -> Bool[Tensor, "*n rows columns"]:
    """Return which patches of a clip are not background.

    The first component parts patches in two, at the threshold that leaves the least variance on
    both sides (Otsu, 1979). The background is the side with the larger part of the pictures' rims.
    If all patches are alike, all are foreground.
    """
    along = fit_pca(features.flatten(0, -2), 1).project(features)[..., 0]
    values = along.flatten().sort().values
    if values[0] == values[-1]:
        return torch.ones_like(along, dtype=torch.bool)
    below = torch.arange(1, len(values), dtype=torch.float64)
    above = len(values) - below
    sums = values.cumsum(0)
    apart = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
    best = (below * above * apart.square()).argmax()
    high = along > (values[best] + values[best + 1]) / 2
    rim = torch.ones(along.shape[-2:], dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    return ~high if high[..., rim].double().mean() > 0.5 else high


def _quantile(columns: Float64[Tensor, "rows columns"], part: float) -> Float64[Tensor, " columns"]:
    """Return a quantile of each column; torch's own takes no more than 16 million numbers."""
    place = round(part * (len(columns) - 1))
    return columns.sort(0).values[place]
