"""Keys whose values are mappings: what is given replaces what is usual."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vjepa_gym.envs.behaviours import BEHAVIOURS
from vjepa_gym.experiments import launch
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.collect.config import LABS, CollectConfig
from vjepa_gym.sim import labs


@pytest.fixture
def runs(monkeypatch, tmp_path):
    caught = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: caught.append(experiment))
    return caught


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["job.mix={scripted:1,play:1}"], "mix", {"scripted": 1.0, "play": 1.0}),
        (["job.mix.play=0.5"], "mix", {"play": 0.5}),
        (["job.labs={test:1}"], "labs", {"test": 1.0}),
        (["job.labs={train:1,test:1}"], "labs", {"train": 1.0, "test": 1.0}),
        (["job.labs.test=1"], "labs", {"test": 1.0}),
        (["+job.labs.test=1"], "labs", {"test": 1.0}),
        (["job.labs.test=1", "job.labs.train=3"], "labs", {"test": 1.0, "train": 3.0}),
        (["job.tasks={reach:1}"], "tasks", {"reach": 1.0}),
        (["job.env_options.subgoals=false"], "env_options", {"subgoals": False}),
        (["job.preset=small", "job.labs={test:1}"], "labs", {"test": 1.0}),
    ],
)
def test_a_mapping_that_is_given_replaces_the_usual_one(runs, words, key, value):
    assert main(["collect", *words]) == 0
    changed = {"mix": {}, "tasks": {}, "labs": {}, "env_options": {}} | {key: value}
    (job,) = [experiment.job for experiment in runs]
    assert {name: getattr(job, name) for name in changed} == {
        name: given or getattr(CollectConfig(), name) for name, given in changed.items()
    }
    (folder,) = Path().glob("runs/collect/*")
    assert (folder / "command.txt").read_text() == shlex.join(
        ["vjepa-gym", "collect", *words]
    ) + "\n"
    noted = yaml.safe_load((folder / "config.yaml").read_text())["job"]
    assert {name: noted[name] for name in changed} == {name: getattr(job, name) for name in changed}


def test_mappings_can_be_swept_over(runs):
    assert main(["collect", "-m", "job.labs={train:1},{test:1}"]) == 0
    assert [experiment.job.labs for experiment in runs] == [{"train": 1.0}, {"test": 1.0}]


def test_help_shows_the_usual_mappings(capsys):
    assert main(["collect", "--help"]) == 0
    said = capsys.readouterr().out
    assert "job.mix={scripted:0.35,noisy:0.25," in said
    assert "job.labs={train:1.0}" in said


def test_help_needs_no_simulator():
    code = "import sys; from vjepa_gym.experiments.cli import main; main(['collect', '--help'])"
    check = "; assert 'mujoco' not in sys.modules"
    subprocess.run([sys.executable, "-c", code + check], check=True, stdout=subprocess.DEVNULL)


def test_a_registered_name_and_one_of_another_module_are_tasks():
    tasks = {"vjepa_gym/FrankaReach-v0": 1.0, "somewhere.else:Task-v0": 1.0, "reach": 1.0}
    assert CollectConfig(tasks=tasks).tasks == tasks


def test_the_names_that_need_no_import_are_those_that_exist():
    assert set(LABS) == set(labs.LABS)
    assert set(CollectConfig().mix) == set(BEHAVIOURS)
