"""What a training tells TensorBoard, Weights & Biases and its own folder while it runs."""

import dataclasses
import json
import math
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vjepa_gym.experiments.seeing import watching
from vjepa_gym.experiments.seeing.settings import WatchConfig
from vjepa_gym.experiments.seeing.tensorboard import TensorBoardLog
from vjepa_gym.experiments.seeing.wandb import WandbError, WandbLog
from vjepa_gym.experiments.seeing.watching import watch
from vjepa_gym.learning.training import TrainingConfig


@dataclass(kw_only=True)
class Job(WatchConfig):
    """A job that trains."""

    folder: str
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=20, batch_size=8, learning_rate=0.5, log_every=2, checkpoint_every=5
        )
    )


class Wandb:
    """Stands for the package: remembers what it is told."""

    def __init__(self):
        self.begun, self.logged, self.finished = [], [], 0

    def init(self, **words):
        self.begun.append(words)
        return SimpleNamespace(
            log=lambda metrics, step: self.logged.append((step, metrics)), finish=self.finish
        )

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    package = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def train(job, first=1, last=20):
    with watch("pretrain", job) as on_step:
        for step in range(first, last + 1):
            on_step(step, 20, {"loss": 1 / step, "latent_std": 0.5})


def scalars(folder, name):
    """Return what TensorBoard shows of a metric: values by step."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = events.Scalars(name)
    assert len({event.step for event in found}) == len(found)
    return {event.step: event.value for event in found}


# TensorBoard.


def test_every_logged_step_is_a_scalar(tmp_path):
    train(Job(folder=str(tmp_path)))
    assert scalars(tmp_path, "pretrain/loss") == pytest.approx(
        {step: 1 / step for step in range(2, 21, 2)}
    )
    rates = scalars(tmp_path, "pretrain/learning_rate")
    assert rates[10] == 0.5
    assert rates[20] == 0


def test_a_resume_takes_back_the_steps_that_a_kill_undid(tmp_path):
    killed = TensorBoardLog(tmp_path, "t")
    killed.begin(1)
    for step in range(1, 9):
        killed.add(step, {"loss": 100.0})
    # Killed: nothing closes it.
    resumed = TensorBoardLog(tmp_path, "t")
    resumed.begin(6)
    for step in range(6, 11):
        resumed.add(step, {"loss": 1.0})
    resumed.close()
    expected = {step: 100.0 if step < 6 else 1.0 for step in range(1, 11)}
    assert scalars(tmp_path, "t/loss") == expected


def test_what_is_not_finite_is_no_scalar(tmp_path):
    log = TensorBoardLog(tmp_path, "t")
    log.begin(1)
    log.add(1, {"loss": math.nan, "other": 2.0})
    log.close()
    assert scalars(tmp_path, "t/other") == {1: 2.0}
    with pytest.raises(KeyError):
        scalars(tmp_path, "t/loss")


def test_tensorboard_can_be_left_out(tmp_path):
    train(Job(folder=str(tmp_path), tensorboard=False))
    assert not (tmp_path / "tensorboard").exists()


def test_a_training_that_has_nothing_left_to_do_writes_nothing(tmp_path, wandb):
    train(Job(folder=str(tmp_path), wandb="project"), first=21)
    assert list(tmp_path.iterdir()) == []
    assert wandb.begun == []


def test_what_was_logged_is_there_when_a_training_fails(tmp_path):
    (tmp_path / "losses.csv").write_text("step,loss\n2,0.5\n")

    def diverge():
        with watch("pretrain", Job(folder=str(tmp_path))) as on_step:
            on_step(1, 20, {"loss": 1.0})
            on_step(2, 20, {"loss": 0.5})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        diverge()
    assert scalars(tmp_path, "pretrain/loss") == {2: 0.5}
    assert (tmp_path / "curves.png").exists()


# Weights & Biases.


def test_nothing_is_sent_unless_a_project_is_named(tmp_path, wandb):
    train(Job(folder=str(tmp_path)))
    assert wandb.begun == []


def test_a_run_is_told_its_configuration_and_every_logged_step(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    job = Job(folder=str(tmp_path), wandb="planning")
    train(job)
    (words,) = wandb.begun
    assert (words["project"], words["name"]) == ("planning", tmp_path.name)
    assert words["dir"] == str(tmp_path)
    assert words["config"] == dataclasses.asdict(job)
    # Its own settings say whether it is online.
    assert "mode" not in words
    assert [step for step, _ in wandb.logged] == list(range(2, 21, 2))
    assert wandb.logged[0][1] == {"loss": 0.5, "latent_std": 0.5, "learning_rate": 0.5}
    assert wandb.finished == 1


def test_a_resume_goes_on_with_the_same_run(tmp_path, wandb):
    job = Job(folder=str(tmp_path), wandb="planning")
    train(job, last=8)
    train(job, first=6)
    train(job)
    train(dataclasses.replace(job, wandb="another"), first=6)
    ids = [words["id"] for words in wandb.begun]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert json.loads((tmp_path / "wandb.json").read_text())["id"] == ids[-1]


@pytest.mark.parametrize("noted", ["{", "[]", '{"project": "planning"}'])
def test_a_damaged_note_begins_another_run(tmp_path, wandb, noted):
    (tmp_path / "wandb.json").write_text(noted)
    log = WandbLog(tmp_path, "train", "planning", {})
    log.begin(6)
    assert wandb.begun[0]["id"]


def test_without_the_package_the_extra_is_named_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(WandbError, match=r"pip install 'vjepa-gym\[wandb\]'"),
        watch("pretrain", Job(folder=str(tmp_path), wandb="planning")),
    ):
        pytest.fail("it began")
    assert list(tmp_path.iterdir()) == []


# All of it.


def test_of_several_processes_only_the_first_logs(tmp_path, wandb, monkeypatch, capsys):
    other = SimpleNamespace(is_first=False)
    monkeypatch.setattr(watching, "current_world", lambda: other)
    train(Job(folder=str(tmp_path), wandb="planning"))
    assert list(tmp_path.iterdir()) == []
    assert wandb.begun == []
    assert capsys.readouterr().err == ""


def test_progress_tells_loss_and_clips_first(tmp_path, capsys):
    train(Job(folder=str(tmp_path), tensorboard=False))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("pretrain: 20/20, clips ")
    assert last.endswith("loss 0.05, latent_std 0.5, learning_rate 0")


def test_curves_are_drawn_of_what_the_training_wrote(tmp_path):
    (tmp_path / "losses.csv").write_text("step,loss\n2,0.5\n4,0.25\n")
    train(Job(folder=str(tmp_path)), first=6)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "resumes.json").read_text()) == [5]
