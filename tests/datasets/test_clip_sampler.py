import json
import warnings
from itertools import islice

import pytest
from clip_rows import Rows, clock, same
from torch.utils.data import DataLoader

from vjepa_gym.datasets.sampling.clips import Clips
from vjepa_gym.datasets.sampling.sampler import ClipSampler


def test_the_sampler_shows_every_clip_once_an_epoch_in_another_order():
    sampler = ClipSampler(range(50), seed=3)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == list(range(50))
    assert sorted(second) == list(range(50, 100))
    assert [number - 50 for number in second] != first != list(range(50))
    assert list(ClipSampler(range(50), seed=3)) == first
    assert list(ClipSampler(range(50), seed=4)) != first
    assert list(ClipSampler(range(4), shuffle=False)) == [0, 1, 2, 3]


def test_processes_share_an_epoch():
    shares = [list(ClipSampler(range(50), rank=rank, world=4)) for rank in range(4)]
    assert [len(share) for share in shares] == [12] * 4
    assert len(set().union(*shares)) == 48
    samplers = [ClipSampler(range(50), rank=rank, world=4) for rank in range(4)]
    left_out = []
    for _ in range(2):
        seen = {number % 50 for sampler in samplers for number in sampler}
        left_out.append(set(range(50)) - seen)
    assert left_out[0] != left_out[1]


@pytest.mark.parametrize("wrong", [{"rank": 2, "world": 2}, {"rank": -1}, {"world": 51}])
def test_a_process_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="rank must be below world"):
        ClipSampler(range(50), **wrong)


@pytest.mark.parametrize("used", [0, 7, 25, 30])
def test_the_sampler_goes_on_where_it_was(used):
    unbroken = ClipSampler(range(25), seed=1)
    wanted = [*unbroken, *unbroken, *unbroken]
    sampler = ClipSampler(range(25), seed=1)
    begun = [*islice(sampler, used)] if used <= 25 else [*sampler, *islice(sampler, used - 25)]
    state = json.loads(json.dumps(sampler.state_dict()))
    resumed = ClipSampler(range(25), seed=1)
    resumed.load_state_dict(state)
    rest = [number for _ in range(3) for number in resumed]
    assert (begun + rest)[:75] == wanted


def test_what_workers_asked_for_ahead_does_not_count_as_used():
    rows = Rows(*(clock(40, 15, seed=seed) for seed in range(20)))
    clips = Clips(rows, frames=4, fps=5.0)

    def loader(sampler, workers):
        return DataLoader(clips, batch_size=2, sampler=sampler, num_workers=workers)  # pyright: ignore

    unbroken = list(loader(ClipSampler(clips), 0))
    sampler = ClipSampler(clips)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        begun = list(islice(loader(sampler, 2), 3))
    assert sampler.state_dict()["used"] > 6
    resumed = ClipSampler(clips)
    resumed.load_state_dict(sampler.state_dict(used=6))
    rest = list(loader(resumed, 0))
    assert len(rest) == 7
    for wanted, found in zip(unbroken, begun + rest, strict=True):
        assert same(wanted, found)


def test_a_state_of_other_clips_is_refused():
    state = ClipSampler(range(25)).state_dict()
    with pytest.raises(ValueError, match="clips=25, not 26"):
        ClipSampler(range(26)).load_state_dict(state)
    with pytest.raises(ValueError, match="seed=0, not 1"):
        ClipSampler(range(25), seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="between 0 and 25"):
        ClipSampler(range(25)).state_dict(used=26)
