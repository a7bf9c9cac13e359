import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.clips import ClipShape, ClipSpace, clip_starts


class Unread:
    """Videos of these lengths, which nobody reads."""

    def __init__(self, lengths: list[int], rates: list[float] | None = None) -> None:
        self.names = [f"film-{i}.mp4" for i in range(len(lengths))]
        self.lengths = np.array(lengths, np.int64)
        self.rates = np.array([0.0] * len(lengths) if rates is None else rates, np.float64)

    def read(self, video: int, rows: np.ndarray) -> np.ndarray:
        raise AssertionError(f"{video} was read at {rows}")


def drawn(space: ClipSpace, count: int = 3000) -> list[tuple[int, int]]:
    video, start = space.draw((count,), torch.Generator().manual_seed(0))
    return list(zip(video.tolist(), start.tolist(), strict=True))


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    frames=st.integers(1, 4),
    stride=st.integers(1, 3),
)
def test_clips_begin_wherever_they_fit_and_nowhere_else(
    lengths: list[int], frames: int, stride: int
) -> None:
    offsets = np.cumsum([0, *lengths])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    reach = (frames - 1) * stride
    fits = [
        row
        for row in range(len(episode))
        if row + reach < len(episode) and episode[row] == episode[row + reach]
    ]
    if not fits:
        with pytest.raises(DatasetError):
            clip_starts(offsets, frames, stride)
        with pytest.raises(DatasetError):
            ClipSpace(Unread(lengths), ClipShape(frames=frames, stride=stride), skip_bad=True)
        return
    assert clip_starts(offsets, frames, stride).tolist() == fits
    space = ClipSpace(Unread(lengths), ClipShape(frames=frames, stride=stride), skip_bad=True)
    assert {int(offsets[video]) + start for video, start in drawn(space)} == set(fits)


def test_a_clip_that_fits_nowhere_says_how_long_episodes_must_be() -> None:
    with pytest.raises(DatasetError, match="episode of 7 rows; the longest of 2 has 5"):
        clip_starts(np.array([0, 5, 8]), 3, 3)


def test_all_clips_have_the_same_chance() -> None:
    counts: dict[tuple[int, int], int] = {}
    for clip in drawn(ClipSpace(Unread([4, 7, 5]), ClipShape(frames=4)), 7000):
        counts[clip] = counts.get(clip, 0) + 1
    assert set(counts) == {(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)}
    assert min(counts.values()) > 850


def test_weights_are_chances_of_videos_whatever_their_length() -> None:
    weights = np.array([1.0, 0.0, 3.0])
    space = ClipSpace(Unread([4, 40, 400]), ClipShape(frames=4), weights=weights)
    clips = drawn(space, 4000)
    assert 0.2 < np.mean([video == 0 for video, _ in clips]) < 0.3
    starts = [start for video, start in clips if video == 2]
    assert {video for video, _ in clips} == {0, 2}
    assert max(starts) > 390
    assert np.mean(starts) == pytest.approx(198, abs=10)


def test_weights_of_videos_without_clips_leave_nothing() -> None:
    with pytest.raises(DatasetError, match="change the weights"):
        ClipSpace(Unread([4, 9]), ClipShape(frames=4), weights=np.zeros(2))


@pytest.mark.parametrize(
    ("rate", "rows"),
    [(30.0, [0, 8, 15, 23]), (4.0, [0, 1, 2, 3]), (2.0, [0, 1, 1, 2]), (29.97, [0, 7, 15, 22])],
)
def test_frames_are_those_nearest_in_time(rate: float, rows: list[int]) -> None:
    shape = ClipShape(frames=4, fps=4.0)
    assert shape.rows(rate).tolist() == rows
    assert shape.reach(np.array([rate])).tolist() == rows[-1:]
    space = ClipSpace(Unread([rows[-1] + 1], [rate]), shape)
    assert set(drawn(space, 20)) == {(0, 0)}
    assert space.rows(0, 0).tolist() == rows
    with pytest.raises(DatasetError):
        ClipSpace(Unread([rows[-1]], [rate]), shape)


def test_draws_are_a_function_of_the_generator_on_any_axes() -> None:
    for weights in (None, np.ones(3)):
        space = ClipSpace(Unread([9, 9, 9]), ClipShape(frames=2), weights=weights)
        one, two = (space.draw((5, 3), torch.Generator().manual_seed(1)) for _ in range(2))
        assert one[0].shape == one[1].shape == (5, 3)
        assert np.array_equal(one, two)


def test_videos_too_short_are_counted_and_some_are_named() -> None:
    short = Unread([9, 3, 2, 9, 1, 3])
    with pytest.raises(DatasetError) as refused:
        ClipSpace(short, ClipShape(frames=4, stride=2))
    assert str(refused.value) == (
        "4 of 6 videos hold no clip of 4 frames, 2 apart: film-1.mp4 (3 frames of 7), film-2.mp4"
        " (2 frames of 7), film-4.mp4 (1 frame of 7), .... Take fewer frames, or leave such videos"
        " out with job.skip_bad=true."
    )
    space = ClipSpace(short, ClipShape(frames=4, stride=2), skip_bad=True)
    assert space.left_out == ["film-1.mp4", "film-2.mp4", "film-4.mp4", "film-5.mp4"]
    assert {video for video, _ in drawn(space)} == {0, 3}


def test_where_all_are_too_short_none_can_be_left_out() -> None:
    with pytest.raises(DatasetError, match=r"2 of 2 videos .* Take fewer frames, or longer videos"):
        ClipSpace(Unread([2, 3]), ClipShape(frames=4), skip_bad=True)


def test_a_rate_is_needed_where_clips_are_so_many_frames_a_second() -> None:
    timeless = Unread([90, 90], [0.0, 25.0])
    shape = ClipShape(frames=4, fps=5.0)
    with pytest.raises(DatasetError, match=r"film-0.mp4 \(no known rate\).* use stride in place"):
        ClipSpace(timeless, shape)
    assert ClipSpace(timeless, shape, skip_bad=True).left_out == ["film-0.mp4"]
    assert ClipSpace(timeless, ClipShape(frames=1, fps=5.0)).left_out == []


def test_no_videos_are_no_data() -> None:
    with pytest.raises(DatasetError, match="There are no videos"):
        ClipSpace(Unread([]), ClipShape(frames=1), skip_bad=True)
