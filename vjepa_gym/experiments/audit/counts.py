"""Counts of values in memory that does not grow with how many there are."""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

SHOWN_BINS = 60
"""Into about how many bins `Histogram.coarse` puts what it has."""
COARSER = (1, 2, 3, 5)
"""How many squares `Places.coarse` may put together, along each axis."""
ROWS_A_SQUARE = 5
"""How many rows a visited square should have in the mean, to be more than noise."""


class Histogram:
    """Counts numbers in fine bins, so that quantiles and coarser histograms can be had later.

    Args:
        low: Where the first bin begins.
        high: Where the last one ends; what lies outside counts in the nearest bin.
        bins: How many.
    """

    def __init__(self, low: float, high: float, bins: int) -> None:
        self.edges = np.linspace(low, high, bins + 1)
        self.counts = np.zeros(bins, np.int64)
        self.total, self.lowest, self.highest = 0.0, np.inf, -np.inf

    def add(self, values: Float64[np.ndarray, " n"]) -> None:
        """Count the finite ones among `values`."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        inside = np.clip(values, self.edges[0], self.edges[-1])
        self.counts += np.histogram(inside, self.edges)[0]
        self.total += float(values.sum())
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))

    @property
    def count(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Their mean; there must be one."""
        return self.total / self.count

    def quantile(self, share: float) -> float:
        """Return where `share` of the numbers lie below: the beginning of that bin."""
        bin_ = int(np.searchsorted(np.cumsum(self.counts), share * self.count))
        return float(np.clip(self.edges[bin_], self.lowest, self.highest))

    def coarse(self, beyond: float = 0.001) -> tuple[np.ndarray, np.ndarray]:
        """Return edges and counts of about `SHOWN_BINS` bins over where the numbers are.

        Args:
            beyond: The share of numbers at each end that may count in the outermost bins instead.
        """
        cumulated = np.cumsum(self.counts)
        first = int(np.searchsorted(cumulated, beyond * self.count, side="right"))
        last = int(np.searchsorted(cumulated, (1 - beyond) * self.count))
        width = max(1, -(-(last + 1 - first) // SHOWN_BINS))
        starts = np.arange(first, last + 1, width)
        counts = np.add.reduceat(self.counts, starts)
        end = min(starts[-1] + width, len(self.counts))
        counts[-1] = self.counts[starts[-1] :].sum()
        counts[0] += self.counts[:first].sum()
        return np.append(self.edges[starts], self.edges[end]), counts

    def to_json(self) -> dict[str, Any] | None:
        """Return what is worth knowing; None if there is no number."""
        if not self.count:
            return None
        edges, counts = self.coarse(beyond=0.0)
        return {
            "count": self.count,
            "mean": self.mean,
            "lowest": self.lowest,
            "highest": self.highest,
            "quantiles": {f"{q:g}": self.quantile(q) for q in (0.01, 0.05, 0.5, 0.95, 0.99)},
            "edges": edges.tolist(),
            "counts": counts.tolist(),
        }


class Places:
    """Counts positions in the squares of two projections, from above and from the side.

    Args:
        reach: How far from the base they are counted, along each axis [m].
        side: Of a square [m].
    """

    def __init__(self, reach: float = 1.5, side: float = 0.01) -> None:
        self.reach, self.side = reach, side
        squares = round(2 * reach / side)
        self.above = np.zeros((squares, squares), np.int64)
        self.beside = np.zeros((squares, squares), np.int64)
        self.axes = [Histogram(-reach, reach, squares * 2) for _ in range(3)]

    def add(self, positions: Float64[np.ndarray, "n 3"]) -> None:
        """Count the finite ones among `positions` that are within reach [m]."""
        positions = positions[np.isfinite(positions).all(axis=1)]
        for axis, values in zip(self.axes, positions.T, strict=True):
            axis.add(values)
        near = positions[(np.abs(positions) < self.reach).all(axis=1)]
        x, y, z = ((near + self.reach) / self.side).astype(int).T
        np.add.at(self.above, (x, y), 1)
        np.add.at(self.beside, (x, z), 1)

    def coarse(self, counts: Int64[np.ndarray, "n n"]) -> tuple[Int64[np.ndarray, "m m"], float]:
        """Return counts in squares so large that a visited one has a few rows, and their side [m].

        Args:
            counts: `above` or `beside`.
        """
        sums, factor = counts, 1
        for factor in COARSER:
            squares = len(counts) // factor
            sums = counts.reshape(squares, factor, squares, factor).sum(axis=(1, 3))
            if sums.sum() >= ROWS_A_SQUARE * np.count_nonzero(sums):
                break
        return sums, self.side * factor

    def to_json(self) -> dict[str, Any] | None:
        """Return the span of each axis [m] and how much area was visited [m2]."""
        if not self.axes[0].count:
            return None
        spans = {
            name: {
                "lowest": axis.lowest,
                "highest": axis.highest,
                "quantiles": {f"{q:g}": axis.quantile(q) for q in (0.01, 0.5, 0.99)},
            }
            for name, axis in zip("xyz", self.axes, strict=True)
        }
        area = self.side**2
        visited = {
            "visited_xy_m2": int((self.above > 0).sum()) * area,
            "visited_xz_m2": int((self.beside > 0).sum()) * area,
        }
        return {**spans, **visited}
