import numpy as np
import pytest

from vjepa_gym.agents.base import current_view
from vjepa_gym.agents.switching import Switching, Views


def walk(views, energies, steps):
    """Return which view each robot is at, and its energy, over some steps.

    `energies(step)` gives the energy of each robot [n views].
    """
    seen = []
    for step in range(steps):
        table = np.asarray(energies(step), float)
        energy = views.advance(lambda current: table[np.arange(len(current)), current])  # noqa: B023
        seen.append((views.current.tolist(), energy.tolist(), views.left.tolist()))
        views.step()
    return seen


def ones(n, views):
    return lambda step: np.ones((n, views))


def test_by_count_views_change_as_in_the_paper():
    views = Views(Switching(), (4, 10, 4), 1)
    seen = [current for (current,), _, _ in walk(views, ones(1, 3), 30)]
    assert seen == current_view((4, 10, 4), np.arange(30)).tolist()


def test_the_steps_left_are_those_of_the_view_and_never_none():
    views = Views(Switching(), (2, 3), 1)
    left = [left for _, _, (left,) in walk(views, ones(1, 2), 7)]
    assert left == [2, 1, 3, 2, 1, 1, 1]


def test_robots_that_begin_anew_begin_with_the_first_view_beside_others():
    views = Views(Switching(), (2, 5), 2)
    walk(views, ones(2, 2), 3)
    views.begin(np.array([False, True]))
    seen = [current for current, _, _ in walk(views, ones(2, 2), 3)]
    assert seen == [[1, 0], [1, 0], [1, 1]]


def test_by_energy_a_view_is_done_when_a_part_of_its_first_energy_is_left():
    falling = [[8.0, 50.0], [5.0, 40.0], [4.1, 30.0], [4.0, 20.0], [3.0, 11.0], [2.0, 1.0]]
    views = Views(Switching(by="energy", below=0.5), (10, 10), 1)
    seen = walk(views, lambda step: [falling[step]], 6)
    assert [current for (current,), _, _ in seen] == [0, 0, 0, 1, 1, 1]
    # From the step on at which it goes on, the energy is that to the next view.
    assert [energy for _, (energy,), _ in seen] == [8.0, 5.0, 4.1, 20.0, 11.0, 1.0]


def test_by_energy_each_robot_goes_on_by_itself_and_one_view_a_step():
    def energies(step):
        return [[1.0, 1.0, 1.0], [0.5**step, 0.5**step, 1.0]]

    views = Views(Switching(by="energy", below=0.6), (5, 5, 5), 2)
    seen = [current for current, _, _ in walk(views, energies, 5)]
    assert seen == [[0, 0], [0, 1], [0, 2], [0, 2], [0, 2]]


@pytest.mark.parametrize(("patience", "late"), [(1.0, 4), (1.5, 6), (0.4, 2)])
def test_by_energy_a_view_never_takes_longer_than_patience_allows(patience, late):
    views = Views(Switching(by="energy", below=0.1, patience=patience), (4, 3), 1)
    seen = [current for (current,), _, _ in walk(views, ones(1, 2), 8)]
    assert seen.index(1) == late


def test_a_view_that_is_true_at_first_is_left_after_a_step():
    views = Views(Switching(by="energy"), (4, 3), 1)
    seen = walk(views, lambda step: [[0.0, 1.0]], 3)
    assert [current for (current,), _, _ in seen] == [0, 1, 1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("by", "mood"), ("below", 0.0), ("below", 1.0), ("patience", 0.0), ("patience", float("inf"))],
)
def test_a_senseless_rule_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        Switching(**{field: value})
