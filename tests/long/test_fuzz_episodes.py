"""Thousands of damaged episodes: each is read, or refused with a reason."""

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))

from fuzzing import BAD, ORIGINS, OTHER, fuzz, table

COUNT = 2000


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_episodes_are_read_or_refused_but_never_kill_hang_or_pass(tmp_path, seed):
    outcomes = list(fuzz(tmp_path, seed=seed, count=COUNT))
    print(f"\nseed {seed}, {COUNT} damaged episodes\n{table(outcomes)}")
    bad = [one for one in outcomes if one.result in BAD]
    assert not bad, "\n".join(map(str, bad))
    counts = Counter(one.result for one in outcomes if one.origin == ORIGINS[0])
    assert counts[OTHER] == 0
