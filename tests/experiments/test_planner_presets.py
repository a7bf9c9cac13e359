"""Planners by name on the command line, though their settings are of several dataclasses."""

import shlex
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from vjepa_gym.agents.cem import CEMConfig, fast
from vjepa_gym.agents.icem import ICEMConfig
from vjepa_gym.agents.mppi import MPPIConfig
from vjepa_gym.experiments import launch
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.config import GROUPS, agent_name
from vjepa_gym.experiments.settings import InverseConfig, PlanningConfig, RandomConfig


@pytest.fixture
def runs(monkeypatch, tmp_path):
    caught = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: caught.append(experiment))
    return caught


def test_single_keys_of_a_named_planner_are_its_own(runs):
    words = ["agent.planner=mppi", "agent.planner.temperature=0.25", "agent.planner.horizon=3"]
    assert main(["evaluate", *words]) == 0
    assert runs[0].agent.planner == MPPIConfig(temperature=0.25, horizon=3)
    assert main(["demo", "job.planner=mppi", "job.planner.temperature=0.25"]) == 0
    assert runs[1].job.planner == MPPIConfig(temperature=0.25)


@pytest.mark.parametrize("agent", ["planning", "two_level"])
def test_without_a_name_single_keys_are_those_of_the_usual_planner(runs, agent):
    assert main(["evaluate", f"agent={agent}", "agent.planner.num_elites=5"]) == 0
    planner = runs[0].agent.planner
    assert isinstance(planner, CEMConfig)
    assert (planner.num_elites, planner.num_samples) == (5, fast().num_samples)
    assert agent_name(runs[0].agent) == agent


def test_planners_and_agents_can_be_swept_over(runs):
    words = ["agent.planner=fast,icem", "agent.planner.num_samples=30"]
    assert main(["evaluate", "-m", *words]) == 0
    assert [type(one.agent.planner) for one in runs] == [CEMConfig, ICEMConfig]
    assert all(one.agent.planner.num_samples == 30 for one in runs)
    runs.clear()
    assert main(["evaluate", "-m", "agent=two_level,random,inverse"]) == 0
    assert [type(one.agent) for one in runs] == [PlanningConfig, RandomConfig, InverseConfig]


def test_a_run_can_be_repeated_from_its_words_and_read_from_its_configuration(runs):
    words = ["agent.planner=icem", "agent.planner.num_samples=30", "agent.proposals=4"]
    assert main(["evaluate", *words]) == 0
    (folder,) = Path().glob("runs/evaluate/*")
    command = (folder / "command.txt").read_text()
    assert command == shlex.join(["vjepa-gym", "evaluate", *words]) + "\n"
    assert main(shlex.split(command)[1:]) == 0
    assert runs[0] == runs[1]
    noted = yaml.safe_load((folder / "config.yaml").read_text())
    again = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(runs[1]), noted))
    assert again == runs[0]


def test_what_is_composed_can_be_looked_at(runs, capsys):
    assert main(["evaluate", "agent.planner=gradient", "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["agent"]["planner"]
    assert shown["step_size"] > 0
    assert "num_elites" not in shown
    assert main(["evaluate", "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["agent"]["planner"]
    assert shown["num_elites"] == fast().num_elites
    assert runs == []


def test_help_tells_the_keys_of_every_planner(capsys):
    assert main(["evaluate", "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    presets = lines[next(i for i, line in enumerate(lines) if "takes a preset" in line) :]
    assert f"agent.planner.temperature={MPPIConfig().temperature}" in presets
    assert f"agent.planner.num_elites={fast().num_elites}" in lines
    assert "agent.planner.gripper=still  (still|gaussian|categorical)" in lines


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["agent.planner=mpi"], "Unknown option of agent.planner 'mpi'. Did you mean 'mppi'?"),
        (["agent.planner.temperature=1"], "Unknown key 'agent.planner.temperature'."),
        (["agent.planner=fast", "agent=random"], "agent=<planning|two_level> has"),
        (["-m", "agent=planning,random", "agent.planner=fast"], "agent=random has no planner"),
        (["agent.planner=fast,icem"], "agent.planner has several values. -m runs each."),
        (["agent.planner.gripper=maybe"], "expected one of [still, gaussian, categorical]"),
        (["agent.planner.num_elites=1000"], "num_elites must lie between 2 and num_samples"),
        (["agent.planner.horizon=0"], "horizon must be at least 1, got 0"),
        (["agent.proposals=1000"], "got 1000"),
        (["agent.switch=mood"], "Unknown switch 'mood'. Available: energy, steps."),
    ],
)
def test_a_mistake_is_answered_with_what_there_is(runs, capsys, words, answer):
    assert main(["evaluate", *words]) == 2
    told = capsys.readouterr().err.strip()
    assert answer in told
    assert "_planning" not in told, "defaults of options are no presets to choose"
    assert len(told.splitlines()) == 1
    assert runs == []


@pytest.mark.parametrize("option", GROUPS["agent"])
def test_every_agent_has_the_name_of_its_option(option):
    node = GROUPS["agent"][option]
    assert agent_name(node() if isinstance(node, type) else node) == option
