import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from vjepa_gym.datasets.video.mp4 import read_video
from vjepa_gym.experiments.pictures import GREEN, RED, beside_goal, distance_plot, write_overview
from vjepa_gym.experiments.report import results_table, show_results, write_report
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.rollout import EpisodeRecord

SIZE = 32


def episode(seed, end=0.01, *, success=None, solved=False, steps=3, frames=True):
    success = end <= 0.04 if success is None else success
    shown = np.full((steps + 1, SIZE, SIZE, 3), 40 * np.arange(steps + 1)[:, None, None, None])
    return EpisodeRecord(
        seed=seed,
        success=success,
        success_once=success,
        solved_at_start=solved,
        distances=np.linspace(0.2, end, steps + 1),
        actions=np.zeros((steps, 7), np.float32),
        seconds=np.full(steps, 0.25),
        frames=shown.astype(np.uint8) if frames else None,
        goal_images=np.full((1, SIZE, SIZE, 3), 200, np.uint8),
        goal_steps=(10,),
    )


def evaluation(**changes):
    records = {
        "planning": [episode(0), episode(1, 0.03), episode(2, 0.1), episode(3, 0.01, solved=True)],
        "hold_still": [episode(s, 0.2, frames=False) for s in range(3)]
        + [episode(3, 0.01, solved=True, frames=False)],
    }
    settings = {
        "title": "Reach",
        "records": records,
        "near_distance": 0.02,
        "thresholds": (0.04, 0.02),
        "facts": {"model": "toy", "ridge_error_mm": [1.0, 2.34567]},
        "configuration": {"job": {"episodes": 4}},
    }
    return Evaluation(**(settings | changes))


def test_the_figures_equal_those_counted_by_hand():
    first, control = evaluation().summaries()
    assert (first.agent, first.episodes, first.rejected, first.successes) == ("planning", 3, 1, 2)
    assert first.rate == pytest.approx(2 / 3)
    assert first.near == pytest.approx(1 / 3)
    assert first.median_distance == pytest.approx(0.03)
    assert first.seconds == pytest.approx(0.25)
    assert first.p_value is None
    assert (first.low, first.high) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert (control.episodes, control.successes, control.p_value) == (3, 0, 0.5)


def test_an_evaluation_in_which_nothing_was_to_be_done_is_an_error():
    solved = {"planning": [episode(0, solved=True)]}
    with pytest.raises(ValueError, match="None of the 1 episodes of 'planning'"):
        evaluation(records=solved).summaries()


def rendered(table):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_terminal_shows_a_row_an_agent_in_eighty_columns():
    text = rendered(results_table(evaluation()))
    assert re.search(r"planning +2 of 3 +21% to 94% +33% +3.0 cm +0.25", text)
    assert re.search(r"hold_still +0 of 3 +0% to 56% +0% +20.0 cm +0.25 +0.5", text)


