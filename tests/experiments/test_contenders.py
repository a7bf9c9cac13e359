"""Agents by name, of a model of a few thousand parameters, and what their results depend on."""

import logging
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from vjepa_gym.agents.cem import frugal
from vjepa_gym.agents.inverse import InverseAgent
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.errors import CheckpointError, EvaluationError, UnknownNameError
from vjepa_gym.experiments.compare import driving
from vjepa_gym.experiments.compare.cells import Cell
from vjepa_gym.experiments.compare.contenders import CONTENDERS, find_contenders
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.jobs.compare import DEFAULT_AGENTS, CompareConfig, run_compare
from vjepa_gym.experiments.settings import (
    EnvConfig,
    InverseConfig,
    PlanningConfig,
    WorldModelConfig,
)
from vjepa_gym.experiments.usage import UsageError
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.heads.files import save_head
from vjepa_gym.world_models.heads.registry import HEADS
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

SMALL = replace(frugal(), num_samples=8, num_iterations=1, num_elites=2, kept_elites=0)
PLANNING = PlanningConfig(planner=SMALL, proposals=3)
OF_IMAGES = EnvConfig(image_size=32, options={"horizon": 2})


def factory_of(folder, *heads, seed=0):
    torch.manual_seed(seed)
    config = MODELS["debug"]()
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    model = VJEPA2AC(config, VisionTransformer(config.encoder), predictor)
    model.save(folder)
    for name in heads:
        save_head(name, HEADS[name].module(HEADS[name].config(), model.config), folder, model)
    return Factory(WorldModelConfig(source=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def headed(tmp_path_factory):
    return factory_of(tmp_path_factory.mktemp("headed"), "inverse", "macro")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return factory_of(tmp_path_factory.mktemp("bare"))


def test_every_agent_can_be_made_anew_for_each_batch(headed):
    names = [name for name in CONTENDERS if name != "with_proposals"]
    found = {one.name: one for one in find_contenders(names, headed, PLANNING)}
    assert list(found) == names
    with closing(environments(OF_IMAGES, 1)) as envs:
        agents = {name: one.make(envs, 0) for name, one in found.items()}
    assert {name for name, one in agents.items() if isinstance(one, PlanningAgent)} == {
        "planning",
        "two_level",
        "no_proposals",
        "persistence",
        "oracle",
    }
    assert isinstance(agents["inverse"], InverseAgent)
    assert [name for name, one in found.items() if one.privileged] == ["oracle", "expert"]
    assert [name for name, one in found.items() if one.sees_with is None] == [
        "hold_still",
        "random",
        "expert",
    ]


def test_of_the_usual_agents_those_that_make_no_sense_are_left_out_and_said(bare, caplog):
    caplog.set_level(logging.WARNING, "vjepa_gym")
    config = PlanningConfig(planner=SMALL)
    found = find_contenders(list(DEFAULT_AGENTS), bare, config, usual=True)
    assert [one.name for one in found] == ["planning", "hold_still", "random", "expert"]
    assert "vjepa-gym heads" in caplog.text
    with pytest.raises(EvaluationError, match="vjepa-gym heads"):
        find_contenders(["inverse"], bare, config)
    with pytest.raises(EvaluationError, match="no proposals itself"):
        find_contenders(["no_proposals"], bare, config)


def test_an_unknown_agent_is_answered_with_those_there_are(headed):
    with pytest.raises(UnknownNameError, match="two_level"):
        find_contenders(["planing"], headed, PLANNING)


def test_dynamics_are_named_as_agents(headed):
    oracle = Factory(replace(headed.config, dynamics="oracle"))
    with pytest.raises(UsageError, match=r"add oracle to job\.agents"):
        find_contenders(["planning"], oracle, PLANNING)


def test_what_plans_needs_settings_of_a_plan(headed):
    with pytest.raises(UsageError, match="two_level"):
        find_contenders(["planning"], headed, InverseConfig())
    (one,) = find_contenders(["inverse"], headed, InverseConfig(within=3))
    assert one.settings["agent"] == {"within": 3}


def test_results_depend_on_weights_heads_and_settings_but_not_on_the_place(tmp_path):
    first = factory_of(tmp_path / "first", "inverse")
    same = factory_of(tmp_path / "same", "inverse")
    (one,) = find_contenders(["planning"], first, PLANNING)
    assert "model" not in vars(first), "a digest loads no model"
    (two,) = find_contenders(["planning"], same, PLANNING)
    assert one.settings == two.settings
    (other,) = find_contenders(["planning"], same, replace(PLANNING, seed=1))
    assert one.settings != other.settings
    retrained = factory_of(tmp_path / "retrained", "inverse", seed=1)
    (three,) = find_contenders(["planning"], retrained, PLANNING)
    changed = {key for key in one.settings if one.settings[key] != three.settings[key]}
    assert changed == {"model"}
    assert one.settings["model"].keys() == {"weights", "sizes", "inverse"}


def test_proposals_that_are_left_to_the_model_are_settled(headed, bare):
    config = PlanningConfig(planner=SMALL)
    (with_head,), (without,) = (find_contenders(["planning"], f, config) for f in (headed, bare))
    assert with_head.settings["agent"]["proposals"] == 2
    assert without.settings["agent"]["proposals"] == 0


def test_poses_make_a_plan_privileged(headed):
    (one,) = find_contenders(["planning"], headed, replace(PLANNING, pose_weight=0.1))
    assert one.privileged


def compare(folder, factory, names, **changed):
    said = {"agents": names, "tasks": ["reach"], "labs": ["train"], "variation": "none"}
    settings = CompareConfig(**{**said, "episodes": 2, "num_envs": 1, "folder": str(folder)})
    return run_compare(
        replace(settings, **changed),
        base=OF_IMAGES,
        contenders=find_contenders(names, factory, PLANNING),
        open_envs=environments,
    )


def test_plans_are_counted_where_they_are_all_that_is_imagined(headed, tmp_path):
    found = compare(tmp_path, headed, ["planning", "two_level", "oracle", "inverse", "random"])
    numbers = {figure.agent: figure.evaluations for figure in found.figures()}
    assert numbers == {
        "planning": 8.0,
        "two_level": None,
        "oracle": 128.0,
        "inverse": None,
        "random": None,
    }
    assert all(figure.seconds > 0 for figure in found.figures())


def test_a_missing_head_is_said_before_anything_is_driven(bare, tmp_path):
    with pytest.raises(CheckpointError, match="macro"):
        compare(tmp_path, bare, ["random", "two_level"])
    assert not list(tmp_path.glob("episodes/**/*.jsonl"))


def test_views_are_held_against_the_training_once_a_cell(headed, tmp_path, monkeypatch):
    looked = []

    def look(agent, model):
        looked.append(model)
        return agent

    monkeypatch.setattr(driving, "FirstLook", look)
    compare(tmp_path, headed, ["random", "inverse", "planning"], labs=["train", "test"])
    assert looked == [headed.model, headed.model]


def test_a_plan_is_the_same_after_an_interruption(headed, tmp_path):
    whole = compare(tmp_path / "whole", headed, ["planning"], episodes=3, num_envs=2)
    compare(tmp_path / "grown", headed, ["random", "planning"], episodes=1, num_envs=2)
    grown = compare(tmp_path / "grown", headed, ["planning"], episodes=3, num_envs=2)
    ((_, first),) = whole.outcomes.items()
    second = grown.outcomes[Cell("reach", "train"), "planning"]
    assert [one.final_distance for one in first] == [one.final_distance for one in second]
