import numpy as np
import pytest
from clip_rows import Rows, clock, settled

from vjepa_gym.datasets.sampling.clips import Clips
from vjepa_gym.errors import DatasetError


def test_frames_are_the_wanted_time_apart_on_the_true_clock():
    clips = Clips(Rows(clock(100, 15)), frames=8, fps=5.0, per_episode=None)
    assert len(clips) == 100 - 21
    for clip in clips:
        np.testing.assert_allclose(np.diff(clip.times), 0.2, atol=1e-9)
        assert np.diff(clip.rows).tolist() == [3] * 7


def test_a_rate_that_does_not_divide_the_datas_takes_the_nearest_rows():
    # The public loader would take every fourth row, 0.267 s apart, and be 0.117 s late at the end.
    clips = Clips(Rows(clock(100, 15)), frames=8, fps=4.0, per_episode=None)
    for clip in clips:
        late = clip.times - clip.times[0] - np.arange(8) / 4
        assert np.abs(late).max() <= 0.5 / 15 + 1e-9
        assert sorted(set(np.diff(clip.rows))) == [3, 4]


def test_a_jittering_clock_is_followed_within_the_tolerance():
    times = clock(300, 15, jitter=0.02)
    clips = Clips(Rows(times), frames=6, fps=5.0, per_episode=None, tolerance=0.03)
    assert 0 < len(clips) < 300 - 15
    offered = {int(clip.rows[0]): clip.rows.tolist() for clip in clips}
    for start in range(300 - 15):
        wanted = times[start] + np.arange(6) / 5
        distances = np.abs(times[:, None] - wanted)
        assert (start in offered) == (distances.min(0).max() <= 0.03)
        if start in offered:
            assert offered[start] == distances.argmin(0).tolist()


def test_a_gap_in_the_clock_is_not_spanned():
    times = np.concatenate([clock(40, 15), 10.0 + clock(40, 15)])
    clips = Clips(Rows(times), frames=4, fps=15.0, per_episode=None)
    assert len(clips) == 2 * 37
    assert all(clip.times[-1] - clip.times[0] < 0.21 for clip in clips)


def test_settled_moves_go_by_rows():
    times = settled(40)
    clips = Clips(Rows(times), frames=5, stride=2, per_episode=None)
    assert len(clips) == 40 - 8
    for start, clip in enumerate(clips):
        assert clip.rows.tolist() == [start, start + 2, start + 4, start + 6, start + 8]
        np.testing.assert_array_equal(clip.times, times[clip.rows])


def test_of_settled_moves_only_those_that_happen_to_fit_are_offered_by_time():
    times = settled(3000)
    clips = Clips(Rows(times), frames=3, fps=2.0, tolerance=0.05, per_episode=None)
    assert 0 < len(clips) < 1000
    for clip in clips:
        late = clip.times - clip.times[0] - np.arange(3) / 2
        assert np.abs(late).max() <= 0.05
        assert len(set(clip.rows)) == 3


@pytest.mark.parametrize(
    ("times", "wanted", "advice"),
    [
        (clock(60, 15), {"fps": 30.0}, r"15 rows a second .* fps=15 or less"),
        (clock(20, 15), {"fps": 4.0}, r"longest episode lasts 1\.27 s.*at most 6 frames"),
        (clock(60, 15), {"fps": 10.0, "tolerance": 0.01}, r"tolerance=0\.03\d+ would do"),
        (settled(60), {"fps": 8.0}, r"0\.16\d* to 0\.9\d* s from one to the next.*stride=1"),
        (np.zeros(1), {"fps": 4.0}, "no episode has more than one row"),
        (clock(20, 15), {"stride": 4}, "needs an episode of 29 rows; the longest has 20"),
    ],
)
def test_what_no_episode_has_is_refused_with_what_would_work(times, wanted, advice):
    with pytest.raises(DatasetError, match=advice):
        Clips(Rows(times), frames=8, **wanted)


def test_the_advice_works():
    rows = Rows(clock(60, 15))
    assert len(Clips(rows, frames=8, fps=15.0)) == 1
    with pytest.raises(DatasetError) as refused:
        Clips(rows, frames=8, fps=10.0, tolerance=0.01)
    tolerance = float(str(refused.value).partition("tolerance=")[2].split()[0])
    assert len(Clips(rows, frames=8, fps=10.0, tolerance=tolerance)) == 1


@pytest.mark.parametrize(
    "wrong",
    [{}, {"fps": 4.0, "stride": 1}, {"fps": 0.0}, {"stride": -1}, {"stride": 1, "per_episode": 0}],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match="fps"):
        Clips(Rows(clock(60, 15)), frames=8, **wrong)
