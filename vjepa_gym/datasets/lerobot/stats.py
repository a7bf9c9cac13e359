"""Statistics of features as LeRobot keeps them, of an episode and of a dataset.

Which, their shapes, the choice of frames and pixels, and how episodes are joined follow LeRobot's
`datasets/compute_stats.py`; quantiles are exact here where it takes them from 5000 bins.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

Statistics: TypeAlias = dict[str, np.ndarray]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
LEVELS = 256


def of_rows(values: np.ndarray) -> Statistics:
    """Return the statistics of each column of `values`, which may be a single one."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    return {
        "min": columns.min(0),
        "max": columns.max(0),
        "mean": columns.mean(0),
        "std": columns.std(0),
        "count": np.array([len(columns)]),
        **{name: np.quantile(columns, share, axis=0) for name, share in QUANTILES.items()},
    }


def of_images(images: UInt8[np.ndarray, "rows height width 3"]) -> Statistics:
    """Return the statistics of each colour, from 0 to 1 and with shape (3, 1, 1), of a sample."""
    larger = max(images.shape[1:3])
    step = larger // 150 if larger >= 300 else 1
    sample = images[:, ::step, ::step][_sample(len(images))]
    # 256 levels say all there is to know of millions of pixels.
    colours = [np.bincount(sample[..., c].ravel(), minlength=LEVELS) for c in range(3)]
    each = [_of_levels(counts) for counts in colours]
    joined = {name: np.array([one[name] for one in each]).reshape(3, 1, 1) for name in each[0]}
    return {**joined, "count": np.array([len(sample)])}


def merge(one: Statistics, other: Statistics) -> Statistics:
    """Return the statistics of two sets together; quantiles are weighted means of both."""
    first, second = int(one["count"][0]), int(other["count"][0])
    share = second / (first + second)
    mean = one["mean"] + share * (other["mean"] - one["mean"])
    squares = [s["std"] ** 2 + (s["mean"] - mean) ** 2 for s in (one, other)]
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": mean,
        "std": np.sqrt((1 - share) * squares[0] + share * squares[1]),
        "count": np.array([first + second]),
        **{name: one[name] + share * (other[name] - one[name]) for name in QUANTILES},
    }


def _sample(rows: int) -> list[int]:
    """Return which of `rows` frames are looked at: all of the first hundred, then ever fewer."""
    number = max(min(100, rows), min(int(rows**0.75), 10_000))
    return np.round(np.linspace(0, rows - 1, number)).astype(int).tolist()


def _of_levels(counts: np.ndarray) -> dict[str, float]:
    """Return the statistics, divided by 255, of numbers from 0 to 255 that occur so often."""
    levels = np.arange(LEVELS) / (LEVELS - 1)
    total, there = counts.sum(), np.flatnonzero(counts)
    mean = float(counts @ levels / total)
    upto = np.cumsum(counts)
    return {
        "min": float(levels[there[0]]),
        "max": float(levels[there[-1]]),
        "mean": mean,
        "std": float(np.sqrt(counts @ (levels - mean) ** 2 / total)),
        **{
            name: float(levels[np.searchsorted(upto, share * total)])
            for name, share in QUANTILES.items()
        },
    }
