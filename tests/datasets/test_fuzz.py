"""A sample of `tests/long/test_fuzz_episodes.py`: damaged episodes are read or refused by name."""

from collections import Counter

import pytest
from fuzzing import BAD, ORIGINS, OTHER, REFUSED, SAME, fuzz, table


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return list(fuzz(tmp_path_factory.mktemp("fuzz"), seed=0, count=150))


def test_damaged_episodes_are_read_or_refused_but_never_kill_hang_or_pass(outcomes):
    bad = [one for one in outcomes if one.result in BAD]
    assert not bad, "\n".join(map(str, bad))
    assert {one.result for one in outcomes} == {REFUSED, SAME, OTHER}, table(outcomes)


def test_a_change_of_ours_is_never_read(outcomes):
    counts = Counter(one.result for one in outcomes if one.origin == ORIGINS[0])
    assert counts[OTHER] == 0
    assert counts[REFUSED] > 40


def test_nothing_wrong_is_seen_where_nothing_is(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzzing.MUTATIONS", [lambda folder, rng: "nothing"])
    assert {one.result for one in fuzz(tmp_path, seed=0, count=3)} == {SAME}