def test_a_report_leaves_every_episode_a_table_videos_and_a_page(tmp_path):
    page = write_report(evaluation(), tmp_path, videos=2)
    assert page == tmp_path / "index.html"
    episodes = json.loads((tmp_path / "episodes.json").read_text())
    assert [e["seed"] for e in episodes["planning"]] == [0, 1, 2, 3]
    assert episodes["planning"][2]["final_distance"] == pytest.approx(0.1)
    rows = json.loads((tmp_path / "table.json").read_text())
    assert [row["agent"] for row in rows] == ["planning", "hold_still"]
    assert "2 of 3" in (tmp_path / "table.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["0.mp4", "1.mp4"]
    assert read_video(tmp_path / "overview.mp4").shape[0] == 4 + 5


def test_without_videos_there_is_still_a_page(tmp_path):
    write_report(evaluation(), tmp_path, videos=0)
    assert not (tmp_path / "videos").exists()
    assert "<video" not in (tmp_path / "index.html").read_text()


def test_the_results_name_the_video_and_the_page_by_their_full_paths(tmp_path):
    write_report(evaluation(), tmp_path, videos=1)
    console = Console(width=60, record=True, file=io.StringIO())
    show_results(console, evaluation(), tmp_path)
    lines = console.export_text().splitlines()
    assert f"Video  {tmp_path.resolve() / 'overview.mp4'}" in lines
    assert f"Page   {tmp_path.resolve() / 'index.html'}" in lines


class Tags(HTMLParser):
    """Collects every tag with its attributes, and checks that what is opened is closed."""

    VOID = ("meta", "use", "path")

    def __init__(self):
        super().__init__()
        self.tags, self._open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def close(self):
        super().close()
        assert not self._open


def page_of(shown, folder, videos=2):
    page = write_report(shown, folder, videos=videos).read_text()
    tags = Tags()
    tags.feed(page)
    tags.close()
    return page, tags.tags


def test_the_page_fetches_nothing(tmp_path):
    _, tags = page_of(evaluation(), tmp_path)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    sources = [value for _, attrs in tags for name in ("src", "href") if (value := attrs.get(name))]
    assert sum(source.startswith("data:video/mp4;base64,") for source in sources) == 2
    assert not any("//" in source and not source.startswith("data:") for source in sources)


def test_the_page_tells_what_was_measured(tmp_path):
    page, _ = page_of(evaluation(), tmp_path)
    for text in ("2 of 3", "21% to 94%", "seed 1: 20.0 to 3.0 cm", "does nothing", "episodes: 4"):
        assert text in page
    assert "1 more began at their goal" in page
    assert "ridge error mm" in page
    assert "1, 2.346" in page


def test_nothing_on_the_page_is_taken_for_markup(tmp_path):
    evil = "<script>alert('&')</script>"
    records = {evil: [episode(0)]}
    facts = {evil: {evil: [evil]}}
    shown = evaluation(title=evil, records=records, facts=facts, configuration={evil: evil})
    page, tags = page_of(shown, tmp_path)
    assert "script" not in {tag for tag, _ in tags}
    assert "&lt;script&gt;" in page


def test_a_model_of_which_nothing_is_known_says_so(tmp_path):
    page, _ = page_of(evaluation(facts={}), tmp_path)
    assert "Nothing is known about the model." in page


@pytest.mark.parametrize(("end", "colour"), [(0.01, GREEN), (0.2, RED)])
def test_an_episode_is_shown_beside_its_goal_and_framed_by_how_it_ended(end, colour):
    shown = beside_goal(episode(0, end))
    assert shown.shape[0] == 4 + 5
    assert (shown[:, :, -SIZE:] == 200).all()
    assert (shown[0, :, :SIZE] == 0).all()
    assert (shown[2, :, :SIZE] == 80).all()
    for frame in shown[4:]:
        assert tuple(frame[0, 0]) == tuple(frame[-1, SIZE - 1]) == colour
        assert (frame[SIZE // 2, SIZE // 2] == 120).all()


def test_an_episode_without_frames_cannot_be_shown():
    with pytest.raises(ValueError, match="record_frames=False"):
        beside_goal(episode(0, frames=False))


def test_the_overview_waits_for_the_longest_episode_and_fills_its_grid(tmp_path):
    write_overview(tmp_path / "all.mp4", [episode(0), episode(1, steps=5), episode(2)])
    video = read_video(tmp_path / "all.mp4")
    assert video.shape == (6 + 5, 2 * SIZE, 2 * (2 * SIZE + 6), 3)
    assert video[0, -1, -1].min() > 240, "what is left of the grid is white"


def test_the_plot_is_an_svg_that_names_every_agent_and_is_the_same_each_time():
    records = evaluation().records
    svg = distance_plot(records, (0.04,))
    assert svg.startswith("<svg")
    assert "planning" in svg
    assert "hold_still" in svg
    assert svg == distance_plot(records, (0.04,))
