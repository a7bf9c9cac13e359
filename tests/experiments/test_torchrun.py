"""The command line under `torchrun`: two processes that gloo brings together."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vjepa_gym.experiments.cli import main

DATA = ["job.data=data", "job.held_out=2", "job.device=cpu", "job.model=debug"]
TRAINING = ["job.training=debug", "job.training.steps=20", "job.training.checkpoint_every=10"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, in which one process trained an encoder and a predictor."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["vjepa-gym"])
        collecting = ["job.root=data", "job.episodes=6", "job.steps=6", "job.image_size=32"]
        assert main(["collect", *collecting, "job.workers=1"]) == 0
        assert main(["pretrain", *DATA, *TRAINING, "job.folder=encoder"]) == 0
        words = [*DATA, *TRAINING, "job.encoder=encoder", "job.folder=model"]
        assert main(["train", *words]) == 0
    return folder


def together(workplace: Path, *words: str) -> tuple[int, str, str]:
    """Run a command line on two processes; return the status, and what was said to whom."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, "-m", "vjepa_gym", *words]
    run = subprocess.run(command, cwd=workplace, env=env, capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


def losses(folder: Path) -> list[float]:
    with (folder / "losses.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "alone", "more"),
    [
        ("pretrain", "encoder", []),
        ("train", "model", ["job.encoder=encoder", "job.training.sharding=full"]),
    ],
)
def test_two_processes_train_as_one_does(
    workplace: Path, job: str, alone: str, more: list[str]
) -> None:
    before = set(workplace.glob("runs/*/*"))
    words = [*DATA, *TRAINING, *more, f"job.folder={alone}_together"]
    status, said, told = together(workplace, job, *words)
    assert status == 0, told
    mine, theirs = losses(workplace / f"{alone}_together"), losses(workplace / alone)
    assert len(mine) == 20
    assert mine == pytest.approx(theirs, abs=1e-4)
    assert said.count(f"{alone}_together.") == 1
    assert told.count("Nothing to resume") == 1
    assert "Warning" not in told
    (run,) = set(workplace.glob("runs/*/*")) - before
    assert {"config.yaml", "command.txt", "version.json", "log.txt"} <= {
        path.name for path in run.iterdir()
    }
    names = [
        {path.name for path in (workplace / f).iterdir()} for f in (alone, f"{alone}_together")
    ]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["evaluate", "agent=random"], "2 processes run only pretrain and train, got 'evaluate'"),
        (["pretrain", *DATA, "job.data=nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_said_once_and_ends_all(
    workplace: Path, words: list[str], answer: str
) -> None:
    status, _, told = together(workplace, *words)
    assert status != 0
    answers = [line for line in told.splitlines() if line.startswith("vjepa-gym: ")]
    assert len(answers) == 1
    assert answer in answers[0]


@pytest.mark.parametrize("words", [["pretrain", "-m", "job.seed=1,2"], ["gates"], []])
def test_what_several_processes_cannot_do_is_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    assert main(words) == 2
    assert "torchrun" in capsys.readouterr().err


def test_one_of_several_processes_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    told = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert main(["--version"]) == 0
        assert main(["pretrain", "--help"]) == 0
        told.append(capsys.readouterr().out)
    assert "job.training.sharding" in told[0]
    assert not told[1]
