"""The picture of a training's curves, from whatever its losses.csv says."""

import io
import math

import imageio.v3 as iio
import numpy as np
import pytest

from vjepa_gym.experiments.seeing import curves as module
from vjepa_gym.experiments.seeing.curves import (
    CURVES,
    Curves,
    draw_curves,
    plot_curves,
    read_losses,
    smoothed,
)
from vjepa_gym.learning.training import TrainingConfig

TRAINING = TrainingConfig(steps=40, learning_rate=0.5, checkpoint_every=5, log_every=1)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def losses(folder, text):
    (folder / "losses.csv").write_text(text)
    return read_losses(folder / "losses.csv")


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}


@pytest.mark.parametrize(
    "text",
    [
        "step,loss\n1,0.5\n",
        "step,loss,latent_std,latent_rank,over_persistence\n1,0.5,0.3,8,1.2\n",
        "step,latent_std\n1,0.5\n2,0.4\n",
        "step,loss,latent_std\n1,0.5,\n2,,nan\n3,inf,0.2\n",
        "step,loss,latent_std\n1,0.5,0.4\n2,0.4,0.4\n3,0.",
        "step,loss\n1,0\n2,0\n",
        "step\n4\n",
    ],
)
def test_a_picture_is_drawn_of_whatever_is_known(tmp_path, text):
    losses(tmp_path, text)
    draw_curves(tmp_path, TRAINING)
    image = iio.imread(tmp_path / CURVES)
    assert image.shape[1] > 1000
    assert np.ptp(image[..., :3]) > 100


@pytest.mark.parametrize("text", ["", "step,loss\n", "loss\n3\n", "step,loss\nx,3\n"])
def test_of_no_rows_there_is_no_picture(tmp_path, text):
    losses(tmp_path, text)
    draw_curves(tmp_path, TRAINING)
    assert not (tmp_path / CURVES).exists()


def test_without_losses_there_is_no_picture(tmp_path):
    draw_curves(tmp_path, TRAINING)
    assert list(tmp_path.iterdir()) == []


def test_missing_numbers_are_gaps_and_broken_rows_are_left_out(tmp_path):
    found = losses(tmp_path, "step,loss,rank\n1,0.5,\n2,0.25,7\n3\n,0.1,2\n")
    assert found["step"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found["loss"], [0.5, 0.25, math.nan])
    np.testing.assert_array_equal(found["rank"], [math.nan, 7, math.nan])


def test_there_is_a_panel_for_each_metric_the_known_ones_first(tmp_path):
    names = "step,rollout,over_persistence,latent_std,loss,latent_rank"
    found = losses(tmp_path, f"{names}\n1,1,1,1,1,1\n2,2,2,2,2,2\n")
    assert list(panels(plot_curves(found, TRAINING))) == [
        "loss",
        "learning rate",
        "feature deviation between samples",
        "effective rank of features",
        "prediction error over that of no change",
        "rollout",
    ]


def test_the_learning_rate_is_that_of_the_schedule_unless_it_was_logged(tmp_path):
    found = losses(tmp_path, "step,loss\n1,1\n20,1\n40,1\n")
    (line,) = panels(plot_curves(found, TRAINING))["learning rate"].lines
    assert line.get_ydata().tolist() == pytest.approx([0.25, 0.5, 0.0])
    found = losses(tmp_path, "step,learning_rate\n1,7\n")
    (line,) = panels(plot_curves(found, TRAINING))["learning rate"].lines
    assert line.get_ydata().tolist() == [7]


def test_the_curve_lies_smoothed_over_what_was_measured(tmp_path):
    rows = "".join(f"{i},{i % 2}\n" for i in range(1, 301))
    found = losses(tmp_path, f"step,loss\n{rows}")
    raw, smooth = panels(plot_curves(found, TRAINING))["loss"].lines
    assert np.std(raw.get_ydata()) == pytest.approx(0.5)
    assert np.std(smooth.get_ydata()[10:-10]) < 0.06


