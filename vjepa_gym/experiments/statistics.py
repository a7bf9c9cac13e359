"""What a handful of episodes says: intervals of rates, and comparisons on the same seeds."""

import math

import numpy as np
from jaxtyping import Bool

NORMAL_95 = 1.959963984540054
"""A standard normal lies within this many deviations with probability 0.95."""


def wilson_interval(
    successes: int, trials: int, *, deviations: float = NORMAL_95
) -> tuple[float, float]:
    """Return Wilson's interval of a rate, which stays honest for few trials and near 0 and 1.

    Wilson (1927), Probable inference, the law of succession, and statistical inference; JASA 22.

    Args:
        successes: How many trials succeeded.
        trials: How many there were; without any, the rate may be anything.
        deviations: Half width in standard deviations; 95 % by default.

    Raises:
        ValueError: There are more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials = {trials}, got {successes}")
    if trials == 0:
        return 0.0, 1.0
    rate, square = successes / trials, deviations**2
    centre = (rate + square / (2 * trials)) / (1 + square / trials)
    spread = math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    half = deviations * spread / (1 + square / trials)
    # The ends are exact where rounding would miss them by an ulp.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def mcnemar(first: Bool[np.ndarray, " episodes"], second: Bool[np.ndarray, " episodes"]) -> float:
    """Return the p value of two agents being equally good, given who succeeded on which seed.

    The exact, two-sided test of McNemar (1947): only seeds on which they differ count, and each
    of those is a fair coin if the agents are equal.
    """
    only_first = int(np.sum(first & ~second))
    differing = int(np.sum(first ^ second))
    rarer = min(only_first, differing - only_first)
    tail = sum(math.comb(differing, k) for k in range(rarer + 1)) / 2**differing
    return min(1.0, 2 * tail)
