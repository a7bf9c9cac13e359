import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from vjepa_gym.experiments.statistics import mcnemar, wilson_interval

COUNTS = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # 81 of 263: Newcombe (1998), Two-sided confidence intervals for the single proportion.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 10, 0.4902, 0.9433),
        (10, 10, 0.7225, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_intervals_equal_those_of_the_textbook(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_wilson_agrees_with_scipy(counts):
    successes, trials = counts
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(tuple(interval), abs=1e-9)


@given(COUNTS)
def test_an_interval_holds_its_rate_and_mirrors_failures(counts):
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 5)])
def test_more_successes_than_trials_make_no_sense(successes, trials):
    with pytest.raises(ValueError, match="successes must lie between"):
        wilson_interval(successes, trials)


def outcomes(both, first, second, neither):
    counts = (both, first, second, neither)
    return (
        np.repeat([True, True, False, False], counts),
        np.repeat([True, False, True, False], counts),
    )


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((5, 0, 0, 5), 1.0),
        ((0, 1, 0, 0), 1.0),
        ((0, 5, 0, 3), 0.0625),
        ((0, 0, 10, 0), 2 / 1024),
        ((10, 6, 1, 3), 0.125),
        ((0, 4, 4, 0), 1.0),
    ],
)
def test_mcnemar_equals_what_coins_say(table, p):
    first, second = outcomes(*table)
    assert mcnemar(first, second) == pytest.approx(p)


@given(st.tuples(*[st.integers(0, 30)] * 4))
def test_mcnemar_agrees_with_scipy_and_is_symmetric(table):
    first, second = outcomes(*table)
    differing = table[1] + table[2]
    expected = binomtest(table[1], differing).pvalue if differing else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)
    assert mcnemar(first, second) == pytest.approx(mcnemar(second, first))