def test_the_line_under_which_features_are_collapsed_is_drawn(tmp_path):
    found = losses(tmp_path, "step,latent_std,over_persistence\n1,0.3,0.7\n2,0.2,0.6\n")
    drawn = panels(plot_curves(found, TrainingConfig(collapse_below=0.125)))
    deviation = drawn["feature deviation between samples"]
    assert [line.get_ydata()[0] for line in deviation.lines[2:]] == [0.125]
    assert deviation.texts[0].get_text() == "collapsed below 0.125"
    persistence = drawn["prediction error over that of no change"]
    assert [line.get_ydata()[0] for line in persistence.lines[2:]] == [1.0]


def test_resumes_are_marked_where_they_were(tmp_path):
    found = losses(tmp_path, "step,loss\n1,1\n10,1\n")
    axes = panels(plot_curves(found, TRAINING, [4, 7, 50]))["loss"]
    assert [line.get_xdata()[0] for line in axes.lines[2:]] == [4, 7]
    assert [text.get_text().strip() for text in axes.texts] == ["resumed"]


def test_many_metrics_get_no_endless_picture(tmp_path):
    names = [f"m{i}" for i in range(40)]
    found = losses(tmp_path, ",".join(["step", *names]) + "\n" + ",".join(["1"] * 41) + "\n")
    assert len(panels(plot_curves(found, TRAINING))) == module.MOST_PANELS


def test_means_are_of_what_is_finite_and_fewer_at_the_ends():
    values = np.array([0.0, 3.0, math.nan, 6.0, 9.0, math.inf])
    assert smoothed(values, 3).tolist()[:5] == [0.0, 1.5, 4.5, 7.5, 7.5]
    assert math.isnan(smoothed(values, 3)[5])
    assert smoothed(values[:2], 0).tolist() == [0, 3]


# While a training runs.


def test_pictures_are_drawn_at_checkpoints_no_more_than_once_a_minute(tmp_path, clock, monkeypatch):
    losses(tmp_path, "step,loss\n1,1\n")
    drawn = []
    monkeypatch.setattr(module, "draw_curves", lambda *_: drawn.append(step))
    following = Curves(tmp_path, TRAINING)
    for step in range(1, 41):
        following(step)
        clock[0] += 9
    assert drawn == [5, 15, 25, 35]
    following.draw()
    following.draw()
    assert drawn == [5, 15, 25, 35, 40]


def test_a_picture_that_takes_long_is_drawn_less_often(tmp_path, clock, monkeypatch):
    drawn = []

    def slowly(*_):
        clock[0] += 2
        drawn.append(step)

    monkeypatch.setattr(module, "draw_curves", slowly)
    following = Curves(tmp_path, TRAINING)
    for step in range(1, 41):
        following(step)
        clock[0] += 9
    assert drawn == [5, 30]


def test_a_resume_is_noted_and_what_it_undid_forgotten(tmp_path, clock):
    for first in (1, 11, 26, 11, 21):
        losses(tmp_path, "step,loss\n1,1\n30,1\n")
        following = Curves(tmp_path, TRAINING)
        following(first)
        following.draw()
    assert module._resumes(tmp_path / module.RESUMES) == [10, 20]
    Curves(tmp_path, TRAINING)(1)
    assert module._resumes(tmp_path / module.RESUMES) == []


@pytest.mark.parametrize("noted", ["[1, 2", '{"a": 1}', '["x", null]'])
def test_a_damaged_note_of_resumes_marks_nothing(tmp_path, noted):
    losses(tmp_path, "step,loss\n1,1\n")
    (tmp_path / module.RESUMES).write_text(noted)
    draw_curves(tmp_path, TRAINING)
    assert (tmp_path / CURVES).exists()


def test_a_training_outlives_a_disk_that_is_full(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "draw_curves", full)
    following = Curves(tmp_path, TRAINING)
    following(5)
    assert "No space left" in caplog.text


def test_the_same_curves_are_the_same_bytes(tmp_path):
    losses(tmp_path, "step,loss\n1,1\n2,0.5\n")
    draw_curves(tmp_path, TRAINING)
    first = io.BytesIO((tmp_path / CURVES).read_bytes()).getvalue()
    draw_curves(tmp_path, TRAINING)
    assert (tmp_path / CURVES).read_bytes() == first
