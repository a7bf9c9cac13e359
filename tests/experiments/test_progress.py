import io

import pytest
from rich.console import Console

from vjepa_gym.experiments import progress as module
from vjepa_gym.experiments.progress import duration, progress, size


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines(console):
    return console.file.getvalue().splitlines()


@pytest.fixture
def paper():
    return Console(file=io.StringIO(), force_terminal=False, width=40)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185.0, "3:05 min"), (7.8e3, "2:10 h")],
)
def test_durations_are_said_as_people_do(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (812, "812 B"), (81_200, "81.2 kB"), (1_400_000_000, "1.4 GB")]
)
def test_sizes_are_said_as_people_do(count, said):
    assert size(count) == said


def test_without_a_terminal_there_is_a_line_now_and_then_and_one_at_the_end(clock, paper):
    with progress("train", 100, "steps", console=paper) as report:
        report(0, {})
        for done in range(1, 101):
            clock[0] += 0.5
            report(done, {"loss": 1 / done})
    said = lines(paper)
    assert said[0] == "train: 0/100"
    assert said[1] == "train: 20/100, steps 2.0/s, left 40 s, loss 0.05"
    assert said[-1] == "train: 100/100, steps 2.0/s, left 0 s, loss 0.01"
    assert len(said) == 6


def test_what_was_done_before_a_resume_does_not_count_as_fast(clock, paper):
    with progress("collect", 100, "episodes", console=paper) as report:
        report(90, {})
        clock[0] += 60
        report(91, {"size": "3 MB"})
    assert lines(paper)[-1] == "collect: 91/100, episodes 1.0/min, left 9:00 min, size 3 MB"


def test_a_terminal_gets_a_bar(clock):
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress("train", 4, "steps", console=screen) as report:
        report(0, {})
        clock[0] += 1
        report(4, {"loss": 0.25})
    shown = screen.file.getvalue()
    assert "4/4" in shown
    assert "loss 0.25" in shown


def test_a_quick_job_is_said_by_the_minute_if_asked_for(clock, paper):
    with progress("collect", 4, "episodes", each_minute=True, console=paper) as report:
        report(0, {})
        clock[0] += 1
        report(4, {"successes": "2 (50%)"})
    assert lines(paper)[-1] == "collect: 4/4, episodes 240.0/min, left 0 s, successes 2 (50%)"


def test_speed_may_be_told_in_what_a_step_consists_of(clock, paper):
    with progress("train", 4, "clips", each=64, console=paper) as report:
        report(0, {})
        clock[0] += 8
        report(4, {})
    assert lines(paper)[-1] == "train: 4/4, clips 32.0/s, left 0 s"


@pytest.mark.parametrize(("width", "last"), [(140, "d 4"), (80, "b 2"), (50, "left 0 s")])
def test_a_terminal_gets_as_many_figures_as_have_room(clock, width, last):
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    figures = {"a_long_name": 1.0, "b": 2.0, "another_long_name": 3.0, "d": 4.0}
    with progress("train", 4, "steps", console=screen) as report:
        report(0, {})
        clock[0] += 1
        report(4, figures)
    shown = lines(screen)[-2].rstrip()  # the cursor comes back after it
    assert shown.endswith(last)
    assert "…" not in shown
